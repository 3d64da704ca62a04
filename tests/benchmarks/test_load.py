"""The load run's judgement: another adapter's answer is seen, rounding is not called wrong, streams count as whole replies do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.load import Outcome, ReplyCheck, figures, load, percentile
from benchmarks.load_client import BARE_CHAIN, MODELS, SHARES, Reply, ServiceRequest, requests_of, send
from lorag.pipeline.records import Speaker, Turn
from lorag.training.data.rows import RewriteRow
from tests.services.api.live_service import ANSWER, live, ready_project

ROW = RewriteRow(
    "r1",
    (Turn(Speaker.USER, "Where is the key?"), Turn(Speaker.ASSISTANT, "With the porter.")),
    question="And at night?",
    rewrite="Where is the key at night?",
)
ASKS = {ask.kind: ask for ask in requests_of(0, ROW)}
ALONE: dict[tuple[str, int], Reply] = {
    ("chain", 0): Reply(200, "With the porter. [1]", "tuned"),
    ("chain without adapters", 0): Reply(200, "The key is there.", "bare"),
    **{(model, 0): Reply(200, f"says {model}", model) for model in MODELS},
    ("embeddings", 0): Reply(200, [[0.6, 0.8], [1.0, 0.0]], "tuned"),
    ("retrieve", 0): Reply(200, ["a", "b"]),
}


def test_every_kind_is_asked_about_each_question() -> None:
    assert ASKS.keys() == SHARES.keys()
    prompts = {ASKS[model].prompt for model in MODELS}
    assert len(prompts) == 1, "another adapter's answer shows only where the prompt is the same"
    assert ASKS["chain"].body["messages"][-1] == {"role": "user", "content": "And at night?"}
    assert ASKS["chain without adapters"].body["lorag"] == {"adapters": BARE_CHAIN}


@pytest.mark.parametrize(
    ("kind", "reply", "verdict"),
    [
        ("lorag/judge", {}, "equal"),
        ("lorag/judge", {"content": "says lorag/base"}, "wrong"),
        ("lorag/judge", {"content": "says lorag/jud"}, "close"),
        ("lorag/judge", {"adapters": "lorag/rewriter"}, "wrong"),
        ("lorag/judge", {"status": 429}, "none"),
        ("lorag/judge", {"status": 500}, "none"),
        ("chain", {"content": "The key is there."}, "wrong"),
        ("chain", {"content": "says lorag/judge"}, "close"),
        ("embeddings", {}, "equal"),
        ("embeddings", {"content": [[0.60001, 0.8], [1.0, 0.0]]}, "equal"),
        ("embeddings", {"content": [[1.0, 0.0], [0.6, 0.8]]}, "wrong"),
        ("retrieve", {"content": ["b", "a"]}, "close"),
    ],
)
def test_verdicts(kind: str, reply: dict[str, Any], verdict: str) -> None:
    assert ReplyCheck(ALONE).of(ASKS[kind], replace(ALONE[kind, 0], **reply)) == verdict


def test_prompts_that_tell_nothing_are_counted() -> None:
    assert ReplyCheck(ALONE).distinct_prompts() == (1, 1)
    assert ReplyCheck({**ALONE, ("lorag/base", 0): ALONE["lorag/judge", 0]}).distinct_prompts() == (0, 1)


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (95, 4.0), (100, 4.0), (1, 1.0)])
def test_percentiles(percent: int, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == expected
    assert percentile([], percent) is None


def test_on_a_service(tmp_path: Path) -> None:
    """Every kind, whole and as a stream, then two clients for a moment: all answers are the ones given alone."""
    with live(ready_project(tmp_path / "p")) as service:
        url = service.url.removesuffix("/v1")
        with httpx.Client(base_url=url) as client:
            alone = {(kind, 0): send(client, ask) for kind, ask in ASKS.items()}
            streamed = {kind: send(client, replace(ask, stream=True)) for kind, ask in ASKS.items() if "messages" in ask.body}
            refused = send(client, ServiceRequest("chain", 0, "/v1/chat/completions", {"model": "nobody"}))
        assert {reply.status for reply in (*alone.values(), *streamed.values())} == {200}
        assert refused.status == 404
        judgement = ReplyCheck(alone)
        assert alone["chain", 0].content == ANSWER and alone["chain", 0].adapters
        for kind, reply in streamed.items():
            assert judgement.of(ASKS[kind], reply) == "equal", kind
            assert 0 < reply.first <= reply.seconds and reply.tokens == alone[kind, 0].tokens > 0
        outcomes = load(url, list(ASKS.values()), judgement, clients=2, seconds=1.0, key="")
    assert len(outcomes) > 4 and {outcome.verdict for outcome in outcomes} == {"equal"}
    told = figures([*outcomes, Outcome(ASKS["chain"], Reply(500), "none")], alone, "chain")
    assert told["equal"] == told["answers"] - 1 and told["wrong"] == 0


def test_a_service_that_is_not_there() -> None:
    with httpx.Client(base_url="http://127.0.0.1:9", timeout=5) as client:
        assert send(client, ASKS["retrieve"]).status == 0
