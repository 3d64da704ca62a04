"""The figures of the bundled adapters next to those of base and tuned adapters. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lorag.evaluating.measuring import STARTERS
from lorag.pipeline.evaluation.ablation import OWN_METRIC, Measured, TooFew, difference, interval
from lorag.pipeline.evaluation.report.records import Comparison
from lorag.pipeline.records import Role


def with_starter(each: Comparison, starters: Measured) -> Comparison:
    """The comparison with the starters' figure added. The embedder has no starter."""
    if each.role not in {"chain", *(role.value for role in starters.configuration.on)}:
        return each
    found = interval(starters, each.metric)
    return each if found is None else replace(each, starter=found.value)


def against_starters(starters: Measured, measured: Sequence[Measured], roles: Sequence[Role]) -> tuple[str, ...]:
    """The gain of training on the domain over each starter, as notes."""
    by_name = {each.configuration.name: each for each in measured}
    notes = [f"The row `{STARTERS}` is the chain with the bundled generic adapters and the frozen encoder, before any training."]
    for role in roles:
        if role not in starters.configuration.on:
            continue
        try:
            _, _, gain = difference(starters, by_name[f"+ {role.value}"], OWN_METRIC[role])
        except TooFew:
            continue
        span = f"95 % interval {gain.low:+.3f} to {gain.high:+.3f}, n = {gain.n}"
        notes.append(f"The {role.value} against its starter, paired: {OWN_METRIC[role]} {gain.value:+.3f}, {span}.")
    return tuple(notes)
