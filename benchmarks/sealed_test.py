"""The adapters of a finished demo on the sealed part of the example domain, which no recipe and no earlier figure has seen.

    python -m benchmarks.sealed_test --demo demo-out --work DIR [--out FILE]

A copy of the demo's project is set back to what served before, and each adapter is promoted with the sealed part as the judge.
One that the test split refuses is not measured: its rows stay closed. What is measured stays in the copy, and the same command
resumes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lorag
from benchmarks.provenance import provenance, save, stored
from lorag.bundled import EXAMPLE, example_folder
from lorag.evaluating.evaluation import ROLES
from lorag.pipeline.adapters.evidence import EvidenceKind
from lorag.pipeline.adapters.registry import PRODUCTION
from lorag.pipeline.errors import AdapterError, LoragError
from lorag.pipeline.records import Role
from lorag.project import Project
from lorag.training.dataset import SEALED

FILE = "sealed.json"


def copied(demo: Path, work: Path) -> Path:
    """The project of the copy; made once. Raises LoragError if `demo` holds no finished demo."""
    if not (demo / "report.json").is_file():
        raise LoragError(f"{demo} holds no finished demo; run `lorag demo --out {demo}` first")
    project = work / "project"
    if not project.is_dir():
        shutil.copytree(demo / "project", work / "project.part", dirs_exist_ok=True)
        (work / "project.part").rename(project)
    return project


def measure(project: Project, role: Role, work: Path) -> dict[str, Any]:
    """Promote by the sealed part, or read the stored result."""
    file = work / f"{role.value}-{FILE}"
    if (known := stored(file)) is not None:
        return known
    version, reason = project.registry.list(role)[-1].id, ""  # the starter came before
    if project.registry.aliases(role).get(PRODUCTION) == version:
        project.rollback(role)

    def on_progress(name: str, done: int, total: int) -> None:
        if done % 50 == 0:
            print(f"{role.value}: {name}, {done} of {total}", file=sys.stderr, flush=True)

    try:
        project.promote(role, version, data=example_folder(EXAMPLE), on_progress=on_progress)
    except AdapterError as error:
        reason = str(error)
    evidence = project.registry.show(role, version).evidence
    claims = [{**asdict(each), "against": str(each.against)} for each in evidence if each.kind is EvidenceKind.SEALED]
    found = {"version": version, "promoted": not reason, "reason": reason, "claims": claims}
    save(file, found)
    return found


def show(role: Role, found: Mapping[str, Any]) -> None:
    print(f"{role.value} {found['version']}: {'promoted' if found['promoted'] else found['reason']}")
    for each in found["claims"]:
        span = f"{each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})"
        sizes = f"n = {each['n']} in {each['groups']} groups"
        print(f"  {each['metric']}: {each['against']} {each['reference']:.3f}, tuned {each['tuned']:.3f}: {span}, {sizes}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True, help="the --out of a finished `lorag demo`")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    results = {}
    with lorag.open(copied(chosen.demo, chosen.work)) as project:
        for role in ROLES:
            results[role.value] = measure(project, role, chosen.work)
            show(role, results[role.value])
    if chosen.out is not None:
        sealed = sorted((example_folder(EXAMPLE) / SEALED).glob("*.jsonl"))
        save(chosen.out, {"roles": results, **provenance(sealed)})


if __name__ == "__main__":
    try:
        main()
    except LoragError as error:
        sys.exit(f"error: {error}")
