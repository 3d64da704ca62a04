"""The rule by word overlap, worked by hand, and neighbours by vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import SUPPORT, JudgeInputs, LabelSchema
from lorag.pipeline.evaluation.ablation import JudgeItem
from lorag.pipeline.evaluation.floors.overlap import WordOverlap, fit
from lorag.pipeline.evaluation.floors.vectors import VectorIndex
from lorag.pipeline.retrieval.embedder import Vectors

COLOUR = LabelSchema("colour", "Is it red?", {"yes": "red", "no": "not red"})
TEXT = PassageText("Ferry", "The ferry leaves the north quay at night.")


def row(id_: str, answer: str, label: str, *passages: PassageText, question: str = "") -> JudgeItem:
    return JudgeItem(id_, SUPPORT, JudgeInputs(question=question, answer=answer, passages=passages), label, id_)


@pytest.mark.parametrize(
    ("inputs", "share"),
    [
        (JudgeInputs(answer="The ferries left the quay.", passages=(TEXT,)), 2 / 3),  # ferry, quay; `left` is no form of leaves
        (JudgeInputs(question="ferry moon?", answer="ferry", passages=(TEXT,)), 1),  # the answer is the claim
        (JudgeInputs(question="ferry moon?", passages=(TEXT,)), 1 / 2),
        (JudgeInputs(answer="ferry moon", passages=(TEXT, PassageText("", "The moon."))), 1 / 2),  # the best passage alone
        (JudgeInputs(answer="the of", passages=(TEXT,)), 0),
        (JudgeInputs(answer="ferry"), 0),
    ],
)
def test_the_share_of_the_claims_words(inputs: JudgeInputs, share: float) -> None:
    assert WordOverlap([]).overlap(inputs) == pytest.approx(share)


def test_thresholds_have_the_best_macro_f1_on_the_training_rows() -> None:
    values = [0.0, 0.1, 0.2, 0.3, 0.5, 0.55, 0.6, 0.8, 0.9, 1.0]
    labels = list("nnnn") + list("ppp") + list("sss")
    known, (low, high) = fit(values, labels)
    assert known == ("n", "p", "s") and 0.3 < low <= 0.5 and 0.6 < high <= 0.8


def test_no_other_pair_of_thresholds_is_better() -> None:
    rng = np.random.default_rng(3)
    values, labels = rng.random(60).tolist(), [str(each) for each in rng.choice(["a", "b", "c"], size=60)]
    known, thresholds = fit(values, labels)

    def macro_f1(cuts: Sequence[float]) -> float:
        given = [known[sum(value >= cut for cut in cuts)] for value in values]
        found = []
        for label in known:
            hits = sum(gold == each == label for gold, each in zip(labels, given, strict=True))
            found.append(2 * hits / (labels.count(label) + given.count(label)))
        return sum(found) / 3

    quantiles = np.quantile(values, np.linspace(0, 1, 14)[1:-1])
    assert macro_f1(thresholds.tolist()) == pytest.approx(max(map(macro_f1, itertools.combinations(quantiles, 2))))


def test_rows_without_a_claim_or_passages_are_of_no_such_task() -> None:
    message = JudgeItem("m", COLOUR, JudgeInputs(message="red?"), "yes", "m")
    assert WordOverlap([row("a", "ferry", "supported", TEXT), message]).tasks == {"support"}
    assert WordOverlap([row("a", "ferry", "supported", TEXT), row("b", "ferry", "partly")]).tasks == frozenset()


def test_the_rule_judges_by_its_thresholds() -> None:
    taught = [row(f"s{n}", "ferry quay", "supported", TEXT) for n in range(4)]
    taught += [row(f"u{n}", "moon", "unsupported", TEXT) for n in range(4)]
    rule = WordOverlap(taught)
    asked = [JudgeInputs(answer=answer, passages=(TEXT,)) for answer in ("night ferry", "sun")]
    full, nothing = rule.judge(SUPPORT, asked)
    assert (full.label, nothing.label) == ("supported", "unsupported") and not full.probabilities


def test_where_all_overlaps_are_equal_one_label_is_left() -> None:
    rule = WordOverlap([row(f"r{n}", "ferry", "supported" if n else "partly", TEXT) for n in range(3)])
    (verdict,) = rule.judge(SUPPORT, [JudgeInputs(answer="ferry", passages=(TEXT,))])
    assert verdict.label in SUPPORT.labels


class Angles:
    """An encoder that turns a number of degrees into a unit vector."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        radians = np.deg2rad([float(text) for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_the_nearest_texts_by_cosine() -> None:
    index = VectorIndex({"a": "0", "b": "90", "c": "30", "d": "30"}, Angles())  # type: ignore[arg-type]
    found = index.search_many(["20", "80"], 3)
    assert [[id_ for id_, _ in each] for each in found] == [["c", "d", "a"], ["b", "c", "d"]]
    assert found[0][2][1] == pytest.approx(np.cos(np.deg2rad(20)), abs=1e-6)
    assert index.search_many([], 3) == [] and VectorIndex({}, Angles()).search_many(["1"], 3) == [[]]  # type: ignore[arg-type]
