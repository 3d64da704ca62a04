"""The output of `lorag data make`, as text or JSON."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.services.terminal import cell, command, out, show, table
from lorag.watching import duration

if TYPE_CHECKING:
    from lorag.making import MakingPlan
    from lorag.training.data.making.folder import Made


def show_making_plan(plan: MakingPlan) -> None:
    splits = ", ".join(f"{number} {name}" for name, number in plan.splits.items())
    show(f"{plan.documents} documents in {plan.groups} groups ({splits}), {plan.passages} passages.")
    show(f"At most {plan.questions} questions to {plan.spans} spans, about {duration(60 * plan.minutes)}.")
    show("Nothing is made or written.")


def show_made(made: Made, folder: Path, project: Path) -> None:
    counts = made.counts()
    roles = list(dict.fromkeys(role for held in counts.values() for role in held))
    rows = table("rows", *(f">{role}" for role in roles))
    for split, held in counts.items():
        rows.add_row(cell(split), *(str(held.get(role, 0)) for role in roles))
    out().print(rows)
    funnel = made.questions.funnel
    steps = table("filter", ">dropped", ">left")
    for step in funnel.steps:
        steps.add_row(cell(step.filter.value), str(step.dropped), str(step.left))
    out().print(steps)
    show(f"{funnel.asked} questions were asked for, {funnel.left} are left; written by {made.writer}.")
    for change in made.questions.relaxed:
        show(f"Too few passed, so this was relaxed: {change}.")
    for vote in made.voters:
        show(vote.sentence(made.settings.voter))
    show(f"Read {folder / 'README.md'} before you train. Next:")
    show(f"  {shlex.join(['lorag', 'data', 'review', str(folder)])}")
    show(f"  {command('train', 'embedder', '--data', folder, project=project)}")


def made_json(made: Made) -> dict[str, Any]:
    funnel = made.questions.funnel
    return {
        "rows": made.counts(),
        "funnel": {
            "asked": funnel.asked,
            "spans": funnel.spans,
            "steps": [{"filter": step.filter.value, "dropped": step.dropped, "left": step.left} for step in funnel.steps],
        },
        "relaxed": list(made.questions.relaxed),
        "writer": made.writer,
    }
