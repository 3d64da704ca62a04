"""Many clients on one service: does each get the answer of its adapter, how fast, and without failures?

    python -m benchmarks.load --project demo-out/project --clients 32 --minutes 5

Starts `lorag serve` on the project (or uses `--url`, a service of the same project), sends every request once, alone, and
stores the answers. Then the clients send the same requests in a mixed order: the chain with and without adapters, each role and
the bare base with the same prompt, embeddings, retrieval; a third of the texts as streams. The reply cache is off, so each reply
is computed.

Greedy replies are the same each time, except for the rounding in a batch of another shape. On a base in 4 or 8 bit that can
change a close decision. So a reply is
    equal    to the one computed alone;
    wrong    if it is that of another adapter to the same prompt, or, if no text is equal, if another adapter gives it a higher
             likelihood than its own (all four are measured through /v1/completions);
    close    otherwise: its own adapter gives it the highest likelihood, or (chain) it is no other configuration's reply.
Ends with status 1 if a reply was wrong, an answer was 5xx, or the service logged a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load_client import MODELS, SHARES, Reply, ServiceRequest, requests_of, send
from lorag.doctor import examine_machine
from lorag.pipeline.config import Settings, load_settings
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.training.dataset import DataFolder

START_SECONDS, ANSWER_SECONDS = 600.0, 300.0
SERVE_OPTIONS = ("--cache", "0", "--timeout", f"{ANSWER_SECONDS:g}")
SHOWN = 5


@dataclass(frozen=True)
class Outcome:
    request: ServiceRequest
    reply: Reply
    verdict: str


class ReplyCheck:
    """Compares replies with the answers computed alone."""

    def __init__(self, alone: Mapping[tuple[str, int], Reply]) -> None:
        self._alone = alone

    def of(self, request: ServiceRequest, reply: Reply) -> str:
        if reply.status != 200:
            return "none"
        own = self._alone[request.kind, request.question]
        if own.adapters != reply.adapters:
            return "wrong"
        if request.kind == "embeddings":
            near = max(abs(a - b) for x, y in zip(own.content, reply.content, strict=True) for a, b in zip(x, y, strict=True))
            return "equal" if near < 1e-4 else "wrong"
        if reply.content == own.content:
            return "equal"
        other_kinds = (
            MODELS if request.kind in MODELS else ("chain", "chain without adapters") if request.kind.startswith("chain") else ()
        )
        others = [self._alone[kind, request.question].content for kind in other_kinds if kind != request.kind]
        return "wrong" if reply.content in others else "close"

    def distinct_prompts(self) -> tuple[int, int]:
        """The number of prompts to which all four models reply differently, and of all prompts."""
        questions = {question for _, question in self._alone}
        different = [q for q in questions if len({self._alone[model, q].content for model in MODELS}) == len(MODELS)]
        return len(different), len(questions)


def likeliest_model(client: httpx.Client, tokens: ChatTokens, request: ServiceRequest, text: str) -> str:
    """The model that gives `text` the highest likelihood after the prompt of `request`."""
    prompt = tokens.prompt(request.prompt)
    ids = [*prompt, *(tokens.plain(text) or tokens.reply(text))]
    totals = {}
    for model in MODELS:
        scored = {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 0, "scored_from": len(prompt)}
        response = client.post("/v1/completions", json={"model": model, **scored}).raise_for_status()
        totals[model] = sum(response.json()["choices"][0]["logprobs"]["token_logprobs"][len(prompt) :])
    return max(totals, key=lambda model: totals[model])


def resolve_close(outcomes: Sequence[Outcome], client: httpx.Client, tokens: ChatTokens) -> list[Outcome]:
    """`outcomes` with close replies of the roles decided by likelihood."""
    known: dict[tuple[str, int, str], str] = {}
    result = []
    for outcome in outcomes:
        request, text = outcome.request, outcome.reply.content
        if outcome.verdict == "close" and request.kind in MODELS:
            key = (request.kind, request.question, text)
            if key not in known:
                known[key] = likeliest_model(client, tokens, request, text)
            outcome = replace(outcome, verdict="close" if known[key] == request.kind else "wrong")
        result.append(outcome)
    return result


def load(
    url: str, requests: Sequence[ServiceRequest], check: ReplyCheck, clients: int, seconds: float, key: str
) -> list[Outcome]:
    """Let the clients send requests for so many seconds, and wait for the pending ones."""
    end = time.monotonic() + seconds
    done: list[Outcome] = []
    lock = threading.Lock()

    def run(number: int) -> None:
        draw = random.Random(number)
        by_kind = {kind: [request for request in requests if request.kind == kind] for kind in SHARES}
        order = [kind for kind, share in SHARES.items() for _ in range(share)]
        with connected(url, key) as client:
            while time.monotonic() < end:
                request = draw.choice(by_kind[draw.choice(order)])
                if "messages" in request.body and draw.random() < 1 / 3:
                    request = replace(request, stream=True)
                reply = send(client, request)
                with lock:
                    done.append(Outcome(request, reply, check.of(request, reply)))
                if reply.status == 429:
                    time.sleep(1)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(run, number) for number in range(clients)]
        while any(not each.done() for each in running):
            time.sleep(0.5)
            wrong = sum(outcome.verdict == "wrong" for outcome in done)
            print(f"\r{len(done)} answers, {wrong} wrong, {max(0, end - time.monotonic()):.0f} s left ", end="", flush=True)
        print()
        for each in running:
            each.result()
    return done


def connected(url: str, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS)


@contextmanager
def serving(project: Path, log: Path) -> Iterator[str]:
    """Context in which `lorag serve` runs on the project; yields its address. SIGTERM must end it with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from lorag.services.cli import main; main()", "serve", "--project", str(project)]
    with log.open("wb") as log_file:
        process = subprocess.Popen([*command, "--port", str(port), *SERVE_OPTIONS], stdout=log_file, stderr=log_file)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(ANSWER_SECONDS)
    if status != 0:
        raise SystemExit(f"the service ended with status {status}; its log:\n{log.read_text(errors='replace')[-2000:]}")


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"the service did not get ready; its log:\n{log.read_text(errors='replace')[-2000:]}")


