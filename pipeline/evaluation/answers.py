"""Scores answers against gold answers, gold passages and gold quotes.

No system can score better by failing or refusing:

- An answerable question has a value of EM, F1, ROUGE-L, citation precision and recall for any reply: a refusal scores 0 in
  each, and an answer that cites nothing has citation precision 0. A mark that names no shown passage costs precision.
- An unparsed answer is scored on its raw reply, and counted as unparsed.
- A failed answer (there is no reply) has no value at all, and is listed.
- Refusals are judged by what the reader saw. If no gold passage was shown, or there is none, refusing is right (`right
  refusals`); if one was shown, it is wrong (`wrong refusals`). Each question has a value of one of the two.
- `truthfulness` prices right answers, silence and wrong answers (`pricing`), for every question.
- `supported answers` has a value for every answer that claims something, whether or not the question has an answer, and so has
  `values invented in answers`.

`answer word order` is of answers that share a word with a gold one, since F1 counts words in any order.

EM and F1 compare numbers as quantities (`quantity_match`); the official SQuAD figures stand beside them. Metric names are the
constants below. It knows nothing of models, prompts or retrieval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lorag.pipeline.contracts.citations import cited_numbers, without_marks
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.entities import invents
from lorag.pipeline.evaluation.groups import Range
from lorag.pipeline.evaluation.nuggets import score_nuggets
from lorag.pipeline.evaluation.pricing import PLAIN_PRICES, Prices
from lorag.pipeline.evaluation.quantity_match import is_right_answer, quantity_f1, quantity_match
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable, require_unique
from lorag.pipeline.evaluation.support import is_supported, words_of
from lorag.pipeline.evaluation.text import exact_match, longest_shared_run, normalize_answer, rouge_f1, token_f1, word_order
from lorag.pipeline.records import Answer, Outcome, Passage

EM = "EM"
F1 = "F1"
SQUAD_EM = "SQuAD EM"
SQUAD_F1 = "SQuAD F1"
RIGHT = "right answers"
TRUTHFULNESS = "truthfulness"
VITAL_NUGGETS = "vital nuggets"
NUGGET_F = "nugget F3"
ROUGE_L = "ROUGE-L"
WORD_ORDER = "answer word order"
CITATION_PRECISION = "citation precision"
CITATION_RECALL = "citation recall"
QUOTE_PRECISION = "quote precision"
QUOTE_RECALL = "quote recall"
RIGHT_REFUSALS = "right refusals"
WRONG_REFUSALS = "wrong refusals"
SUPPORTED = "supported answers"
INVENTED = "values invented in answers"
WORDS = "words"


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """The gold data of a test question. `answers` are equally right; `passage_ids` hold the answer, `quotes` are its words
    there (both empty if unknown). `group` is its document or conversation. An answer that is a `sentence`, as those of
    conversations are, is scored by its nuggets: EM, F1 and ROUGE-L do not fit it."""

    id: str
    answers: tuple[str, ...]
    answerable: bool = True
    passage_ids: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    group: str = ""
    sentence: bool = False


def score_answers(
    golds: Sequence[GoldAnswer],
    answers: Mapping[str, Answer],
    shown: Mapping[str, Sequence[Passage]] | None = None,
    prices: Prices = PLAIN_PRICES,
    asked: Mapping[str, str] = MappingProxyType({}),
) -> ScoreTable:
    """Score `answers[gold.id]` for each gold; `shown[gold.id]` are the passages it was made from, `asked[gold.id]` its question.

    Citation and quote metrics need known gold passages or quotes, nuggets need quotes. `supported answers` needs the passages,
    and is 1 if every sentence is supported (see `support`). `values invented in answers` needs them too, and is 1 if the answer
    has a quantity, code or name that neither passages, question nor gold answers have. `words` is the length of an answer that is
    no refusal. Without `shown`, every gold passage counts as shown. Raises InputError for a repeated id, a question without an
    answer record, or an answerable question without a gold answer.
    """
    require_unique(tuple(gold.id for gold in golds), "question")
    seen = {gold.id: None if shown is None else shown.get(gold.id, ()) for gold in golds}
    ranges = {TRUTHFULNESS: prices.range, WORDS: Range(0.0, math.inf)}
    return ScoreTable(tuple(_score(gold, answers, seen[gold.id], prices, asked.get(gold.id, "")) for gold in golds), ranges)


def gold_shown(gold: GoldAnswer, passage_ids: Iterable[str]) -> bool:
    """Whether a question can be answered from these passages: one of its gold passages is among them, or none is known."""
    return gold.answerable and (not gold.passage_ids or not set(gold.passage_ids).isdisjoint(passage_ids))


def is_right(gold: GoldAnswer, answer: Answer) -> bool:
    """What counts as right, defined once: an answer to an answerable question that is right by `is_right_answer`. One that is a
    sentence is right if it holds every vital nugget within its length allowance: who copies the passage has not answered."""
    if answer.refused or answer.outcome is Outcome.FAILED or not gold.answerable:
        return False
    if gold.sentence:
        held = score_nuggets(_text(answer), gold.answers, gold.quotes)
        return held is not None and held.is_complete
    return is_right_answer(_text(answer), gold.answers)


def quotes_overlap(left: str, right: str) -> bool:
    """Whether two quotes share a run of normalised words at least half as long as the shorter one."""
    first, second = normalize_answer(left).split(), normalize_answer(right).split()
    return bool(first and second) and 2 * longest_shared_run(first, second) >= min(len(first), len(second))


def _score(
    gold: GoldAnswer, answers: Mapping[str, Answer], shown: Sequence[Passage] | None, prices: Prices, asked: str
) -> ItemScores:
    if gold.id not in answers:
        raise InputError(f"question {gold.id!r} has no answer record; a failed one must be recorded as failed")
    if gold.answerable and not gold.answers:
        raise InputError(f"question {gold.id!r} is answerable but has no gold answer")
    answer = answers[gold.id]
    values: dict[str, float] = {}
    if answer.outcome is not Outcome.FAILED:
        right = is_right(gold, answer)
        values = _refusal_values(gold, answer, shown, right) | {TRUTHFULNESS: prices.of(right=right, refused=answer.refused)}
        if gold.answerable:
            values |= {RIGHT: float(right)} | _text_values(gold, answer) | _citation_values(gold, answer)
        if not answer.refused:
            values[WORDS] = float(len(_text(answer).split()))
        if shown is not None:
            passages = {each.id: words_of(each) for each in shown}
            if (supported := is_supported(answer, passages)) is not None:
                invented = invents(_text(answer), (*passages.values(), asked, *gold.answers))
                values |= {SUPPORTED: float(supported), INVENTED: float(invented)}
    return ItemScores(gold.id, gold.group or gold.id, answer.outcome, values)


def _refusal_values(gold: GoldAnswer, answer: Answer, shown: Sequence[Passage] | None, right: bool) -> dict[str, float]:
    """A right answer without a gold passage has neither value: another passage held the answer."""
    if gold.answerable and (shown is None or gold_shown(gold, (each.id for each in shown))):
        return {WRONG_REFUSALS: float(answer.refused)}
    return {} if right else {RIGHT_REFUSALS: float(answer.refused)}


def _text(answer: Answer) -> str:
    return without_marks(answer.reply) if answer.outcome is Outcome.UNPARSED else answer.text


def _text_values(gold: GoldAnswer, answer: Answer) -> dict[str, float]:
    text = "" if answer.refused else _text(answer)
    values: dict[str, float] = {}
    if gold.quotes and (held := score_nuggets(text, gold.answers, gold.quotes)):
        values = {VITAL_NUGGETS: held.vital, NUGGET_F: held.f}
    if gold.sentence:
        return values
    if answer.refused:
        return values | dict.fromkeys((EM, F1, SQUAD_EM, SQUAD_F1, ROUGE_L), 0.0)
    if (order := word_order(text, gold.answers)) is not None:
        values[WORD_ORDER] = order
    return values | {
        EM: quantity_match(text, gold.answers),
        F1: quantity_f1(text, gold.answers),
        SQUAD_EM: exact_match(text, gold.answers),
        SQUAD_F1: token_f1(text, gold.answers),
        ROUGE_L: rouge_f1("rougeL", text, gold.answers),
    }


def _citation_values(gold: GoldAnswer, answer: Answer) -> dict[str, float]:
    citations = () if answer.refused else answer.citations
    unknown = [False] * (0 if answer.refused else len(marks_out_of_range(answer)))
    values: dict[str, float] = {}
    if gold.passage_ids:
        cited, gold_ids = {citation.passage_id for citation in citations}, set(gold.passage_ids)
        values[CITATION_PRECISION] = _share([*(passage in gold_ids for passage in cited), *unknown])
        values[CITATION_RECALL] = _share(passage in cited for passage in gold_ids)
    if gold.quotes:
        quotes = {citation.quote for citation in citations}
        hits = (any(quotes_overlap(quote, want) for want in gold.quotes) for quote in quotes)
        values[QUOTE_PRECISION] = _share([*hits, *unknown])
        values[QUOTE_RECALL] = _share(any(quotes_overlap(quote, want) for quote in quotes) for want in gold.quotes)
    return values


def marks_out_of_range(answer: Answer) -> tuple[int, ...]:
    """The numbers in the marks of a reply that name no passage that was shown, each once."""
    known = {citation.number for citation in answer.citations}
    return tuple(number for number in cited_numbers(answer.reply) if number not in known)


def _share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return sum(found) / len(found) if found else 0.0
