"""Atomic checkpoints, and runs that resume from them, for any Hugging Face trainer.

The trainer writes `checkpoint-STEP` folders file by file. If it is killed meanwhile, it leaves a folder that looks like the
newest checkpoint and does not load. Here a folder counts only once it is committed: all files synced, a manifest of their
digests written, and a `COMPLETE` mark with the manifest's digest written last. Knows no model, no loss and no role, and loads
no model library.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.quiet import without_bars
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.storage.atomic import sync, sync_tree, write_file
from lorag.pipeline.storage.digests import file_digest
from lorag.training import processes
from lorag.training.progress import LOSS_FILE, Progress, ProgressCallback, TrainerEvents

__all__ = [
    "CommitCheckpoints",
    "Found",
    "Progress",
    "ProgressCallback",
    "commit",
    "discard",
    "find_newest",
    "fit",
    "newest_complete",
    "prune",
    "writing_failures",
]

MANIFEST = "manifest.json"
COMPLETE = "COMPLETE"

_NAME = re.compile(r"checkpoint-(\d+)")
_WRITE_FAILURES = ("No space left", "Disk quota", "Read-only file system")
_TORCH_WRITE_FAILURES = ("PytorchStreamWriter", "inline_container", "iostream error")
"""Parts of torch's messages for a file that it could not write, for any reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest complete checkpoint, if any, and a line for each newer folder that was skipped."""

    newest: Path | None
    passed_over: tuple[str, ...] = ()


def commit(folder: Path, *, run: str = "") -> None:
    """Commit a written checkpoint folder: sync its files, then write the manifest, then the mark.

    `run` identifies the run, such as by a digest of settings and rows; resuming compares it. Raises OSError if the disk
    refuses a write; the folder then stays uncommitted.
    """
    (folder / COMPLETE).unlink(missing_ok=True)
    sync_tree(folder)
    files = {path.relative_to(folder).as_posix(): (path.stat().st_size, file_digest(path)) for path in _content(folder)}
    manifest = json.dumps({"run": run, "files": files}, indent=1, sort_keys=True).encode()
    write_file(folder / MANIFEST, manifest)
    write_file(folder / COMPLETE, hashlib.sha256(manifest).hexdigest().encode())
    sync(folder.parent)


def find_newest(run_folder: Path, *, run: str | None = None) -> Found:
    """Find the newest checkpoint in `run_folder` that is committed and unchanged since.

    Raises TrainingError if `run` is given and that checkpoint was committed for another one.
    """
    passed_over = []
    for folder in reversed(_checkpoints(run_folder)):
        if fault := _fault(folder):
            passed_over.append(f"{folder.name} {fault}")
            continue
        if run is not None and (other_run := str(_manifest(folder)["run"])) != run:
            raise TrainingError(
                f"{folder} belongs to a run with other settings or data ({other_run[:8] or 'unnamed'}, not {run[:8]}): "
                "resume with the ones it began with, or train in another folder"
            )
        return Found(folder, tuple(passed_over))
    return Found(None, tuple(passed_over))


def newest_complete(run_folder: Path, *, run: str | None = None) -> Path | None:
    """The newest complete checkpoint of `find_newest`, without the reasons."""
    return find_newest(run_folder, run=run).newest


def prune(run_folder: Path, keep: int = 2, protect: Path | None = None) -> None:
    """Delete all checkpoints older than the newest `keep` committed ones, except `protect`. Newer folders stay."""
    committed = [folder for folder in _checkpoints(run_folder) if (folder / COMPLETE).is_file()]
    if len(committed) < keep:
        return
    oldest_kept = _step(committed[-keep])
    for folder in _checkpoints(run_folder):
        if _step(folder) < oldest_kept and folder != protect:
            _delete(folder)


