"""The noisy channel: about which span of its passage was a question asked, by the model that wrote it?

With a span s and a question q of a passage p, P(s | q, p) is P(q | p, s) over its sum for all spans that are compared, which are
taken to be equally likely beforehand (Bayes). A question that fits another span as well does not ask for its own. Echihabi and
Marcu (2003), “A noisy-channel approach to question answering”, rank answers so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorag.pipeline.contracts import question
from lorag.pipeline.engine.protocol import ChoiceRequest
from lorag.training.data.making.records import Candidate, Span
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.spans import find_spans
from lorag.training.data.making.writing import Writer
from lorag.training.data.rows import PassageRow


def span_probabilities(
    candidates: Sequence[Candidate], passages: Mapping[str, PassageRow], writer: Writer, settings: MakingSettings
) -> list[float | None]:
    """For each question the probability that it was asked about its own span; None if its passage has no other.

    Raises PromptTooLong, EngineError.
    """
    spans = [(each.span, *rivals(each.span, passages[each.span.passage_id], settings)) for each in candidates]
    requests = [_request(each, span, passages, writer) for each, own in zip(candidates, spans, strict=True) for span in own]
    scored = iter(writer.engine.choice_probabilities(requests))
    return [_share([next(scored)[0] for _ in own]) for own in spans]


def rivals(span: Span, passage: PassageRow, settings: MakingSettings) -> tuple[Span, ...]:
    """At most `rivals` other spans of its passage that do not overlap it: first those of its kind, then the nearest."""
    others = [each for each in find_spans(passage) if each.end <= span.start or span.end <= each.start]
    ranked = sorted(others, key=lambda each: (each.kind is not span.kind, abs(each.start - span.start), each.start))
    return tuple(ranked[: settings.rivals])


def _request(candidate: Candidate, span: Span, passages: Mapping[str, PassageRow], writer: Writer) -> ChoiceRequest:
    shown = passages[span.passage_id].shown()
    messages = question.messages(shown, span.text, candidate.order.manner, writer.style)
    return ChoiceRequest(messages, (question.target(candidate.question),), writer.adapter, relative=False, stage="questioner")


def _share(probabilities: Sequence[float]) -> float | None:
    """The share of the first; None if it is alone, and 0 if all are too small for a number."""
    total = sum(probabilities)
    return None if len(probabilities) == 1 else probabilities[0] / total if total else 0.0
