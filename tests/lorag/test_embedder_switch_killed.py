"""Kill a rollback of the embedder at any moment: the adapter and the index that serve are the old pair or the new one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from lorag.assembly import open_index, unproven_embedder, version_name
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import load_settings
from lorag.pipeline.records import Role
from tests.claims import speak_for

ROOT = Path(__file__).resolve().parents[2]

# Dies, as by SIGKILL, right before the n-th call that changes the disk; n = 1, 2, … until nothing is left to be cut short.
STEPWISE = """
import sys
from pathlib import Path
from lorag.assembly import open_registry
from lorag.promotion import switch_project_index
from lorag.pipeline.config import load_settings
from lorag.pipeline.records import Role

from tests.stepwise import report, run_stepwise

settings = load_settings(Path(sys.argv[1]))

def work():
    open_registry(settings).rollback(Role.EMBEDDER)
    switch_project_index(settings)

run_stepwise(work, report)
"""


def test_a_rollback_that_is_killed_leaves_one_pair_or_the_other(project, publish_embedder, lorag) -> None:
    here, registry = ("--project", project.folder), Registry(project.adapters)
    first = publish_embedder(5)
    assert lorag("adapters", "promote", "embedder", *here).code == lorag("ingest", *here).code == 0
    second = publish_embedder(6)
    speak_for(registry, Role.EMBEDDER, second)
    assert lorag("adapters", "promote", "embedder", *here).code == lorag("ingest", "--rebuild", *here).code == 0
    filled = {first: "documents-1", second: "documents-2"}

    def serving() -> str:
        """The version in production; the index has answered with the collection that this one filled."""
        settings = load_settings(project.folder)
        version = registry.resolve(Role.EMBEDDER, "production")
        with closing(open_index(settings, unproven_embedder(settings))) as index:
            assert index.is_searchable() and index.info().collection == filled[version.id], version_name(version)
        return version.id

    seen, deaths = [serving()], 0
    with subprocess.Popen(
        [sys.executable, "-c", STEPWISE, str(project.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin and process.stdout
        for line in process.stdout:
            seen.append(serving())
            deaths += line.strip() == "9"
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0 and deaths > 4
    assert set(seen) == {first, second}
    assert lorag("ask", "Who keeps the key?", *here).code == 0
    registry.rollback(Role.EMBEDDER)  # and nothing else: as if killed right behind the registry's one step
    assert lorag("ask", "Who keeps the key?", *here).code == 0
    assert serving() != seen[-1]
