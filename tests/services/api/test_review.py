"""The routes of `lorag data review --web`: what a client sees of the rows, what it may say, and what is kept."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from lorag.pipeline.errors import DataError
from lorag.services.api.review import ReviewState
from lorag.services.api.review_server import create_review_app
from lorag.training.data.reviewed import Reviewed, Verdict, agreements, read_reviewed
from lorag.training.dataset import DataFolder
from tests.training.data.made_rows import COUNT, lay_rows, lines

HERE = "http://127.0.0.1"
LORAG = (sys.executable, "-c", "from lorag.services.cli import main; main()")
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@dataclass
class Site:
    client: TestClient
    folder: Path

    def get(self, path: str) -> Any:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def draw(self, rows: int) -> list[str]:
        response = self.client.post("/v1/review/batches", json={"rows": rows})
        assert response.status_code == 200, response.text
        return list(response.json()["rows"])

    def say(self, id: str, verdict: str, **words: str) -> Any:
        return self.client.post("/v1/review/verdicts", json={"id": id, "verdict": verdict, **words})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_rows(tmp_path / "rows")


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    app = create_review_app(ReviewState.open(folder, (20, 50, 100), 0))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        yield Site(client, folder)


def test_what_is_drawn_was_not_read_and_is_shown_without_the_filter(site: Site) -> None:
    begun = site.get("/v1/review")
    assert (begun["name"], begun["read"], begun["unread"], begun["counts"]) == ("rows", 0, COUNT + 1, [20, 50, 100])
    ids = site.draw(10)
    assert len(set(ids)) == 10 and sum(id.startswith("r-") for id in ids) == 2
    assert ids != site.draw(10), "a second reader gets other rows"
    keys = {"object", "id", "question", "answer", "passages", "said"}
    for id in ids:
        item = site.get(f"/v1/review/items/{id}")
        assert item.keys() == keys and item["said"] is None
        assert "copy" not in json.dumps(item)
    assert site.say(ids[0], "keep").status_code == 200
    assert ids[0] not in site.draw(100)
    assert site.get("/v1/review")["read"] == 1
    for id in (*(f"s-{n}" for n in range(COUNT)), "s-u"):
        assert site.say(id, "keep").status_code == 200
    assert site.get("/v1/review")["unread"] == 0
    assert site.draw(20) == [], "filters are measured beside made rows, not on their own"


def test_an_item_has_its_passage_with_the_answers_place(site: Site) -> None:
    item = site.get("/v1/review/items/s-3")
    (passage,) = item["passages"]
    assert (item["question"], item["answer"], passage["title"]) == ("Where is key 3?", "door 3", "Key 3")
    assert passage["text"][passage["answer"]["start"] : passage["answer"]["end"]] == "door 3"
    unanswered = site.get("/v1/review/items/s-u")
    assert unanswered["answer"] == "" and [each["answer"] for each in unanswered["passages"]] == [None]


def test_verdicts_are_kept_at_once_and_can_be_changed(site: Site) -> None:
    assert site.say("s-1", "keep").json()["said"] == {"verdict": "keep", "question": "Where is key 1?", "answer": "door 1"}
    assert site.say("s-2", "drop").status_code == site.say("s-1", "drop").status_code == 200
    corrected = site.say("s-3", "correct", question="Which door hides key 3?").json()
    assert corrected["said"] == {"verdict": "correct", "question": "Which door hides key 3?", "answer": "door 3"}
    assert site.say("s-3", "correct", answer="the third door").status_code == 200
    assert site.get("/v1/review/items/s-3")["said"]["question"] == "Which door hides key 3?"
    assert {each.id: each.verdict for each in read_reviewed(site.folder)} == {
        "s-1": Verdict.DROP,
        "s-2": Verdict.DROP,
        "s-3": Verdict.CORRECT,
    }
    (kept,) = DataFolder(site.folder, {}).questions("test")
    assert (kept.id, kept.question, kept.answers) == ("s-3", "Which door hides key 3?", ("the third door",))


def test_the_filter_of_a_verdict_is_the_servers_own_knowledge(site: Site) -> None:
    assert site.say("r-1", "keep").status_code == 200
    assert read_reviewed(site.folder) == (Reviewed("r-1", Verdict.KEEP, "Where is key 1?", "door 1", "copy"),)


def test_the_agreement_is_in_the_words_of_the_terminal(site: Site) -> None:
    assert site.get("/v1/review/agreement")["filters"] == []
    for n in range(1, 10, 2):
        assert site.say(f"r-{n}", "keep").status_code == 200
    assert site.say("s-1", "keep").status_code == 200
    found = site.get("/v1/review/agreement")["filters"]
    assert [each["text"] for each in found] == [str(each) for each in agreements(read_reviewed(site.folder))]
    assert found[1] == {"text": "Of 5 dropped by “copy”, you drop too 0 (0.00), below 0.8: look at this filter.", "weak": True}


BAD: dict[str, tuple[dict[str, Any], int]] = {
    "an unknown row": ({"id": "s-99", "verdict": "keep"}, 404),
    "a path": ({"id": "../../etc/passwd", "verdict": "keep"}, 404),
    "a path of the folder": ({"id": "test/synthesizer.jsonl", "verdict": "keep"}, 404),
    "NUL": ({"id": "s-1\0", "verdict": "keep"}, 400),
    "an id that is a list": ({"id": ["s-1"], "verdict": "keep"}, 400),
    "no verdict": ({"id": "s-1"}, 400),
    "a verdict of no kind": ({"id": "s-1", "verdict": "skip"}, 400),
    "a filter of its own": ({"id": "s-1", "verdict": "keep", "filter": "copy"}, 400),
    "a folder of its own": ({"id": "s-1", "verdict": "keep", "folder": "/"}, 400),
    "words without a correction": ({"id": "s-1", "verdict": "keep", "question": "Who?"}, 400),
    "a correction without words": ({"id": "s-1", "verdict": "correct"}, 400),
    "a correction of blanks": ({"id": "s-1", "verdict": "correct", "question": " \n"}, 400),
    "a long question": ({"id": "s-1", "verdict": "correct", "question": "x" * 2001}, 400),
    "a long answer": ({"id": "s-1", "verdict": "correct", "answer": "x" * 8001}, 400),
    "an answer that there is none": ({"id": "s-u", "verdict": "correct", "answer": "the smith"}, 400),
    "half a pair": ({"id": "s-1", "verdict": "correct", "question": "\ud800"}, 400),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_verdict_is_refused_in_one_line_and_leaves_nothing(site: Site, name: str) -> None:
    before = {path: path.read_bytes() for path in site.folder.rglob("*.jsonl")}
    body, status = BAD[name]
    sent = json.dumps(body).encode("utf-8", "surrogatepass")
    response = site.client.post("/v1/review/verdicts", content=sent, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    message = response.json()["error"]["message"]
    assert message and "\n" not in message and str(site.folder) not in message
    assert {path: path.read_bytes() for path in site.folder.rglob("*.jsonl")} == before


@pytest.mark.parametrize("rows", [0, -1, 1001, "20", 2.5, None])
def test_a_bad_number_of_rows_is_refused(site: Site, rows: object) -> None:
    assert site.client.post("/v1/review/batches", json={"rows": rows}).status_code == 400


@pytest.mark.parametrize("path", ["/v1/review/items/..%2F..%2Freviewed.jsonl", "/v1/review/items/", "/v1/documents", "/docs"])
def test_nothing_else_is_served(site: Site, path: str) -> None:
    assert site.client.get(path).status_code == 404


FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1", "Origin": "https://evil.example"},
    {"Host": "127.0.0.1:8322", "Origin": "http://127.0.0.1:9999"},
    {"Host": "localhost", "Origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_other_sites_neither_read_nor_write(site: Site, headers: dict[str, str]) -> None:
    for path in ("/", "/v1/review", "/v1/review/items/s-1", "/v1/review/agreement"):
        assert site.client.get(path, headers=headers).status_code == 403
    assert site.client.post("/v1/review/verdicts", json={"id": "s-1", "verdict": "keep"}, headers=headers).status_code == 403
    form = site.client.post("/v1/review/verdicts", content="id=s-1&verdict=keep", headers={"Content-Type": "text/plain"})
    assert form.status_code == 400
    assert read_reviewed(site.folder) == ()


def test_a_body_that_is_too_large_is_not_read(site: Site) -> None:
    assert site.say("s-1", "correct", question="x" * (2 << 20)).status_code == 413


def test_many_at_once_lose_no_verdict(site: Site) -> None:
    ids = [f"s-{n}" for n in range(COUNT)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(site.say, ids, itertools.repeat("keep")))
    assert {each.status_code for each in found} == {200}
    assert {each.id for each in read_reviewed(site.folder)} == set(ids)
    assert {row.id for row in DataFolder(site.folder, {}).questions("test")} == set(ids)


def test_a_folder_that_is_gone_meanwhile_is_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.folder.rename(site.folder.with_name("elsewhere"))
    response = site.say("s-1", "keep")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "rows_failed")
    assert str(site.folder) not in response.text
    assert any("cannot be written" in line for line in caplog.messages)


def test_the_command_serves_the_folder_until_it_is_ended_and_then_says_the_agreement(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([*LORAG, "data", "review", str(folder), "--web", "--port", str(port)], **PIPES)
    assert process.stderr is not None
    assert f"http://127.0.0.1:{port}/" in process.stderr.readline()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert "Review rows" in client.get("/").text
        assert client.post("/v1/review/verdicts", json={"id": "s-1", "verdict": "keep"}).status_code == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.strip() == "Of 1 that passed all filters, you keep 1 (1.00)."
    assert "http" not in err and "Traceback" not in err, "no line for a request"


def test_a_port_that_is_taken_and_a_folder_that_is_none_are_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for rows, words in ((str(folder), "choose another --port"), (f"{folder}x", "is no folder|no passages.jsonl")):
            ended = subprocess.run([*LORAG, "data", "review", rows, "--web", "--port", port], **PIPES, timeout=60)
            assert ended.returncode == 2 and re.search(words, ended.stderr), ended.stderr
            assert "Traceback" not in ended.stderr


def test_a_folder_without_made_rows_is_refused_before_anything_is_served(folder: Path) -> None:
    lines(folder / "test" / "synthesizer.jsonl", [{"id": "h", "question": "Q?", "answers": ["a"], "passage_ids": ["d1#0"]}])
    with pytest.raises(DataError, match="no made test questions"):
        ReviewState.open(folder, (20,), 0)
