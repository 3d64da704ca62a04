"""What a new embedder changes for the stage after it: the chain as it serves, with and without it, item by item.

The embedder's own gate looks at searches alone. Answers are written from what is found, so they must not get worse either.
"""

from __future__ import annotations

from collections.abc import Mapping

from lorag.evaluating.measuring import Progress, run_configurations
from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.evaluation.ablation import OWN_METRIC, Configuration, Measured, TestSet, TooFew, difference
from lorag.pipeline.evaluation.answers import CITATION_RECALL
from lorag.pipeline.records import Role
from lorag.training.dataset import DataFolder

METRICS = (OWN_METRIC[Role.SYNTHESIZER], CITATION_RECALL)

MARGIN = 0.02
"""The loss from which on a metric of another stage holds the embedder, if its 95 % interval shows it."""


def harms_answers(
    settings: Settings,
    data: DataFolder,
    sizes: Sizes,
    serving: Mapping[Role, Version],
    embedder: Version,
    on_progress: Progress | None = None,
) -> tuple[str, ...]:
    """A line for each metric of the answers that falls by more than `MARGIN` with the new embedder, if there are questions."""
    if not data.has("test", Role.SYNTHESIZER):
        return ()
    tests = read_tests(data, sizes, roles=(Role.SYNTHESIZER,))
    before = _chain(settings, tests, serving, on_progress)
    after = _chain(settings, tests, {**serving, Role.EMBEDDER: embedder}, on_progress)
    return losses(before, after)


def losses(before: Measured, after: Measured) -> tuple[str, ...]:
    """The metrics that are shown to fall beyond the margin, a line each. Too few items show nothing."""
    found = []
    for metric in METRICS:
        try:
            first, second, apart = difference(before, after, metric)
        except TooFew:
            continue
        if apart.value < -MARGIN and apart.is_shown:
            interval = f"{apart.value:+.3f} ({apart.low:+.3f} to {apart.high:+.3f})"
            found.append(f"{metric} of the answers falls from {first:.3f} to {second:.3f}, {interval}")
    return tuple(found)


def _chain(settings: Settings, tests: TestSet, versions: Mapping[Role, Version], on_progress: Progress | None) -> Measured:
    chosen = dict(versions)
    chosen.pop(Role.JUDGE, None)
    configuration = Configuration("the chain that serves", frozenset(chosen))
    run = run_configurations(settings, tests, chosen, (configuration,), on_progress)
    return run.measured[0]
