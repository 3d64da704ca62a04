"""Several processes that train one adapter together, as `accelerate launch` starts them: rank, broadcast, barrier and gather.

What all processes must agree on is broadcast by the first. With one process, all of this does nothing. Loads torch only if
there are several.
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

BARRIER_TIMEOUT = timedelta(hours=3)
"""How long a process waits for another, which may embed a corpus meanwhile."""


def count() -> int:
    """How many processes train together, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The rank of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that prints, writes and publishes."""
    return rank() == 0


def device(chosen: str = "auto") -> str:
    """The device of this process's weights, as `load_weights` takes it. Each of several processes takes the GPU of its rank.

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
    """Whether the launcher asked for sharded weights (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def divide_optimizer() -> bool:
    """Whether the launcher asked for sharded optimizer state (FSDP, DeepSpeed), which 8-bit optimizers do not support."""
    return divide_weights() or os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"


def join(chosen: str = "auto") -> None:
    """Join the process group, if there are several processes. Each takes the GPU of its own rank, if there are GPUs.

    `chosen` is the device as `device` takes it.
    """
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=chosen == "cpu" or not torch.cuda.is_available(), timeout=BARRIER_TIMEOUT)


def run_on_first(task: Callable[[], T]) -> T:
    """Run `task` in the first process while the others wait, and return its result in all of them.

    An error ends the first process; the launcher then ends the others.
    """
    if count() == 1:
        return task()
    import torch.distributed as dist

    results = [task() if is_first() else None]
    dist.broadcast_object_list(results, src=0)
    return results[0]  # type: ignore[return-value]


def require_same(value: str, what: str) -> None:
    """Raises TrainingError, in all processes, if they do not hold the same value."""
    if count() == 1:
        return
    import torch.distributed as dist

    values: list[str | None] = [None] * count()
    dist.all_gather_object(values, value)
    other = next((number for number, found in enumerate(values) if found != values[0]), None)
    if other is not None:
        raise TrainingError(f"processes 0 and {other} have other {what}: give all the same files, base and recipe")


def barrier() -> None:
    """Wait until all processes have called this."""
    if count() > 1:
        import torch.distributed as dist

        dist.barrier()


def leave() -> None:
    """Leave the process group; nothing can be shared afterwards."""
    if count() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def gathered_state(trainer: Any) -> Mapping[str, Any] | None:
    """All weights of a trainer's model, in the first process, if they are sharded; elsewhere None.

    All processes must call it.
    """
    if count() == 1 or not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    state: Mapping[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return state


def gather_rows(rows: Tensor) -> Tensor:
    """The rows, shape (n, …), of all processes in order of rank, each with its own n. Gradients reach this process's rows only.

    A loss of all rows, computed in each process, gives each the gradient of its own rows; `scale_for_averaging` sums them up.
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


def scale_for_averaging(loss: Tensor) -> Tensor:
    """A loss that all processes computed of gathered rows, such that their averaged gradient is that of one process.

    The value stays. Its gradient is multiplied by the number of processes, because averaging divides by it.
    """
    others = count() - 1
    return loss + others * (loss - loss.detach()) if others else loss
