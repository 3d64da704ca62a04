"""The gate: which claims decide a promotion, what holds a candidate, and the lines that say why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lorag.pipeline.adapters.card import AdapterCard, DataFacts, Identity, LoraFacts, TrainingFacts
from lorag.pipeline.adapters.evidence import (
    BARE_BASE,
    NO_OPS,
    Against,
    DataOrigin,
    Evidence,
    EvidenceKind,
    floor_reference,
)
from lorag.pipeline.adapters.gate import require_evidence
from lorag.pipeline.adapters.guards import GUARD_LEVEL, GUARDS, MARGINS, NEVER, unmeasured
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.evaluation import answers, rewrites
from lorag.pipeline.evaluation.ablation import NDCG, RECALL
from lorag.pipeline.evaluation.floors.systems import ALWAYS_REFUSING, BEST_SENTENCE, MAJORITY, UNCHANGED
from lorag.pipeline.evaluation.judge_metrics import task_f1
from lorag.pipeline.evaluation.latency import LATENCY
from lorag.pipeline.records import Role
from tests.claims import claim, measurement

SERVES = Against("0001-aa11bb22", "aa11")


def card(role: Role, *evidence: Evidence) -> AdapterCard:
    return AdapterCard(
        format=2,
        role=role,
        version="0002-cc33dd44",
        created="2025-01-31T12:00:00Z",
        identity=Identity("tiny", "", "cc33", "", "", "fp32/float32", False),
        lora=LoraFacts(2, 4.0, 0.0, ("q_proj",), 40, 0.01),
        data=DataFacts("made up", 3, {}, {}),
        training=TrainingFacts("sft", 10, 1.0, 640, 2.5, 1e-3, 4, 0, 0.25, {}),
        libraries={},
        evidence=evidence,
        licence="",
        notes="",
    )


def guard(metric: str, difference: float, half: float = 0.05, **more: Any) -> Evidence:
    return claim(metric, difference - half, difference + half, **{"against": SERVES, "level": GUARD_LEVEL, **more})


def refusal(made: AdapterCard, serves: Against = SERVES, **more: Any) -> str:
    with pytest.raises(AdapterError) as caught:
        require_evidence(made, serves, more.pop("not_worse", None), **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_no_ops_and_guards_are_what_evaluation_measures() -> None:
    assert NO_OPS == {
        Role.REWRITER: (UNCHANGED,),
        Role.EMBEDDER: (),
        Role.SYNTHESIZER: (BEST_SENTENCE, ALWAYS_REFUSING),
        Role.JUDGE: (MAJORITY,),
    }
    measured = {
        *(answers.CITATION_PRECISION, answers.CITATION_RECALL, answers.RIGHT_REFUSALS, answers.WRONG_REFUSALS),
        *(answers.SUPPORTED, answers.WORDS, rewrites.HARM, NDCG, RECALL),
    }
    measured |= {answers.WORD_ORDER, rewrites.WORD_ORDER, LATENCY, answers.RIGHT}
    measured |= {answers.INVENTED, rewrites.INVENTED, rewrites.KEPT, rewrites.KEPT_OF_QUESTION}
    assert {each.metric for of in GUARDS.values() for each in of} == {*measured, task_f1("")}
    assert len(MARGINS) == sum(map(len, GUARDS.values()))


@pytest.mark.parametrize("role", NO_OPS)
def test_better_than_each_comparator_passes(role: Role) -> None:
    claims = measurement(role, SERVES)
    assert [each.against.key for each in claims] == ["aa11", "", *(floor_reference(name).key for name in NO_OPS[role])]
    assert require_evidence(card(role, *claims), SERVES, None) == claims[0]


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("margin", [None, 0.3])
def test_each_comparator_must_be_beaten_and_a_margin_is_for_what_serves_alone(at: int, margin: float | None) -> None:
    claims = measurement(Role.SYNTHESIZER, SERVES, low=-0.1)
    if margin is None:
        assert "from version 0001-aa11bb22" in refusal(card(Role.SYNTHESIZER, *claims))
    else:
        assert require_evidence(card(Role.SYNTHESIZER, *claims), SERVES, margin) == claims[0]
    claims = measurement(Role.SYNTHESIZER, SERVES)
    claims[at] = dataclasses.replace(claims[at], low=-0.01)
    said = refusal(card(Role.SYNTHESIZER, *claims), not_worse=margin)
    assert f"F1 differs by +0.400 from {claims[at].against}, " in said and "must lie above 0;" in said


def test_a_missing_comparator_and_an_old_claim_say_what_to_run() -> None:
    run = "run `lorag eval adapter rewriter 0002-cc33dd44 --data FOLDER`"
    served, base, floor = measurement(Role.REWRITER, SERVES)
    for missing, rest in ((base, (served, floor)), (floor, (served, base))):
        said = refusal(card(Role.REWRITER, *rest))
        assert f"has no comparison with {missing.against}; {run}" in said
    old = [dataclasses.replace(each, look=None, level=0.95) for each in (served, base, floor)]
    assert refusal(card(Role.REWRITER, *old)).endswith(f"was measured before looks at test sets were counted; {run}")


def test_claims_of_another_measurement_do_not_stand_in() -> None:
    served, base, floor = measurement(Role.REWRITER, SERVES)
    other = dataclasses.replace(floor, data=dataclasses.replace(floor.data, digest="ff"))
    assert "has no comparison with the floor" in refusal(card(Role.REWRITER, served, base, other))
    assert "has no comparison with the floor" in refusal(card(Role.REWRITER, served, base, dataclasses.replace(floor, look=2)))


def test_a_later_look_must_be_at_its_level() -> None:
    second = [dataclasses.replace(each, look=2) for each in measurement(Role.REWRITER, SERVES)]
    said = refusal(card(Role.REWRITER, *second))
    assert "has an interval at 97.5 %, and look 2 must show it at 99.17 %" in said
    assert require_evidence(card(Role.REWRITER, *measurement(Role.REWRITER, SERVES, look=2)), SERVES, None).look == 2
    none = [dataclasses.replace(each, look=0, level=0.5) for each in second]
    assert "is of look 0, and looks are counted from 1" in refusal(card(Role.REWRITER, *none))


def test_the_synthesizer_of_the_public_domain_is_held() -> None:
    """F1 +.080, citation precision −.137, wrong refusals +.575."""
    claims = measurement(Role.SYNTHESIZER, SERVES, low=0.03, high=0.13)
    lost = (guard("citation precision", -0.137), guard("wrong refusals", 0.575))
    said = refusal(card(Role.SYNTHESIZER, *claims, *lost))
    assert said.startswith(
        "synthesizer 0002-cc33dd44 is held: it is better in F1, but citation precision falls by 0.137 against "
    )
    assert "wrong refusals rises by 0.575 against version 0001-aa11bb22 (95 % interval +0.525 to +0.625" in said
    assert "the margin of `citation precision` is 0.05" in said and "the margin of `wrong refusals` is 0.2" in said
    margins = {"citation precision": 0.2, "wrong refusals": 0.6}
    assert require_evidence(card(Role.SYNTHESIZER, *claims, *lost), SERVES, None, margins) == claims[0]


@pytest.mark.parametrize(
    ("role", "found", "held"),
    [
        (Role.SYNTHESIZER, guard("right answers", -0.1), True),
        (Role.SYNTHESIZER, guard("right answers", -0.04, half=0.01), False),
        (Role.SYNTHESIZER, guard("right refusals", -0.2), True),
        (Role.SYNTHESIZER, guard("right refusals", -0.2, half=0.25), False),  # may be noise
        (Role.SYNTHESIZER, guard("right refusals", -0.09), False),  # within the margin
        (Role.SYNTHESIZER, guard("right refusals", -0.2, groups=7), True),  # nothing tells it from noise, and it is beyond
        (Role.SYNTHESIZER, guard("right refusals", -0.2, half=0.25, groups=7), True),
        (Role.SYNTHESIZER, guard("right refusals", -0.09, groups=7), False),
        (Role.SYNTHESIZER, guard("right refusals", 0.0, against=NEVER), True),
        (Role.SYNTHESIZER, guard("right refusals", 0.04, against=NEVER), True),  # not shown to be above 0
        (Role.SYNTHESIZER, guard("right refusals", 0.2, against=NEVER), False),
        (Role.SYNTHESIZER, guard("right refusals", 0.0, against=NEVER, groups=3), True),
        (Role.SYNTHESIZER, guard("right refusals", 0.04, against=NEVER, groups=3), False),  # no verdict
        (Role.SYNTHESIZER, guard("answer word order", -0.3, against=floor_reference(BEST_SENTENCE)), True),
        (Role.SYNTHESIZER, guard("answer word order", -0.3), False),
        (Role.SYNTHESIZER, guard("latency by words", 4.0, reference=30.0), True),
        (Role.SYNTHESIZER, guard("latency by words", 2.9, reference=30.0), False),  # 9.7 % more
        (Role.SYNTHESIZER, guard("latency by words", -4.0, reference=30.0), False),
        (Role.SYNTHESIZER, guard("right refusals", 0.2), False),
        (Role.SYNTHESIZER, guard("wrong refusals", -0.5), False),
        (Role.SYNTHESIZER, guard("words", 25.0), True),
        (Role.SYNTHESIZER, guard("supported answers", -0.1), True),
        (Role.SYNTHESIZER, guard("citation recall", -0.2, against=BARE_BASE), False),  # it does not serve
        (Role.SYNTHESIZER, guard("citation precision", -0.2, against=floor_reference(BEST_SENTENCE)), True),
        (Role.SYNTHESIZER, guard("citation recall", -0.2, against=floor_reference(BEST_SENTENCE)), False),
        (Role.SYNTHESIZER, guard("EM", -0.9), False),
        (Role.REWRITER, guard("harm on standalone turns", 0.1), True),
        (Role.REWRITER, guard("rewrite word order", -0.5, against=floor_reference(UNCHANGED)), True),
        (Role.REWRITER, guard("values kept in rewrites", -0.2), True),
        (Role.REWRITER, guard("values kept of questions", -0.1, against=floor_reference(UNCHANGED)), False),
        (Role.REWRITER, guard("values kept of questions", -0.22, against=floor_reference(UNCHANGED)), True),
        (Role.REWRITER, guard("values kept of questions", -0.22), False),  # what serves may have lost them too
        (Role.REWRITER, guard("values invented in rewrites", 0.19, against=floor_reference(UNCHANGED)), True),
        (Role.REWRITER, guard("values invented in rewrites", -0.19, against=floor_reference(UNCHANGED)), False),
        (Role.SYNTHESIZER, guard("values invented in answers", 0.5, against=floor_reference(BEST_SENTENCE)), True),
        (Role.SYNTHESIZER, guard("values invented in answers", 0.08, against=floor_reference(BEST_SENTENCE)), False),
        (Role.REWRITER, guard("Recall@5", -0.08, against=floor_reference(UNCHANGED)), True),
        (Role.REWRITER, guard("nDCG@10", -0.08, against=floor_reference("history before the question")), True),
        (Role.REWRITER, guard("nDCG@10", -0.08), False),  # of the rewriter that serves: with which retrieval is not worse
        (Role.EMBEDDER, guard("Recall@5", -0.08), True),
        (Role.EMBEDDER, guard("nDCG@10", -0.08, kind=EvidenceKind.GENERAL, against=BARE_BASE, data="sea"), True),
        (Role.JUDGE, guard("macro-F1, support", -0.1), True),
        (Role.JUDGE, guard("macro-F1, support", -0.1, against=floor_reference(MAJORITY)), False),
    ],
)
def test_guards(role: Role, found: Evidence, held: bool) -> None:
    made = card(role, *measurement(role, SERVES), found)
    if held:
        assert f"is held: it is better in {made.evidence[0].metric}, but {found.metric} " in refusal(made)
    else:
        assert require_evidence(made, SERVES, None) == made.evidence[0]


def test_a_guard_without_a_verdict_says_why() -> None:
    few = card(Role.SYNTHESIZER, *measurement(Role.SYNTHESIZER, SERVES), guard("citation recall", -0.2, half=0.25, groups=5))
    assert "too few groups to tell a loss from noise: 5 of 8" in refusal(few)
    none = card(Role.SYNTHESIZER, *measurement(Role.SYNTHESIZER, SERVES), guard("right refusals", 0.0, half=0.0, against=NEVER))
    said = refusal(none)
    assert "right refusals is not shown to rise (0.200 → 0.200) against the floor “never refusing”" in said
    assert "the margin of `refusing at all` is 0" in said
    assert require_evidence(none, SERVES, None, {"refusing at all": 0.5}) == none.evidence[0]  # a domain that answers everything


def test_the_latency_is_of_a_version_and_in_shares_of_its_own() -> None:
    """A base that does not do the task is no measure of the time that the task takes."""
    slow = guard("latency by words", 20.0, reference=30.0)
    assert "the margin of `latency` is 0.1 of 30" in refusal(card(Role.SYNTHESIZER, *measurement(Role.SYNTHESIZER, SERVES), slow))
    alone = card(Role.SYNTHESIZER, *measurement(Role.SYNTHESIZER), dataclasses.replace(slow, against=BARE_BASE))
    assert require_evidence(alone, BARE_BASE, None) == alone.evidence[0]


def test_guards_without_a_claim_are_named() -> None:
    assert unmeasured(Role.REWRITER, [], "") == (
        "harm on standalone turns",
        "rewrite word order",
        "values kept in rewrites",
        "values kept of questions",
        "values invented in rewrites",
        "retrieval nDCG@10",
        "retrieval Recall@5",
    )
    assert unmeasured(Role.EMBEDDER, [guard("Recall@5", 0.1)], SERVES.key) == ()
    assert "latency" in unmeasured(Role.SYNTHESIZER, [], SERVES.key) and "latency" not in unmeasured(Role.SYNTHESIZER, [], "")


def on_made_rows(claims: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    made = dataclasses.replace(claims[0].data, name="made test rows", digest="77", origin=DataOrigin.MADE)
    return tuple(dataclasses.replace(each, data=made) for each in claims)


def test_made_rows_promote_by_the_users_own_word_alone() -> None:
    made = on_made_rows(tuple(measurement(Role.JUDGE, SERVES)))
    assert "on made rows only, which promote nothing" in refusal(card(Role.JUDGE, *made))
    assert require_evidence(card(Role.JUDGE, *made), SERVES, None, accept_made=True) == made[0]


def test_rows_that_people_wrote_decide_before_made_ones() -> None:
    """The newest claims come first; made ones do not undo what people's rows say."""
    worse = tuple(dataclasses.replace(each, difference=-0.2, low=-0.3, high=-0.1) for each in measurement(Role.JUDGE, SERVES))
    made = on_made_rows(tuple(measurement(Role.JUDGE, SERVES)))
    assert "differs by -0.200" in refusal(card(Role.JUDGE, *made, *worse), accept_made=True)
