"""The HTTP side of the remote engine against a server that fails in every way: retries, patience, messages, no key told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from lorag.pipeline.engine import completions_client
from lorag.pipeline.engine.completions_client import CompletionsClient, Server
from lorag.pipeline.engine.limits import CallLimits, limited
from lorag.pipeline.errors import Cancelled, DeadlinePassed, EngineError, Overloaded, PromptTooLong
from tests.pipeline.engine.completions_server import CompletionsServer, Fault

KEY = "k-7e57-not-to-be-told"
OK = Fault(body=b'{"choices": []}')
BODY = {"model": "judge", "prompt": [1]}


@pytest.fixture(scope="module")
def running() -> Iterator[CompletionsServer]:
    with CompletionsServer({}, key=KEY).running() as server:
        yield server


@pytest.fixture
def server(running: CompletionsServer, monkeypatch: pytest.MonkeyPatch) -> CompletionsServer:
    monkeypatch.setattr(completions_client, "FIRST_PAUSE", 0.01)
    running.plan.clear()
    running.seen.clear()
    return running


def asking(server: CompletionsServer, *, key: str = KEY, timeout: float = 5.0, retries: int = 2) -> CompletionsClient:
    return CompletionsClient(Server(server.url, key, timeout, retries))


def failure(client: CompletionsClient, kind: type[EngineError] = EngineError) -> EngineError:
    with pytest.raises(kind) as caught:
        client.post("/completions", BODY, "adapter j (model 'judge')")
    client.close()
    told = str(caught.value)
    assert told.startswith(f"adapter j (model 'judge') at {client.url} ")
    assert "\n" not in told
    assert KEY not in told
    return caught.value


def test_the_key_and_the_body_reach_the_server(server: CompletionsServer) -> None:
    server.plan.append(OK)
    client = asking(server)
    assert client.post("/completions", BODY, "x") == {"choices": []}
    client.close()
    (seen,) = server.seen
    assert (seen.path, seen.headers["authorization"], seen.body) == ("/v1/completions", f"Bearer {KEY}", BODY)
    assert KEY not in repr(client.server)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(server: CompletionsServer, status: int) -> None:
    server.plan.extend([Fault(status), Fault(status), OK])
    client = asking(server)
    assert client.post("/completions", BODY, "x") == {"choices": []}
    client.close()
    assert len(server.seen) == 3


@pytest.mark.parametrize(("status", "kind"), [(429, Overloaded), (500, EngineError), (503, EngineError)])
def test_what_does_not_pass_is_told_with_how_often_it_was_tried(
    server: CompletionsServer, status: int, kind: type[EngineError]
) -> None:
    server.plan.extend([Fault(status)] * 3)
    error = failure(asking(server), kind)
    assert str(error).endswith(f"answered {status} (planned), 3 times")
    assert error.retry
    assert len(server.seen) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept(server: CompletionsServer, form: str) -> None:
    # A date has whole seconds, so one of 2 s ahead is 1 to 2 s away.
    after = "0.4" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.plan.extend([Fault(429, {"Retry-After": after}), OK])
    client = asking(server)
    started = time.perf_counter()
    client.post("/completions", BODY, "x")
    client.close()
    assert time.perf_counter() - started >= 0.4


def test_a_retry_after_beyond_ones_patience_is_told_at_once(server: CompletionsServer) -> None:
    server.plan.append(Fault(429, {"Retry-After": "3600"}))
    error = failure(asking(server), Overloaded)
    assert str(error).endswith("answered 429 (planned); it asks to come back in 3600 s")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("7", 7.0), ("-3", 0.0), ("soon", None), ("nan", None), ("inf", None)]
)
def test_the_reader_of_retry_after(header: str | None, seconds: float | None) -> None:
    assert completions_client._retry_after_seconds(header) == seconds


def test_pauses_grow_and_stay_bounded() -> None:
    for attempt, middle in ((1, 0.5), (2, 1.0), (3, 2.0), (9, 16.0), (500, 16.0)):
        assert 0.75 * middle <= completions_client._pause_seconds(attempt) <= 1.25 * middle


def test_a_slow_reply_is_not_asked_for_again(server: CompletionsServer) -> None:
    server.plan.append(Fault(delay=1.0))
    error = failure(asking(server, timeout=0.2))
    assert "did not answer within 0.2 s; raise generation.timeout" in str(error)
    assert error.retry
    assert len(server.seen) == 1


def test_a_server_that_is_not_there(server: CompletionsServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    error = failure(CompletionsClient(Server(url, KEY, 5.0, 1)))
    assert "cannot be reached (" in str(error)
    assert str(error).endswith("), 2 times; check generation.base_url, and that the server runs")
    assert error.retry


@pytest.mark.parametrize("url", ["http://h:port/v1", "http:///v1"])
def test_an_address_that_is_none(url: str) -> None:
    error = failure(CompletionsClient(Server(url, KEY, 5.0, 3)))
    assert "is no address (" in str(error)
    assert not error.retry


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(400), "answered 400 (planned)"),
        (Fault(400, body=b'{"detail": [{"loc": ["x"]}]}'), "answered 400 ([{'loc': ['x']}])"),
        (Fault(403), "answered 403 (planned); the key behind generation.api_key_env does not allow this"),
        (Fault(404, body=b"<html>nothing\n here</html>"), "answered 404 (<html>nothing here</html>); check generation.base_url"),
        (Fault(404, body=b""), "answered 404; check generation.base_url (it ends in /v1) and generation.models"),
        (Fault(307, {"location": "/elsewhere"}), "answered 307 (planned)"),
        (Fault(200, body=b"<html>"), "answered no JSON ('<html>'); is it an API's address?"),
        (Fault(200, body=b""), "answered no JSON ('')"),
    ],
)
def test_what_cannot_pass_is_told_at_once(server: CompletionsServer, fault: Fault, told: str) -> None:
    server.plan.append(fault)
    error = failure(asking(server))
    assert told in str(error)
    assert not error.retry
    assert len(server.seen) == 1


def test_a_refused_key_is_not_told_though_the_server_repeats_it(server: CompletionsServer) -> None:
    client = asking(server, key="k-wrong")
    with pytest.raises(EngineError) as caught:
        client.post("/completions", BODY, "x")
    client.close()
    told = str(caught.value)
    assert "answered 401 (wrong key: Bearer …); set the variable that generation.api_key_env names" in told
    assert "k-wrong" not in told


@pytest.mark.parametrize(
    "message", ["This model's maximum context length is 512 tokens.", '", "code": "context_length_exceeded"'.strip('", ')]
)
def test_a_prompt_that_the_server_finds_too_long(server: CompletionsServer, message: str) -> None:
    server.plan.append(Fault(400, body=f'{{"error": {{"message": "{message}"}}}}'.encode()))
    assert "chunking.max_chars" in str(failure(asking(server), PromptTooLong))


def test_the_time_of_the_caller_counts(server: CompletionsServer) -> None:
    server.plan.append(Fault(delay=1.0))
    client = asking(server)
    with limited(CallLimits.of(0.2)), pytest.raises(DeadlinePassed):
        client.post("/completions", BODY, "x")
    client.close()


def test_a_caller_who_gives_up_waits_for_no_further_attempt(server: CompletionsServer) -> None:
    server.plan.extend([Fault(503, {"Retry-After": "4"}), OK])
    client, gone = asking(server), threading.Event()
    threading.Timer(0.2, gone.set).start()
    started = time.perf_counter()
    with limited(CallLimits(cancelled=gone)), pytest.raises(Cancelled):
        client.post("/completions", BODY, "x")
    client.close()
    assert time.perf_counter() - started < 3
    assert len(server.seen) == 1


def events(*data: str) -> Fault:
    return Fault(body="".join(f"data: {line}\n\n" for line in data).encode())


def test_a_stream_is_the_events_up_to_done(server: CompletionsServer) -> None:
    server.plan.append(
        Fault(body=b': a comment\n\nevent: x\ndata: {"n": 1}\n\ndata:{"n": 2}\r\n\r\ndata: [DONE]\n\ndata: {"n": 3}\n\n')
    )
    client = asking(server)
    assert list(client.stream("/completions", BODY, "x")) == [{"n": 1}, {"n": 2}]
    client.close()


@pytest.mark.parametrize(
    ("fault", "told", "retry"),
    [
        (events('{"n": 1}'), "ended a reply before it was complete", True),
        (events('{"n": 1}', '{"error": {"message": "out of memory"}}', "[DONE]"), "failed amid a reply: out of memory", True),
        (events('{"n": 1}', "{n}"), "streamed no JSON ('{n}')", False),
        (Fault(500), "answered 500 (planned), 3 times", True),
    ],
)
def test_a_stream_that_fails(server: CompletionsServer, fault: Fault, told: str, retry: bool) -> None:
    server.plan.extend([fault] * 3)
    client = asking(server)
    with pytest.raises(EngineError) as caught:
        list(client.stream("/completions", BODY, "adapter j"))
    client.close()
    assert told in str(caught.value)
    assert caught.value.retry is retry


def test_a_stream_begins_again_only_before_its_first_piece(server: CompletionsServer) -> None:
    server.plan.extend([Fault(503), events('{"n": 1}', "[DONE]")])
    client = asking(server)
    assert list(client.stream("/completions", BODY, "x")) == [{"n": 1}]
    client.close()


def test_a_connection_that_dies_amid_a_stream() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    event = b'data: {"n": 1}\n\n'

    def answer_half(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head + b"%x\r\n%b\r\n" % (len(event), event) + b"ff\r\ndata: {")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_half, args=(listener,))
        thread.start()
        client = CompletionsClient(Server(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", None, 5.0, 0))
        got = []
        with pytest.raises(EngineError, match=r"broke a reply off \((peer closed connection|\[Errno 104\])") as caught:
            for one in client.stream("/completions", BODY, "x"):
                got.append(one)
        thread.join()
        client.close()
    assert got == [{"n": 1}]
    assert caught.value.retry