def discard(run_folder: Path) -> None:
    """Delete all checkpoints and the loss curve of a run, so that a new one can start in its folder."""
    for folder in _checkpoints(run_folder):
        _delete(folder)
    (run_folder / LOSS_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def writing_failures(run_folder: Path) -> Iterator[None]:
    """Context in which a failed write of a checkpoint becomes a TrainingError that names the checkpoint to resume from."""
    try:
        yield
    except Exception as error:
        of_torch = any(mark in str(error) for mark in _TORCH_WRITE_FAILURES)
        refused = of_torch or isinstance(error, OSError) or any(mark in str(error) for mark in _WRITE_FAILURES)
        if isinstance(error, TrainingError) or not refused:
            raise
        newest = newest_complete(run_folder)
        remedy = (
            f"{newest.name} is complete: make room and resume"
            if newest
            else "no checkpoint is complete: make room and start again"
        )
        reason = "the disk is full, or refuses" if of_torch else str(error).partition("\n")[0]
        raise TrainingError(f"{run_folder}: a checkpoint could not be written ({reason}); {remedy}") from error


class CommitCheckpoints(TrainerEvents):
    """Trainer callback: commits each checkpoint after the trainer has written all of it, and keeps the newest `keep`.

    When the run begins it deletes newer, incomplete folders, so that the trainer writes into none of them. It then raises
    TrainingError if a run that does not resume would overwrite complete checkpoints. It also does if `save_total_limit` is set,
    since the trainer deletes old checkpoints before the new one is committed.
    """

    def __init__(self, run_folder: Path, *, keep: int = 2, run: str = "") -> None:
        self._run_folder = run_folder
        self._keep = keep
        self._run = run

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.save_total_limit is not None:
            raise TrainingError("save_total_limit must be unset: committed checkpoints are pruned after each commit")
        if not state.is_world_process_zero:
            return
        for folder in reversed(_checkpoints(self._run_folder)):
            if _step(folder) <= state.global_step:
                break
            if _fault(folder) is None:
                raise TrainingError(
                    f"{self._run_folder} holds {folder.name} of an earlier run: resume it, or train in another folder"
                )
            _delete(folder)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        processes.barrier()  # each writes its own random state; the mark must come after the last of them
        if state.is_world_process_zero:
            commit(self._run_folder / f"checkpoint-{state.global_step}", run=self._run)
            prune(self._run_folder, self._keep, Path(best) if (best := state.best_model_checkpoint) else None)


def fit(
    trainer: Any,
    run_folder: Path,
    *,
    resume: bool = False,
    run: str = "",
    keep: int = 2,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> None:
    """Train to the last step, committing checkpoints in `run_folder`, which must be the trainer's `output_dir`.

    With `resume` it continues from the newest complete checkpoint, if there is one; a finished run is only loaded. `on_notice`
    gets a line for each skipped checkpoint. Afterwards `trainer.model` and `trainer.state` are the run's last ones. An interrupt
    passes through and leaves the committed checkpoints.

    Raises TrainingError as `CommitCheckpoints`, `ProgressCallback`, `find_newest`, `require_room` and `writing_failures` do.
    """
    from transformers import PrinterCallback

    run_folder.mkdir(parents=True, exist_ok=True)
    processes.require_same(run, "settings or rows")
    found = processes.run_on_first(lambda: find_newest(run_folder, run=run) if resume else Found(None))
    for reason in found.passed_over:
        if on_notice is not None and processes.is_first():
            on_notice(f"{run_folder}: {reason}; passed over")
    processes.run_on_first(lambda: require_room(run_folder, trainer.model, keep))
    _shorten_warmup(trainer)
    trainer.remove_callback(PrinterCallback)
    for callback in (
        CommitCheckpoints(run_folder, keep=keep, run=run),
        ProgressCallback(run_folder, on_progress),
        _StopIfFinished(),
    ):
        trainer.add_callback(callback)
    # The trainer's own bar is off; a checkpoint of an encoder would draw one for each file of the model.
    with without_bars(), writing_failures(run_folder), contextlib.suppress(_Finished):
        trainer.train(resume_from_checkpoint=str(found.newest) if found.newest else None)


def require_room(run_folder: Path, model: Any, keep: int) -> None:
    """Raises TrainingError if the disk has no room for the checkpoints of a run: weights and two moments of AdamW in float32, of
    the kept ones and the one that is being written, and the adapter at the end."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    needed = 12 * trained * (keep + 1) + 4 * trained
    free = shutil.disk_usage(run_folder).free
    if free < needed:
        raise TrainingError(
            f"{run_folder}: the checkpoints of this run need about {needed / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are "
            "free; make room, or lower the rank"
        )


def _shorten_warmup(trainer: Any) -> None:
    """No warm-up in a run too short for a whole step of it: the trainer rounds it up, and an only step would learn nothing."""
    given, share = trainer.args, trainer.args.warmup_steps
    batches = len(trainer.get_train_dataloader())
    steps = given.max_steps if given.max_steps > 0 else given.num_train_epochs * batches / given.gradient_accumulation_steps
    if 0 < share * steps < 1:
        given.warmup_steps = 0


class _Finished(Exception):
    """The loaded checkpoint is that of the last step."""


class _StopIfFinished(TrainerEvents):
    """Ends a resumed run that is finished already, once weights and state are loaded.

    The trainer would do one step too many in the middle of an epoch, since it checks the step count only after a step.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            raise _Finished


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _checkpoints(run_folder: Path) -> list[Path]:
    """All checkpoint folders, complete or not, oldest step first."""
    if not run_folder.is_dir():
        return []
    return sorted((path for path in run_folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()), key=_step)


def _content(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path not in (folder / MANIFEST, folder / COMPLETE))


def _fault(folder: Path) -> str | None:
    """Why a checkpoint folder must not be used; None if it is complete."""
    try:
        mark = (folder / COMPLETE).read_text()
        manifest = (folder / MANIFEST).read_bytes()
        if hashlib.sha256(manifest).hexdigest() != mark:
            return "has a manifest that does not match its mark"
        for name, (size, digest) in json.loads(manifest)["files"].items():
            path = folder / name
            if path.stat().st_size != size or file_digest(path) != digest:
                return f"was changed after it was written ({name})"
    except FileNotFoundError as error:
        return "was not written to its end" if str(error.filename).endswith((COMPLETE, MANIFEST)) else f"lacks {error.filename}"
    except OSError as error:
        return f"cannot be read ({error})"
    return None


def _manifest(folder: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return content


def _delete(folder: Path) -> None:
    """Delete the mark first, so that an interrupted deletion leaves an incomplete folder."""
    (folder / COMPLETE).unlink(missing_ok=True)
    sync(folder)
    shutil.rmtree(folder)
