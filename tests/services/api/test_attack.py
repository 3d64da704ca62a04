"""The service under bad requests on a real socket: each refused in one clear line within five seconds, and a clean log.

Cases are made by `attacks` and `wire_attacks`. Of the answer is looked at: the status, OpenAI's error form, and that nothing of
the inside shows. Of the service after all of them: that it answers, and that nothing ran on, fell down or was written elsewhere.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lorag.services.api import guard, server
from lorag.services.api.keys import KeyRing, Scope
from tests.services.api import attacks, wire_attacks
from tests.services.api.attacks import CHAIN_BODY, CHAT, Case, planted, request
from tests.services.api.live_service import ANSWER, Live, live, ready_project

SECONDS = 5.0
"""An answer that takes longer is a hang."""
INSIDE = (b"Traceback", b'File "', b"site-packages", b'.py", line', b"root:x:", b"pydantic", b"object at 0x")
"""What no answer may show, beside the project's path."""
BELOW_THE_APP = (b"Invalid HTTP request received.", b"Range header: ")
"""What uvicorn answers to what is no HTTP, and Starlette to a range of a static file that there cannot be."""

GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    make.__name__: make
    for make in (
        attacks.wrong_types,
        attacks.unread_fields,
        attacks.wrong_numbers,
        attacks.wrong_sizes,
        attacks.bad_texts,
        attacks.huge_texts,
        attacks.not_json,
        attacks.deep_nesting,
        attacks.duplicate_keys,
        attacks.content_types,
        wire_attacks.bad_uploads,
        wire_attacks.path_tricks,
        wire_attacks.methods,
        wire_attacks.bad_heads,
        wire_attacks.bad_lines,
        wire_attacks.odd_heads,
        wire_attacks.halves,
    )
}


@dataclass(frozen=True)
class Answer:
    """`status` 0: the connection was closed without a word; -1: it was not closed in time."""

    status: int
    head: bytes
    body: bytes
    seconds: float


def exchange(port: int, case: Case) -> Answer:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        received, closed = b"", False
        with suppress(OSError):  # the server had read enough to refuse, and closed
            connection.sendall(case.sent)
        if case.partial:
            closed, received = read(connection, started + 0.2)
            if not closed:
                connection.shutdown(socket.SHUT_WR)
        if not closed:
            closed, more = read(connection, started + SECONDS)
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head else 0
    return Answer(status if closed else -1, head, body, time.monotonic() - started)


def read(connection: socket.socket, until: float) -> tuple[bool, bytes]:
    """Whether the server closed before `until`, and what it sent."""
    received = b""
    while (left := until - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            piece = connection.recv(1 << 16)
        except TimeoutError:
            break
        except OSError:  # closed with a reset, since it had not read all
            return True, received
        if not piece:
            return True, received
        received += piece
    return False, received


def problems(case: Case, answer: Answer, project: Path) -> Iterator[str]:
    """What is wrong with an answer."""
    if answer.status not in case.expected:
        yield f"status {answer.status}: {answer.body[:200]!r}"
    if answer.seconds > SECONDS:
        yield f"took {answer.seconds:.1f} s"
    shown = answer.head + answer.body if answer.status >= 400 else answer.head
    yield from (f"shows {word!r}" for word in (*INSIDE, str(project).encode()) if word in shown)
    if b"X-Injected" in answer.head:
        yield "a header came in with the path"
    if answer.status >= 400 and not any(words in answer.body for words in BELOW_THE_APP):
        try:
            error = json.loads(answer.body)["error"]
        except (ValueError, TypeError, KeyError):
            yield f"no error form: {answer.body[:200]!r}"
            return
        if error.keys() != {"message", "type", "param", "code"} or not error["message"] or "\n" in error["message"]:
            yield f"not OpenAI's error form: {error}"
        elif len(error["message"]) > 600:
            yield "the message is long"


def attack(service: Live, cases: Iterable[Case], at_once: int = 8) -> list[str]:
    """Send all, `at_once` together; what was wrong, by case."""
    cases = list(cases)
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda case: exchange(service.port, case), cases))
    project = service.state.project
    return [f"{c.name}: {what}" for c, answer in zip(cases, answers, strict=True) for what in problems(c, answer, project)]


class Records(logging.Handler):
    """Every record of the process, kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    def faults(self) -> list[str]:
        """What a service that is well does not log: errors, tracebacks."""
        return [r.getMessage() for r in self.kept if r.levelno >= logging.ERROR or r.exc_info or "Traceback" in r.getMessage()]


@contextmanager
def recorded() -> Iterator[Records]:
    records = Records()
    logging.getLogger().addHandler(records)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(records)


def question(service: Live) -> Answer:
    return exchange(service.port, Case("a good question", request(CHAT, json.dumps(CHAIN_BODY).encode())))


def require_well(service: Live, records: Records) -> None:
    """It answers, nothing is running any more, and it never failed."""
    answer = question(service)
    assert answer.status == 200 and json.loads(answer.body)["choices"][0]["message"]["content"] == ANSWER
    service.until(lambda: service.idle)
    (requests,) = service.state.metrics.requests.collect()
    statuses = {sample.labels["status"] for sample in requests.samples if sample.name.endswith("_total")}
    assert statuses and not [status for status in statuses if status.startswith("5")]
    assert records.faults() == []


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One service for all groups; looked at when all are done."""
    around = tmp_path_factory.mktemp("attack")
    project = ready_project(around / "project")
    before = {path for path in around.rglob("*") if ".lorag" not in path.parts}
    with recorded() as records, live(project) as service:
        yield service
        jobs = service.state.jobs
        assert jobs is not None
        service.until(lambda: all(job.finished for job in jobs.of("")))
        require_well(service, records)
        assert {path for path in around.rglob("*") if ".lorag" not in path.parts} == before, "something was written elsewhere"
    assert not list(Path("/tmp").glob("escaped*.md"))


