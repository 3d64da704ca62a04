"""Run as a process of its own: loads each folder named on stdin as a server would, and tells what was seen meanwhile.

Prints one JSON object a folder: the refusal's class and text, seconds, MiB by which the process grew, and every event that no
refusal may cause. An audit hook sees imports, opened files, unpickling, compiling and processes; the engine handed in only
notes that it was asked to load.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lorag.pipeline.adapters.proof import load_proven
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.records import Role

LIBRARIES = ("torch", "peft", "transformers", "safetensors", "sentence_transformers", "accelerate", "bitsandbytes", "joblib")
NEVER = (
    "pickle.find_class",
    "marshal.loads",
    "compile",
    "exec",
    "os.exec",
    "os.system",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "socket.getaddrinfo",
    "ctypes.dlopen",
    "mmap.__new__",
)
SECONDS = 20
MEMORY = 2 << 30
BASE = Base("tiny", "nowhere", "0123456789abcdef")

seen: list[str] = []
watching = False


def watch(event: str, details: tuple[Any, ...]) -> None:
    if not watching:
        return
    if event == "open" and isinstance(details[0], str | bytes):
        seen.append(f"open {details[0]!s}")
    elif event in NEVER or (event == "import" and str(details[0]).partition(".")[0] in LIBRARIES):
        seen.append(f"{event} {str(details[0])[:80]}")


class Engine:
    """Stands where the engine stands; an adapter that reaches it was not refused in time."""

    tokens = SimpleNamespace(vocabulary=100)

    def load_adapter(self, name: str, folder: Path) -> None:
        seen.append("load_adapter")
        raise AssertionError("reached the engine")


def expired(signum: int, frame: object) -> None:
    raise TimeoutError(f"still busy after {SECONDS} s")


def judge(folder: Path) -> dict[str, Any]:
    global watching
    seen.clear()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    signal.alarm(SECONDS)
    watching = True
    try:
        load_proven(Engine(), "x", folder, BASE, role=Role.REWRITER)  # type: ignore[arg-type]
        kind, message = "nothing", ""
    except BaseException as error:
        kind, message = type(error).__name__, str(error)
    finally:
        watching = False
        signal.alarm(0)
    return {
        "kind": kind,
        "message": message,
        "seconds": time.perf_counter() - start,
        "grown": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "seen": list(seen),
    }


def main() -> None:
    assert not [name for name in LIBRARIES if name in sys.modules]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, expired)
    sys.addaudithook(watch)
    paths = [Path(json.loads(line)) for line in sys.stdin]
    judge(paths[0])  # a first time: our own records' type hints are compiled once
    for path in paths:
        print(json.dumps(judge(path)), flush=True)


if __name__ == "__main__":
    main()
