"""Scores answers against gold answers, gold passages and gold quotes.

No system can score better by failing or refusing:

- An answerable question has a value of EM, F1, ROUGE-L, citation precision and recall for any reply: a refusal scores 0 in
  each, and an answer that cites nothing has citation precision 0.
- An unparsed answer is scored on its raw reply, and counted as unparsed.
- A failed answer (there is no reply) has no value at all, and is listed.
- An unanswerable question is scored only in `right refusals`, an answerable one in `wrong refusals`.
- `supported answers` has a value for every answer that claims something, whether or not the question has an answer.

Metric names are the constants below. It knows nothing of models, prompts or retrieval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable, require_unique
from lorag.pipeline.evaluation.support import is_supported
from lorag.pipeline.evaluation.text import exact_match, longest_shared_run, normalize_answer, rouge_f1, token_f1
from lorag.pipeline.records import Answer, Outcome, Passage

EM = "EM"
F1 = "F1"
ROUGE_L = "ROUGE-L"
CITATION_PRECISION = "citation precision"
CITATION_RECALL = "citation recall"
QUOTE_PRECISION = "quote precision"
QUOTE_RECALL = "quote recall"
RIGHT_REFUSALS = "right refusals"
WRONG_REFUSALS = "wrong refusals"
SUPPORTED = "supported answers"
WORDS = "words"


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """The gold data of a test question. `answers` are equally right; `passage_ids` hold the answer, `quotes` are its words
    there (both empty if unknown). `group` is its document or conversation."""

    id: str
    answers: tuple[str, ...]
    answerable: bool = True
    passage_ids: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    group: str = ""


def score_answers(
    golds: Sequence[GoldAnswer], answers: Mapping[str, Answer], shown: Mapping[str, Sequence[Passage]] | None = None
) -> ScoreTable:
    """Score `answers[gold.id]` for each gold; `shown[gold.id]` are the passages it was made from.

    Citation and quote metrics need known gold passages or quotes. `supported answers` needs the passages, and is 1 if every
    sentence is supported (see `support`). `words` is the length of an answer that is no refusal. Raises InputError for a
    repeated id, a question without an answer record, or an answerable question without a gold answer.
    """
    require_unique(tuple(gold.id for gold in golds), "question")
    return ScoreTable(tuple(_score(gold, answers, None if shown is None else shown.get(gold.id, ())) for gold in golds))


def quotes_overlap(left: str, right: str) -> bool:
    """Whether two quotes share a run of normalised words at least half as long as the shorter one."""
    first, second = normalize_answer(left).split(), normalize_answer(right).split()
    return bool(first and second) and 2 * longest_shared_run(first, second) >= min(len(first), len(second))


def _score(gold: GoldAnswer, answers: Mapping[str, Answer], shown: Sequence[Passage] | None) -> ItemScores:
    if gold.id not in answers:
        raise InputError(f"question {gold.id!r} has no answer record; a failed one must be recorded as failed")
    if gold.answerable and not gold.answers:
        raise InputError(f"question {gold.id!r} is answerable but has no gold answer")
    answer = answers[gold.id]
    values: dict[str, float] = {}
    if answer.outcome is not Outcome.FAILED:
        if gold.answerable:
            values = _text_values(gold, answer) | _citation_values(gold, answer) | {WRONG_REFUSALS: float(answer.refused)}
        else:
            values = {RIGHT_REFUSALS: float(answer.refused)}
        if not answer.refused:
            values[WORDS] = float(len(_text(answer).split()))
        if shown is not None:
            supported = is_supported(answer, {each.id: f"{each.title} {each.section} {each.text}" for each in shown})
            values |= {} if supported is None else {SUPPORTED: float(supported)}
    return ItemScores(gold.id, gold.group or gold.id, answer.outcome, values)


def _text(answer: Answer) -> str:
    return answer.reply if answer.outcome is Outcome.UNPARSED else answer.text


def _text_values(gold: GoldAnswer, answer: Answer) -> dict[str, float]:
    if answer.refused:
        return {EM: 0.0, F1: 0.0, ROUGE_L: 0.0}
    text = _text(answer)
    return {
        EM: exact_match(text, gold.answers),
        F1: token_f1(text, gold.answers),
        ROUGE_L: rouge_f1("rougeL", text, gold.answers),
    }


def _citation_values(gold: GoldAnswer, answer: Answer) -> dict[str, float]:
    citations = () if answer.refused else answer.citations
    values: dict[str, float] = {}
    if gold.passage_ids:
        cited, gold_ids = {citation.passage_id for citation in citations}, set(gold.passage_ids)
        values[CITATION_PRECISION] = _share(passage in gold_ids for passage in cited)
        values[CITATION_RECALL] = _share(passage in cited for passage in gold_ids)
    if gold.quotes:
        quotes = {citation.quote for citation in citations}
        values[QUOTE_PRECISION] = _share(any(quotes_overlap(quote, want) for want in gold.quotes) for quote in quotes)
        values[QUOTE_RECALL] = _share(any(quotes_overlap(quote, want) for quote in quotes) for want in gold.quotes)
    return values


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / len(found) if found else 0.0
