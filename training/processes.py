"""Several processes that train one adapter together, as `accelerate launch` starts them: who this one is, and what it shares.

Everything that all must agree on is said by the first and heard by the rest. In one process, all of this does nothing. Loads
torch only where there are several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from lorag.pipeline.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(hours=3)
"""How long a process waits for another, which may embed a corpus meanwhile."""


def count() -> int:
    """How many processes train together, by what the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that prints, writes and publishes."""
    return rank() == 0


def device(chosen: str = "auto") -> str:
    """Where this process's weights belong, as `load_weights` takes it: of several processes, each the GPU of its own number.

    `chosen` is auto, cpu, mps, cuda or cuda:0. Raises TrainingError for another GPU, which the trainer's library would not keep.
    """
    import torch

    if chosen.startswith("cuda:") and (count() > 1 or chosen != "cuda:0"):
        raise TrainingError(
            f"device {chosen}: training takes the first GPU that it sees, and each of several processes its own; "
            f"set the device to cuda in lorag.yaml and CUDA_VISIBLE_DEVICES={chosen.removeprefix('cuda:')} in the environment"
        )
    if count() > 1 and chosen in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return chosen


def divide_weights() -> bool:
    """Whether the launcher asked for weights in parts (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def divide_optimizer() -> bool:
    """Whether the launcher asked for optimizer state in parts (FSDP, DeepSpeed), which 8-bit optimizers do not know."""
    return divide_weights() or os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"


def join(chosen: str = "auto") -> None:
    """Meet the other processes, if there are any, before anything is shared; each takes the GPU of its own number, if any.

    `chosen` is the device as `device` takes it.
    """
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=chosen == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)


def first_does(work: Callable[[], T]) -> T:
    """Let the first process do something while the others wait, and give them all what came of it.

    An error ends the first process, upon which the launcher ends the others.
    """
    if count() == 1:
        return work()
    import torch.distributed as dist

    held = [work() if is_first() else None]
    dist.broadcast_object_list(held, src=0)
    return held[0]  # type: ignore[return-value]


def require_same(value: str, what: str) -> None:
    """Raises TrainingError, in all processes, where they do not hold the same value."""
    if count() == 1:
        return
    import torch.distributed as dist

    values: list[str | None] = [None] * count()
    dist.all_gather_object(values, value)
    other = next((number for number, found in enumerate(values) if found != values[0]), None)
    if other is not None:
        raise TrainingError(f"processes 0 and {other} have other {what}: give all the same files, base and recipe")


def wait() -> None:
    """Go on when all processes are here."""
    if count() > 1:
        import torch.distributed as dist

        dist.barrier()


def leave() -> None:
    """Part from the other processes; nothing can be shared any more."""
    if count() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def gathered_state(trainer: Any) -> Mapping[str, Any] | None:
    """All weights of a trainer's model, in the first process, where each has only a part of them; elsewhere None.

    All processes must ask.
    """
    if count() == 1 or not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    state: Mapping[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return state


def everyones(rows: Tensor) -> Tensor:
    """The rows, shape (n, …), of all processes in order of rank, each with its own n. Gradients reach this one's rows alone.

    A loss of all rows, computed in each process, thus gives each the gradient of its own rows: `counted_once` sums them up.
    """
    if count() == 1:
        return rows
    import torch
    import torch.distributed as dist

    sizes = [torch.zeros((), dtype=torch.long, device=rows.device) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor(len(rows), device=rows.device))
    counts = [int(size) for size in sizes]
    padded = torch.zeros(max(counts), *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    own = rank()
    return torch.cat(
        [rows if number == own else part[:size] for number, (part, size) in enumerate(zip(parts, counts, strict=True))]
    )


def counted_once(loss: Tensor) -> Tensor:
    """A loss that all processes computed of `everyones` rows, such that their averaged gradient is that of one process.

    The value stays. Its gradient is raised by the number of processes, because averaging divides each one's part by it.
    """
    others = count() - 1
    return loss + others * (loss - loss.detach()) if others else loss
