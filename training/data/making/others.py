"""Other passages that answer a question: they become positives, or are barred from the negatives, or are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from lorag.pipeline.contracts.judge import RELEVANCE, JudgeInputs
from lorag.pipeline.evaluation.quantities import Reading, read_quantities
from lorag.pipeline.evaluation.quantity import NUMBER
from lorag.pipeline.evaluation.quantity_match import states
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.stages import Judge
from lorag.training.data.making.records import Accepted, Filter, Rejected
from lorag.training.data.making.round_trip import Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.words import content_words, share_in
from lorag.training.data.making.writing import Progress, units
from lorag.training.data.negatives import near_duplicate
from lorag.training.data.rows import PassageRow

ANSWERS = "3"
"""The label of relevance for a passage that answers."""


def with_others(
    found: Sequence[Found],
    passages: Mapping[str, PassageRow],
    judge: Judge,
    settings: MakingSettings,
    on_progress: Progress | None = None,
) -> tuple[list[Accepted], list[Rejected]]:
    """Each question with the other passages that answer it; one that too many may answer is dropped.

    Of the first `found`, passages that hold the answer are no negatives. Those that have half of the question's words too are
    judged, and copies of the gold passage answer without being judged.
    """
    accepted: list[Accepted] = []
    rejected: list[Rejected] = []
    done = 0
    for unit in units(found):
        holders = [_holders(each, passages, settings) for each in unit]
        likely = [[name for name in names if _speaks_of(passages[name], each)] for names, each in zip(holders, unit, strict=True)]
        asked = [(at, name) for at, names in enumerate(likely) if len(names) <= settings.ambiguous for name in names]
        inputs = [JudgeInputs(question=unit[at].candidate.question, passages=(passages[name].shown(),)) for at, name in asked]
        labels = {
            key: verdict.label for key, verdict in zip(asked, judge.judge(RELEVANCE, inputs) if inputs else [], strict=True)
        }
        for at, each in enumerate(unit):
            if len(likely[at]) > settings.ambiguous:
                reason = f"{len(likely[at])} other passages may answer it"
                rejected.append(Rejected(each.candidate, Filter.AMBIGUOUS, reason))
                continue
            gold = passages[each.candidate.span.passage_id].text
            also = tuple(n for n in holders[at] if labels.get((at, n)) == ANSWERS or near_duplicate(passages[n].text, gold))
            barred = tuple(name for name in holders[at] if name not in also)
            accepted.append(Accepted(each.candidate, each.scores, also, barred, each.ranking))
        done += len(unit)
        if on_progress is not None:
            on_progress("other passages", done, len(found))
    return accepted, rejected


def _speaks_of(passage: PassageRow, found: Found) -> bool:
    """Whether a passage has half of the question's content words."""
    return share_in(content_words(found.candidate.question), content_words(f"{passage.title} {passage.text}")) >= 0.5


def _holders(found: Found, passages: Mapping[str, PassageRow], settings: MakingSettings) -> list[str]:
    """Other passages among the first `found` that hold the answer, or nearly all of the gold passage's text."""
    gold = found.candidate.span
    return [
        name
        for name in found.ranking[: settings.found]
        if name != gold.passage_id
        and (holds(passages[name].text, gold.text) or near_duplicate(passages[name].text, passages[gold.passage_id].text))
    ]


def holds(text: str, answer: str) -> bool:
    """Whether a text holds an answer: its words in a row, or if it is a quantity with a unit that value in any form."""
    words = _normalised(answer)
    if words.strip() and words in _normalised(text):
        return True
    claim = _quantities(answer)
    plain = all(each.kind == NUMBER for each in claim.quantities)
    if plain or any(letter.isalpha() for letter in claim.rest):
        return False
    source = _quantities(text)
    return all(states(source, quantity) for quantity in claim.quantities)


@lru_cache(maxsize=4096)
def _quantities(text: str) -> Reading:
    return read_quantities(text)


@lru_cache(maxsize=4096)
def _normalised(text: str) -> str:
    return f" {normalize_answer(text)} "
