"""`lorag doctor`: the state of this machine, and what is missing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lorag.services.options import HERE, Format, Output, Project
from lorag.services.terminal import cell, for_project, out, show, show_json, table, working

if TYPE_CHECKING:
    from lorag.doctor import Machine, ProjectState

GIB = 2**30


def doctor(project: Project = HERE, output: Output = Format.TEXT) -> None:
    """Say what LoRAG found on this machine, what it chose for it, and what is missing."""
    from lorag.doctor import examine_machine, examine_project

    with working("examining the machine"):
        machine, state = examine_machine(), examine_project(project)
    problems = [*machine.problems, *(state.problems if state else ())]
    if output is Format.JSON:
        found = dataclasses.asdict(machine) | {"project": dataclasses.asdict(state) if state else None, "problems": problems}
        show_json(found)
        return
    rows = table("", "")
    for key, value in (_machine(machine) | (_project(state) if state else {})).items():
        rows.add_row(cell(key), cell(value))
    out().print(rows)
    for note in state.notes if state else ():
        show(f"note: {note}")
    for problem in problems:
        show(for_project(f"missing or wrong: {problem}", project), style="yellow")
    if not problems:
        show("Nothing is missing.")


def _machine(machine: Machine) -> dict[str, str]:
    return {
        "processor": f"{machine.processor} ({' '.join(machine.flags) or 'no flags known'})",
        "cores": str(machine.cores),
        "threads": f"{machine.threads} ({machine.threads_by})",
        "compute dtype": machine.compute,
        "GPU": machine.gpu or "none",
        "memory": f"{machine.memory / GIB:.1f} GiB",
        "Python": machine.python,
        "libraries": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "offline models": ", ".join(f"{name}: {place}" for name, place in machine.models.items()),
        "cache": machine.cache,
    }


def _project(state: ProjectState) -> dict[str, str]:
    return {
        "project": state.folder,
        "documents": state.documents,
        "index": state.index,
        "adapters": ", ".join(f"{role} {version}" for role, version in state.adapters.items()) or "unknown",
    }
