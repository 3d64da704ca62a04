"""The output of `lorag train ROLE --dry-run`, as text or JSON: what a run will need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lorag.pipeline.records import Role
from lorag.services.terminal import cell, out, show, show_json, table
from lorag.watching import duration

if TYPE_CHECKING:
    from lorag.pipeline.config import Settings
    from lorag.training.estimate import Plan

PARTS = {
    "libraries": "libraries",
    "base": "base weights",
    "adapter": "adapter, gradient, optimizer",
    "activations": "activations of the longest rows",
    "logits": "logits and their loss",
    "workspace": "quantization and backward workspace",
}


def show_plan(role: Role, base: str, plan: Plan) -> None:
    from lorag.training.estimate_memory import show_size
    from lorag.tuning import rows_a_step

    show(f"{role.value} on {base}, {plan.compute} on {plan.device}. Nothing is trained or written.")
    facts = table("", "", title="Run")
    dropped = f", {len(plan.dropped)} too long and left out" if plan.dropped else ""
    for name, value in (
        ("trained parameters", f"{plan.trainable:,} ({plan.share:.2%} of {plan.parameters:,})"),
        ("rows", f"{plan.rows:,} of at most {plan.longest:,} tokens, {plan.tokens:,} tokens an epoch{dropped}"),
        ("rows a step", rows_a_step(plan)),
        ("steps", f"{plan.steps:,}"),
        ("time", f"about {duration(plan.seconds)}"),
    ):
        facts.add_row(cell(name), cell(value))
    out().print(facts)
    memory = table("", ">", title=f"Peak memory: about {show_size(plan.memory.total)}")
    for name, size in plan.memory.parts().items():
        memory.add_row(cell(PARTS[name]), show_size(size))
    out().print(memory)
    show("Of the last two only the larger counts: logits are gone when the layers go back.")
    show(basis(plan))


def basis(plan: Plan) -> str:
    """The basis of the time estimate, in one line."""
    from lorag.training.estimate_time import EFFICIENCY

    share = EFFICIENCY[plan.device.partition(":")[0]]
    return (
        f"The time rests on products of this model's shape timed here just now ({plan.rate / 1e9:,.0f} GFLOP/s), of which "
        f"training reaches about {share:.0%}; other work on the machine changes it."
    )


def plan_json(role: Role, base: str, plan: Plan) -> dict[str, Any]:
    return {
        "role": role.value,
        "base": base,
        "device": plan.device,
        "compute": plan.compute,
        "parameters": plan.parameters,
        "trainable": plan.trainable,
        "share": plan.share,
        "rows": plan.rows,
        "dropped": list(plan.dropped),
        "longest": plan.longest,
        "tokens": plan.tokens,
        "steps": plan.steps,
        "batch_size": plan.batch,
        "accumulate": plan.accumulate,
        "micro_batch": plan.micro_batch,
        "memory": {"total": plan.memory.total, **plan.memory.parts()},
        "seconds": plan.seconds,
        "operations_per_second": plan.rate,
    }


def print_plan(role: Role, plan: Plan, settings: Settings, *, as_json: bool) -> None:
    """Print the plan as text or JSON."""
    base = settings.embedder.model if role is Role.EMBEDDER else settings.base.model
    if as_json:
        show_json(plan_json(role, base, plan))
    else:
        show_plan(role, base, plan)
