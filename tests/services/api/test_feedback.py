"""`POST /v1/feedback`: feedback finds its answer, streamed or not, for the tenant that asked, and nothing else."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lorag.pipeline.feedback.folder import FeedbackFolder
from lorag.pipeline.feedback.records import Feedback, Rating, Reason
from lorag.pipeline.storage import atomic
from lorag.pipeline.storage.digests import text_digest
from lorag.services.api.keys import FILE, KeyRing, Scope
from lorag.services.api.state import Limits
from tests.services.api.small_service import bearer, make_project, serving, upload

QUESTION = "Who keeps the key?"
UNKNOWN = "chatcmpl-" + "0" * 32


@dataclass
class Site:
    """A running service with a key of the project itself and two keys of tenants; each has a document."""

    client: TestClient
    project: Path
    keys: dict[str, str]

    def ask(self, who: str = "own", question: str = QUESTION, *history: str, **body: Any) -> dict[str, Any]:
        roles = ("user", "assistant")
        messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate((*history, question))]
        sent = {"model": "lorag", "messages": messages, **body}
        response = self.client.post("/v1/chat/completions", json=sent, headers=bearer(self.keys[who]))
        assert response.status_code == 200, response.text
        if not body.get("stream"):
            return dict(response.json())
        chunks = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: {")]
        assert len({chunk["id"] for chunk in chunks}) == 1
        return dict(chunks[-1])

    def give(self, id: str, who: str = "own", **body: Any) -> Any:
        return self.client.post("/v1/feedback", json={"id": id, **body}, headers=bearer(self.keys[who]))

    def stored(self, tenant: str = "") -> tuple[Feedback, ...]:
        return FeedbackFolder(self.project).read(tenant).entries


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    project = make_project(tmp_path / "project")
    ring = KeyRing(project / FILE)
    keys = {name: ring.add(name, list(Scope), tenant) for name, tenant in (("own", ""), ("acme", "acme"), ("evil", "evil"))}
    keys["colleague"] = ring.add("colleague", [Scope.ASK], "acme")
    with serving(project, limits=Limits(max_body=64 << 10)) as client:
        for name in ("own", "acme", "evil"):
            upload(client, keys[name], {"keys.md": f"# Keys\n\nThe porter of {name} keeps the key.\n"})
        yield Site(client, project, keys)


@pytest.mark.parametrize("stream", [False, True])
def test_feedback_is_kept_with_the_answer_it_speaks_of(site: Site, stream: bool) -> None:
    answer = site.ask("acme", "And at night?", QUESTION, "The porter. [1]", stream=stream)
    passage = answer["lorag"]["passages"][0]
    given = site.give(
        answer["id"], "acme", rating="down", reasons=["incorrect"], answer="The deputy.", wrong_passages=[passage["id"]]
    )
    assert (given.status_code, given.json()["id"]) == (200, answer["id"])
    (kept,) = site.stored("acme")
    assert site.stored() == ()
    assert (kept.opinion.rating, kept.opinion.reasons, kept.opinion.answer) == (Rating.DOWN, (Reason.INCORRECT,), "The deputy.")
    assert kept.opinion.wrong_passages == (passage["id"],)
    trace = kept.trace
    assert (trace.id, trace.tenant, trace.asked_by, kept.given_by, kept.given) == (
        answer["id"],
        "acme",
        "acme",
        "acme",
        given.json()["given"],
    )
    assert (trace.question, trace.history) == ("And at night?", (f"User: {QUESTION}", "Assistant: The porter. [1]"))
    assert trace.hits[0].digest == text_digest(passage["text"])
    assert [hit.passage_id for hit in trace.hits] == [each["id"] for each in answer["lorag"]["passages"]]
    assert trace.adapters == answer["lorag"]["adapters"]
    assert (trace.answer, trace.reply) == ("The porter keeps the key.", "The porter keeps the key. [1]")
    assert [each.passage_id for each in trace.citations] == [passage["id"]]


def test_turns_of_a_conversation_are_known_as_one(site: Site) -> None:
    first = site.ask()
    content = first["choices"][0]["message"]["content"]
    second = site.ask("own", "And at night?", QUESTION, content)
    third = site.ask("own", "Where?", "And at night?", second["lorag"]["answer"])
    other = site.ask("own", "When does the ferry leave?")
    for answer in (first, second, third, other):
        assert site.give(answer["id"], rating="up").status_code == 200
    conversations = {each.trace.id: each.trace.conversation for each in site.stored()}
    assert conversations == {
        **{answer["id"]: first["id"] for answer in (first, second, third)},
        other["id"]: other["id"],
    }


@pytest.mark.parametrize("who", ["evil", "own"])
def test_another_tenants_answer_is_as_unknown_as_none(site: Site, who: str) -> None:
    answer = site.ask("acme")
    unknown = site.give(UNKNOWN, who, rating="up")
    for response in (
        site.give(answer["id"], who, rating="up"),
        site.give(answer["id"], who, answer="x", right_passages=[answer["lorag"]["passages"][0]["id"]]),
    ):
        assert (response.status_code, response.json()) == (404, unknown.json())
    assert site.give(answer["id"], "acme", rating="down").status_code == 200
    for id_ in (answer["id"], UNKNOWN):
        gone = site.client.delete(f"/v1/feedback/{id_}", headers=bearer(site.keys[who]))
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "unknown_answer")
    assert site.give(answer["id"], who, rating="up").status_code == 404  # nor when it is on disk
    assert [each.opinion.rating for each in site.stored("acme")] == [Rating.DOWN]
    assert site.stored() == site.stored("evil") == ()


def test_a_colleague_of_the_same_tenant_may_speak_of_the_answer_under_an_own_name(site: Site) -> None:
    answer = site.ask("acme")
    assert site.give(answer["id"], "colleague", rating="up").status_code == 200
    (kept,) = site.stored("acme")
    assert (kept.trace.asked_by, kept.given_by) == ("acme", "colleague")


def test_later_feedback_replaces_and_can_be_withdrawn(site: Site) -> None:
    id_ = site.ask()["id"]
    for body in ({"rating": "up"}, {"rating": "down", "not_in_documents": True}):
        assert site.give(id_, **body).status_code == 200
    (kept,) = site.stored()
    assert kept.opinion.not_in_documents
    gone = site.client.delete(f"/v1/feedback/{id_}", headers=bearer(site.keys["own"]))
    assert (gone.status_code, gone.json()) == (200, {"object": "feedback.deleted", "id": id_, "deleted": True})
    assert site.stored() == ()


BAD: dict[str, Any] = {
    "nothing said": {},
    "only blanks": {"comment": "  \n"},
    "a rating of no kind": {"rating": "sideways"},
    "a rating that is a number": {"rating": 1},
    "a reason of no kind": {"reasons": ["because"]},
    "many reasons": {"reasons": ["other"] * 7},
    "a long answer": {"answer": "x" * 8001},
    "a long question": {"question": "x" * 2001},
    "a long comment": {"comment": "x" * 4001},
    "an answer that is a list": {"answer": ["x"]},
    "NUL": {"comment": "a\0b"},
    "half a pair": {"comment": "\ud800"},
    "a passage that was not found": {"wrong_passages": ["secret.md#12345678"]},
    "a path as passage": {"wrong_passages": ["../../etc/passwd"]},
    "an empty passage": {"wrong_passages": [""]},
    "many passages": {"wrong_passages": ["x"] * 101},
    "passages as text": {"wrong_passages": "x"},
    "two words at once": {"answer": "x", "not_in_documents": True},
    "a thumb up and an answer": {"rating": "up", "answer": "x"},
    "a flag that is text": {"not_in_documents": "yes"},
    "an unknown key": {"rating": "up", "tenant": "acme"},
    "a trace of its own": {"rating": "up", "trace": {"question": "x"}},
    "an id that is a path": {"id": "../../keys", "rating": "up"},
    "an id that is a list": {"id": ["x"], "rating": "up"},
    "an id with more behind it": {"id": f"{UNKNOWN}\n", "rating": "up"},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_feedback_is_refused_in_one_line_and_leaves_nothing(site: Site, name: str) -> None:
    body = {"id": site.ask()["id"], **BAD[name]}
    sent = json.dumps(body).encode("utf-8", "surrogatepass")
    headers = {**bearer(site.keys["own"]), "Content-Type": "application/json"}
    response = site.client.post("/v1/feedback", content=sent, headers=headers)
    assert response.status_code == 400, response.text
    message = response.json()["error"]["message"]
    assert message and "\n" not in message
    assert not (site.project / "feedback").exists()


def test_a_body_that_is_too_large_is_not_read(site: Site) -> None:
    response = site.give(UNKNOWN, comment="x" * (65 << 10))
    assert response.status_code == 413


def test_a_full_disk_and_a_full_folder_are_said_and_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = site.ask()["id"]

    def write(file: Any, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "_write", write)
    response = site.give(id_, rating="up")
    assert (response.status_code, response.json()["error"]["code"]) == (507, "feedback_full")
    assert str(site.project) not in response.text
    assert any("FeedbackError" in line for line in caplog.messages)
    monkeypatch.undo()
    assert site.give(id_, rating="up").status_code == 200


def test_many_at_once_leave_one_whole_feedback_each(site: Site) -> None:
    ids = [site.ask("own", f"Who keeps key {number}?")["id"] for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(site.give, id_, comment=f"{number} {'x' * 500}") for number in range(8) for id_ in ids]
        assert {job.result().status_code for job in jobs} == {200}
    assert sorted(each.trace.id for each in site.stored()) == sorted(ids)


def test_single_roles_and_failed_requests_have_no_feedback(site: Site) -> None:
    body = {"model": "lorag/rewriter", "messages": [{"role": "user", "content": QUESTION}]}
    reply = site.client.post("/v1/chat/completions", json=body, headers=bearer(site.keys["own"])).json()
    assert site.give(reply["id"], rating="up").status_code == 404