def test_there_are_more_than_a_thousand_and_each_is_another() -> None:
    cases = [case for make in GROUPS.values() for case in make()]
    assert len({case.sent for case in cases}) >= 1000
    assert len(cases) - len({case.sent for case in cases}) < 20, "cases that repeat others prove nothing"
    refused = [case for case in cases if not {200, 202} & set(case.expected)]
    assert len(refused) >= 800, "most must be refused, not only survived"


@pytest.mark.parametrize("group", GROUPS)
def test_is_refused(group: str, service: Live) -> None:
    # Huge texts cost the fake encoder 0.4 s of Python each, in the process of the test: too much for eight together.
    assert "\n".join(attack(service, GROUPS[group](), 2 if group == "huge_texts" else 8)) == ""


def test_the_checks_see_what_is_wrong(service: Live) -> None:
    """A good question is not refused, and an answer that shows a traceback is seen; else the groups above prove nothing."""
    good = Case("good", request(CHAT, json.dumps(CHAIN_BODY).encode()))
    assert question(service).body.count(ANSWER.split(" [")[0].encode())
    assert attack(service, [good])[0].startswith("good: status 200")
    shown = list(problems(good, Answer(500, b"", b'{"detail": "Traceback"}', 9.0), Path("/nowhere")))
    assert len(shown) == 4


def test_without_a_key(tmp_path: Path) -> None:
    project = ready_project(tmp_path / "project")
    with recorded() as records, live(project) as service:
        service.state.keys = KeyRing(project / ".lorag/keys.json")
        service.state.keys.add("somebody", [Scope.ASK])
        assert attack(service, wire_attacks.credentials()) == []
        assert records.faults() == []


# Clients that go, and clients that stay


def test_resets_at_every_point(service: Live) -> None:
    """The client breaks the connection off, with no word and no end, while it is read, answered or streamed to."""
    whole = request(CHAT, planted(CHAIN_BODY, "stream", "true"))
    for cut in (*range(1, len(whole), 5), *[len(whole)] * 20):
        with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
            connection.sendall(whole[:cut])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    service.until(lambda: service.idle)
    assert question(service).status == 200


def test_slow_clients_hold_up_nobody_and_are_closed(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred connections that send a byte now and then, or nothing after a first part."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.5)
    head = request("/healthz", method="GET")
    with ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection(("127.0.0.1", service.port))) for _ in range(100)]
        started, sent = time.monotonic(), 0
        while time.monotonic() - started < 1.0:
            for connection in slow[:50]:
                connection.sendall(head[sent : sent + 1])
            sent += 1
            assert question(service).status == 200
            time.sleep(0.1)
        for connection in slow:
            closed, received = read(connection, time.monotonic() + SECONDS)
            assert closed and not received.startswith(b"HTTP/1.1 200")
    assert question(service).status == 200


def test_a_body_that_comes_slowly_holds_up_nobody(service: Live) -> None:
    """More of them than the service has workers."""
    whole = request(CHAT, json.dumps(CHAIN_BODY).encode())
    with ExitStack() as opened:
        slow = [opened.enter_context(socket.create_connection(("127.0.0.1", service.port))) for _ in range(40)]
        for connection in slow:
            connection.sendall(whole[:-5])
        for _ in range(5):
            assert question(service).status == 200
        for connection in slow:
            connection.sendall(whole[-5:])
        for connection in slow:
            closed, received = read(connection, time.monotonic() + 4 * SECONDS)
            assert closed and received.startswith(b"HTTP/1.1 200")


def test_a_body_that_trickles_is_given_up(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a byte comes."""
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    whole = request(CHAT, json.dumps(CHAIN_BODY).encode())
    head = whole.index(b"\r\n\r\n") + 4
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        connection.sendall(whole[:head])
        closed, received, started = False, b"", time.monotonic()
        while not closed and time.monotonic() - started < SECONDS:
            with suppress(OSError):
                connection.sendall(whole[head : head + 1])
            head = min(head + 1, len(whole) - 2)
            closed, more = read(connection, time.monotonic() + 0.1)
            received += more
    assert closed and received.startswith(b"HTTP/1.1 408")


def test_a_hundred_bad_requests_down_one_connection(service: Live) -> None:
    """Pipelined; each is answered in order, and the good one at the end too."""
    bad = request(CHAT, b"{").replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        connection.sendall(bad * 100 + request("/healthz", method="GET"))
        closed, received = read(connection, time.monotonic() + 4 * SECONDS)
    assert closed
    assert received.count(b"HTTP/1.1 400") == 100 and received.count(b"HTTP/1.1 200") == 1
