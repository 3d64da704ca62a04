"""Kill a writer of the registry at any moment: what is left is the old state or the new one, and the next writer goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from tests.claims import speak_for

ROOT = Path(__file__).resolve().parents[3]
Plain = Callable[[int], Path]
Card = Callable[[Path], AdapterCard]

WRITER = """
import sys
from pathlib import Path
from lorag.pipeline.adapters.card import read_card
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from tests.claims import speak_for

def work(registry, source):
    version = registry.publish(Role.REWRITER, source, read_card(source))
    speak_for(registry, Role.REWRITER, version.id)
    registry.promote(Role.REWRITER, version.id)
    registry.rollback(Role.REWRITER)
"""

ENDLESS = (
    WRITER
    + """
while True:
    work(Registry(Path(sys.argv[1])), Path(sys.argv[2]))
    print("ready", flush=True)
"""
)

# Dies, as by SIGKILL, right before the n-th call that changes the disk; n = 1, 2, … until nothing is left to be cut short.
STEPWISE = (
    WRITER
    + """
from tests.stepwise import report, run_stepwise
run_stepwise(lambda: work(Registry(Path(sys.argv[1])), Path(sys.argv[2])), report, int(sys.argv[3]))
"""
)


def check_whole(registry: Registry) -> None:
    """Every version readable to the last byte; every alias set to one of them."""
    versions = {v.id: v for v in registry.list(Role.REWRITER)}
    for version in versions.values():
        card = registry.show(Role.REWRITER, version.id)
        assert inspect_folder(version.folder).weights_digest == card.identity.weights_digest
        assert (version.folder / "README.md").read_text().startswith("---\n")
    assert set(registry.aliases(Role.REWRITER).values()) <= versions.keys()


@pytest.fixture
def source(plain_adapter: Plain, plain_card: Card) -> Path:
    folder = plain_adapter(1)
    plain_card(folder)
    return folder


@pytest.fixture
def registry(tmp_path: Path, source: Path) -> Registry:
    from lorag.pipeline.adapters.card import read_card

    made = Registry(tmp_path / "adapters")
    for _ in range(2):
        version = made.publish(Role.REWRITER, source, read_card(source))
        speak_for(made, Role.REWRITER, version.id)
        made.promote(Role.REWRITER, version.id)
    return made


def test_killed_before_each_step(registry: Registry, source: Path) -> None:
    command = [sys.executable, "-c", STEPWISE, str(registry.folder), str(source), "1"]
    before = dict(registry.aliases(Role.REWRITER))
    deaths = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        for line in process.stdout:
            check_whole(registry)
            after = dict(registry.aliases(Role.REWRITER))
            assert {after["production"], after["previous"]} <= {v.id for v in registry.list(Role.REWRITER)}
            if deaths < 3:  # nothing but folders aside has been made so early
                assert after == before
            deaths += line.strip() == "9"
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    assert deaths > 20
    assert not list((registry.folder / "rewriter" / "versions").glob(".*"))  # the last, whole run cleared up


def test_killed_at_random(registry: Registry, source: Path) -> None:
    rng = random.Random(7)
    for _ in range(5):
        command = [sys.executable, "-c", ENDLESS, str(registry.folder), str(source)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.0, 0.08))
            process.send_signal(signal.SIGKILL)
            process.wait()
        check_whole(registry)
    assert len(registry.list(Role.REWRITER)) >= 2 + 5
