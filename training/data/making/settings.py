"""The figures of the filters and quotas, in one record. Starting values, each measured by leaving it out."""

from __future__ import annotations

from dataclasses import dataclass

from lorag.pipeline.errors import InputError


@dataclass(frozen=True, slots=True)
class MakingSettings:
    """How rows are made. Shares are from 0 to 1; a similarity is a cosine.

    Documents: `dev`, `test` are shares of the passages. `same_text` is the share of a text's word 5-grams from which on two texts
    are versions of each other; texts in more than `common` documents are boilerplate, about which nothing is asked. There must
    be `min_groups` groups of documents and `min_spans` spans.

    Questions: `per_passage` spans a passage, `samples` questions a span: the likeliest, the others drawn at a `temperature`
    within the nucleus `top_p`.
    `sentences` is the share of whole sentences among the spans, `terse` that of terse questions.

    Filters: `min_words` to `max_words` of a question (a terse one from `min_terse_words`); `leaked` is the share of the
    answer's content words from which on it stands in the question; `copied` the largest share of the question's content words
    that the answer's sentence may have, `unfounded` the largest share that passage and title may lack; `found` the rank at
    which the passage must be found. Voters: the writer from the probability `own_span` that a question was asked about its
    own span and not one of `rivals` others; the reader from F1 `reader_f1`, shown `distractors` passages beside the gold one;
    the judge from probabilities `answerable` and `supported`. A voter whose precision on human rows is below `voter` is not
    asked. `ambiguous` is the number of other passages that may answer it; `duplicate` the similarity of one question to
    another.

    Quotas: `per_document` rows; `what` and `easy` are the largest shares of questions with “what” and of those whose passage a
    search by words alone has first. `unanswerable` is the share of the synthesizer's rows without an answer, `negatives` the
    number of hard negatives. If fewer than `least_yield` of the questions pass, `copied` and then `easy` are relaxed.
    """

    seed: int = 0
    dev: float = 0.1
    test: float = 0.2
    same_text: float = 0.3
    common: int = 5
    min_groups: int = 8
    min_spans: int = 40
    per_passage: int = 3
    samples: int = 2
    temperature: float = 0.5
    top_p: float = 0.95
    sentences: float = 0.25
    terse: float = 0.2
    min_words: int = 4
    min_terse_words: int = 3
    max_words: int = 30
    leaked: float = 0.5
    copied: float = 0.6
    unfounded: float = 0.2
    found: int = 10
    reader_f1: float = 0.5
    answerable: float = 0.6
    supported: float = 0.5
    own_span: float = 0.5
    rivals: int = 4
    voter: float = 0.8
    distractors: int = 3
    ambiguous: int = 3
    duplicate: float = 0.92
    per_document: int = 12
    what: float = 0.5
    easy: float = 0.5
    unanswerable: float = 0.18
    negatives: int = 4
    least_yield: float = 0.1

    def __post_init__(self) -> None:
        if self.per_passage < 1 or not 1 <= self.samples <= 4:
            raise InputError(
                f"per_passage={self.per_passage}, samples={self.samples}: at least 1 span a passage, 1 to 4 questions a span"
            )