def measure(url: str, settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Send all requests alone, then together, and compare."""
    key = os.environ.get("LORAG_API_KEY", "")
    rows = [row for row in DataFolder(options.data, settings.judge.intents).rewrites("test") if row.history]
    requests = [request for number, row in enumerate(rows[: options.questions]) for request in requests_of(number, row)]
    alone: dict[tuple[str, int], Reply] = {}
    with connected(url, key) as client:
        for count, request in enumerate(requests, 1):
            alone[request.kind, request.question] = reply = send(client, request)
            if reply.status != 200:
                raise SystemExit(f"{request.kind}, alone: status {reply.status}: {reply.content}")
            print(f"\ralone: {count} of {len(requests)}", end="", flush=True)
        print()
        check = ReplyCheck(alone)
        started = time.perf_counter()
        outcomes = load(url, requests, check, options.clients, 60 * options.minutes, key)
        seconds = time.perf_counter() - started
        outcomes = resolve_close(outcomes, client, _tokens(settings))
        after = Counter(check.of(request, send(client, request)) for request in requests)
    different, prompts = check.distinct_prompts()
    return {
        "seconds": round(seconds, 1),
        "answers": len(outcomes),
        "answers a minute": round(60 * len(outcomes) / seconds, 1),
        "tokens written a second": round(sum(outcome.reply.tokens for outcome in outcomes) / seconds, 1),
        "wrong": sum(outcome.verdict == "wrong" for outcome in outcomes),
        "wrong answers": [_details(outcome, alone) for outcome in outcomes if outcome.verdict == "wrong"][:SHOWN],
        "5xx": sum(outcome.reply.status >= 500 for outcome in outcomes),
        "no answer": sum(outcome.reply.status == 0 for outcome in outcomes),
        "429": sum(outcome.reply.status == 429 for outcome in outcomes),
        "prompts that tell all four models apart": f"{different} of {prompts}",
        "asked alone once more afterwards": dict(after),
        "adapters": json.loads(alone["chain", 0].adapters),
        "kinds": {kind: table for kind in SHARES if (table := figures(outcomes, alone, kind))},
    }


def _tokens(settings: Settings) -> ChatTokens:
    from transformers import AutoTokenizer

    from lorag.pipeline.engine.bases import resolve_base

    return ChatTokens(AutoTokenizer.from_pretrained(resolve_base(settings.base.model).location, trust_remote_code=False))


def _details(outcome: Outcome, alone: Mapping[tuple[str, int], Reply]) -> dict[str, Any]:
    request, own = outcome.request, alone[outcome.request.kind, outcome.request.question]
    details = {"kind": request.kind, "stream": request.stream, "question": request.question, "adapters": outcome.reply.adapters}
    return details if request.kind == "embeddings" else {**details, "reply": outcome.reply.content, "alone": own.content}


def figures(outcomes: Sequence[Outcome], alone: Mapping[tuple[str, int], Reply], kind: str) -> dict[str, Any]:
    """Latency in seconds and verdicts of one kind of request."""
    of_kind = [outcome for outcome in outcomes if outcome.request.kind == kind]
    answered = [outcome.reply.seconds for outcome in of_kind if outcome.reply.status == 200]
    first = [outcome.reply.first for outcome in of_kind if outcome.reply.first]
    return {
        "answers": len(of_kind),
        **{verdict: sum(outcome.verdict == verdict for outcome in of_kind) for verdict in ("equal", "close", "wrong")},
        "p50": percentile(answered, 50),
        "p95": percentile(answered, 95),
        "p50 alone": percentile([reply.seconds for (name, _), reply in alone.items() if name == kind], 50),
        "p50 to the first text": percentile(first, 50),
        "p95 to the first text": percentile(first, 95),
    }


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The percentile by nearest rank, rounded to milliseconds; None without values."""
    ranked = sorted(values)
    return round(ranked[max(0, -(-len(ranked) * percent // 100) - 1)], 3) if ranked else None


def environment() -> dict[str, Any]:
    machine = examine_machine()
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit or "unknown",
        "machine": f"{machine.processor}, {machine.cores} cores, {machine.memory >> 30} GiB"
        + (machine.gpu and f", {machine.gpu}"),
        "threads": machine.threads,
        "load before": [round(value, 2) for value in os.getloadavg()],
        "versions": {"python": machine.python, **machine.versions},
    }


def show(result: Mapping[str, Any]) -> None:
    columns = ("answers", "equal", "close", "wrong", "p50", "p95", "p50 alone", "p50 to the first text", "p95 to the first text")
    print("".join([f"{'':24}", *(f"{name:>{len(name) + 2}}" for name in columns)]))
    for kind, row in result["kinds"].items():
        cells = (f"{'' if row[name] is None else row[name]:>{len(name) + 2}}" for name in columns)
        print("".join([f"{kind:24}", *cells]))
    for name, value in result.items():
        if name not in ("kinds", "versions"):
            print(f"{name}: {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path("demo-out/project"))
    parser.add_argument("--url", help="a service of the project that runs already, started with --cache 0; key in LORAG_API_KEY")
    parser.add_argument("--data", type=Path, default=Path("examples/kelder-sound-line"))
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--write", type=Path, default=Path("benchmarks/results/load.json"))
    options = parser.parse_args()
    settings = load_settings(options.project)
    result = {"clients": options.clients, "base": settings.base.model, "precision": settings.base.precision, **environment()}
    if options.url:
        result |= measure(options.url.rstrip("/"), settings, options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "serve.log"
            with serving(options.project, log) as url:
                result |= measure(url, settings, options)
            result["serve options"] = " ".join(SERVE_OPTIONS)
            result["tracebacks logged"] = log.read_text(errors="replace").count("Traceback")
    show(result)
    options.write.parent.mkdir(parents=True, exist_ok=True)
    options.write.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    raise SystemExit(int(any(result.get(bad) for bad in ("wrong", "5xx", "no answer", "tracebacks logged"))))


if __name__ == "__main__":
    main()
