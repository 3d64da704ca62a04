"""Starts vLLM on a base with the production adapters of a registry, each under its role's name.

    python services/vllm_serve.py --base FOLDER_OR_HUB_ID --adapters PROJECT/.lorag/adapters [-- OPTION …]

It needs Python alone, so it runs in vLLM's environment, without LoRAG. Options after `--` go to vLLM unchanged. `--print` prints
the command and does not run it. A project uses such a server with `generation: {engine: openai, base_url: …/v1}`. It refuses a
server whose adapters are not those in production, so start the server again after a promotion.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROLES = ("rewriter", "synthesizer", "judge")
BASE_NAME = "base"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM supports. An adapter of another rank takes the next higher one."""

UNSERVED = {"use_dora": "a DoRA adapter (lora.dora)", "alora_invocation_tokens": "an activated LoRA (lora.activated)"}
"""Settings of adapters that vLLM 0.32 refuses at start, with their names here."""

_VERSION = re.compile(r"[0-9]{4,9}-[0-9a-f]{8}")


@dataclass(frozen=True)
class _Shape:
    """The rank and modules of an adapter."""

    rank: int
    modules: frozenset[str]


def vllm_command(program: str, base: str, adapters: Path, extra: Sequence[str] = ()) -> list[str]:
    """The words of the command. Raises SystemExit in one line if the registry or an adapter in it cannot be read.

    Two options work around faults of vLLM 0.32 on a CPU. Without `--lora-target-modules` it puts adapters on the output head too,
    which none of ours has. Then it stops at the first request for the log-probabilities of a prompt. In a mixed batch it gives
    requests for the base the adapter in the last slot. So there is one more slot than adapters, and the last stays empty.
    """
    folders = dict(_in_production(adapters))
    words = [program, "serve", base, "--served-model-name", BASE_NAME]
    if folders:
        shapes = [_shape(folder / "adapter_config.json") for folder in folders.values()]
        modules = sorted(set().union(*(shape.modules for shape in shapes)))
        rank = max(shape.rank for shape in shapes)
        words += ["--enable-lora", "--max-loras", str(len(folders) + 1), "--max-lora-rank", str(_room_for(rank))]
        words += ["--lora-target-modules", *modules]
        words += ["--lora-modules", *(f"{role}={folder}" for role, folder in folders.items())]
    return [*words, *extra]


def _in_production(adapters: Path) -> Iterator[tuple[str, Path]]:
    for role in ROLES:
        file = adapters / role / "aliases.json"
        if not file.is_file():
            continue
        version = _read(file).get("production")
        if version is None:
            continue
        if not (isinstance(version, str) and _VERSION.fullmatch(version)):
            raise SystemExit(f"{file}: production is {version!r}, which is no version; see `lorag adapters list`")
        yield role, adapters / role / "versions" / version


def _shape(file: Path) -> _Shape:
    settings = _read(file)
    for key, kind in UNSERVED.items():
        if settings.get(key):
            raise SystemExit(f"{file}: is {kind}, which vLLM does not apply; train it without, or let `lorag serve` serve it")
    rank, modules = settings.get("r"), settings.get("target_modules")
    if not (isinstance(rank, int) and isinstance(modules, list) and modules and all(isinstance(m, str) for m in modules)):
        raise SystemExit(f"{file}: has no rank, or no list of target_modules; publish the adapter again")
    ranks = settings.get("rank_pattern") or {}
    others = [each for each in ranks.values() if isinstance(each, int)] if isinstance(ranks, dict) else []
    return _Shape(max(rank, *others, 0), frozenset(modules))


def _room_for(rank: int) -> int:
    fitting = [room for room in RANKS if room >= rank]
    if not fitting:
        raise SystemExit(f"an adapter has rank {rank}, vLLM takes {RANKS[-1]} at most; train it with a lower one")
    return fitting[0]


def _read(file: Path) -> dict[str, object]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{file}: cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise SystemExit(f"{file}: holds no JSON object")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--adapters", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--vllm", default="vllm", metavar="PROGRAM")
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("extra", nargs="*", metavar="OPTION")
    options = parser.parse_args()
    words = vllm_command(options.vllm, options.base, options.adapters, options.extra)
    if options.show:
        print(shlex.join(words))
        return
    try:
        os.execvp(words[0], words)
    except OSError as error:
        sys.exit(f"{words[0]} does not start: {error.strerror}; install vLLM, or name its program with --vllm")


if __name__ == "__main__":
    main()
