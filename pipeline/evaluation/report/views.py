"""A report's view of single questions: plain values, made from a chain's response. Nothing here measures or draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lorag.pipeline.evaluation.error_analysis import Loss
from lorag.pipeline.records import Outcome, Response, Turn, Verdict
from lorag.pipeline.shown_verdicts import for_users


@dataclass(frozen=True, slots=True)
class HitView:
    """A retrieved passage as shown; `gold` says whether it holds the answer."""

    passage_id: str
    title: str
    text: str
    score: float
    gold: bool


@dataclass(frozen=True, slots=True)
class CitationView:
    """A citation as shown; `gold` says whether it names a gold passage."""

    number: int
    passage_id: str
    source: str
    quote: str
    gold: bool


@dataclass(frozen=True, slots=True)
class ChainView:
    """One system's result for a question. `lost_at` is None if the loss was not analysed; `adapters` are those it used, by
    stage."""

    rewrite: str
    answer: str
    refused: bool
    outcome: Outcome
    hits: tuple[HitView, ...] = ()
    citations: tuple[CitationView, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    lost_at: Loss | None = None
    seconds: float = 0.0
    adapters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A test question with both systems' results. `worst` is its rank among the tuned system's worst, from 1; 0 is none. One
    that is not `answered` was only searched."""

    id: str
    question: str
    gold_answers: tuple[str, ...]
    base: ChainView
    tuned: ChainView
    history: tuple[Turn, ...] = ()
    gold_rewrite: str = ""
    answerable: bool = True
    answered: bool = True
    worst: int = 0


@dataclass(frozen=True, slots=True)
class Showcase:
    """A question and the tuned chain's answer, shown in full near the top."""

    question: str
    chain: ChainView
    history: tuple[Turn, ...] = ()


def chain_view(
    response: Response,
    gold_passage_ids: Collection[str] = (),
    scores: Mapping[str, float] | None = None,
    lost_at: Loss | None = None,
    adapters: Mapping[str, str] | None = None,
) -> ChainView:
    """The view of a chain's response, without prompts and timings of single stages.

    A citation names its document, not the file on this machine. A verdict that is not proven is withheld.
    """
    documents = {hit.passage.id: hit.passage.document_id for hit in response.trace.hits}
    return ChainView(
        rewrite=response.rewrite.question,
        answer=response.answer.reply if response.answer.outcome is Outcome.UNPARSED else response.answer.text,
        refused=response.answer.refused,
        outcome=response.answer.outcome,
        hits=tuple(
            HitView(hit.passage.id, hit.passage.title, hit.passage.text, hit.score, hit.passage.id in gold_passage_ids)
            for hit in response.trace.hits
        ),
        citations=tuple(
            CitationView(
                each.number,
                each.passage_id,
                documents.get(each.passage_id, each.source),
                each.quote,
                each.passage_id in gold_passage_ids,
            )
            for each in response.answer.citations
        ),
        verdicts=tuple(map(for_users, response.verdicts)),
        scores=dict(scores or {}),
        lost_at=lost_at,
        seconds=sum(stage.seconds for stage in response.trace.stages),
        adapters=dict(adapters or {}),
    )
