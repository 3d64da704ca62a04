"""Static checks of an adapter folder, before any model library reads it. Runs no code from the folder.

Refused are other files, links, a damaged weight file, and settings that would import code, fetch a model or change the base. So
are weights that are not complete LoRA pairs of the stated rank, values that are not finite, and a delta that is zero. An
accepted adapter can at worst give wrong text; the proof of effect detects that.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorag.pipeline.adapters.lora_settings import CONFIG_FILE, LoraSettings, check_settings, read_object
from lorag.pipeline.adapters.tensor_file import MAX_BYTES, Tensor, read_header, read_values
from lorag.pipeline.errors import AdapterError, NoEffect
from lorag.pipeline.storage.digests import file_digest

WEIGHTS_FILE = "adapter_model.safetensors"
_TEXT_BYTES = 64 << 20
ALLOWED: Mapping[str, int] = {
    CONFIG_FILE: 1 << 20,
    WEIGHTS_FILE: MAX_BYTES,
    "card.json": 1 << 20,
    "canaries.json": 16 << 20,
    "README.md": 1 << 20,
    "recipe.yaml": 1 << 20,
    "config_sentence_transformers.json": 1 << 16,
    "loss.jsonl": _TEXT_BYTES,
}
"""The only files of an adapter folder, with the maximum bytes of each."""


_LORA_NAME = re.compile(
    r"(?:base_model\.model\.)?((?:[A-Za-z0-9_]{1,100}\.){0,29}[A-Za-z0-9_]{1,100})\.lora_(?:([AB])\.weight|(magnitude_vector)(?:\.weight)?)"
)


@dataclass(frozen=True, slots=True)
class Matrices:
    """What an adapter holds for one module: A, shape (rank, in), B, shape (out, rank), and with DoRA a length per row, (out,)."""

    a: Tensor
    b: Tensor
    lengths: Tensor | None


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """Facts read from the files. `targets` are module names, `tensors` and `parameters` count the weights' arrays and values.

    `invocation` are the token ids that switch an activated LoRA on; empty for a LoRA that is always on. `dora` adapters learn
    the length of each row of a weight apart from its direction (arXiv 2402.09353); `rslora` ones are scaled by alpha / √rank.
    """

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    tensors: int
    parameters: int
    weights_digest: str
    invocation: tuple[int, ...] = ()
    dora: bool = False
    rslora: bool = False


def inspect_folder(folder: Path) -> AdapterFacts:
    """Check everything that can be checked without a model: the files of `folder`, then as `inspect_weights`."""
    check_files(folder)
    return inspect_weights(folder)


def inspect_weights(folder: Path, instead: Mapping[str, Any] | None = None) -> AdapterFacts:
    """Check settings and weights alone and ignore other files: for a folder that a training still writes to.

    `instead` are settings to check in place of those in the folder. Raises AdapterError that names the file and its fault,
    NoEffect if the weights change nothing.
    """
    settings = check_settings(folder / CONFIG_FILE, read_object(folder) if instead is None else instead)
    weights = folder / WEIGHTS_FILE
    tensors = read_header(weights)
    modules = _modules(weights, tensors)
    _check_ranks(weights, modules, settings)
    _check_lengths(weights, modules, settings)
    _check_targets(weights, modules, settings)
    _check_values(weights, modules, settings)
    return AdapterFacts(
        settings.rank,
        settings.alpha,
        settings.dropout,
        settings.targets,
        len(tensors),
        sum(t.size for t in tensors),
        file_digest(weights),
        settings.invocation,
        settings.dora,
        settings.rslora,
    )


def module_matrices(folder: Path) -> Mapping[str, Matrices]:
    """Module name within the base → its matrices. Raises AdapterError if the weight file is damaged."""
    weights = folder / WEIGHTS_FILE
    return _modules(weights, read_header(weights))


def check_files(folder: Path) -> None:
    """Raises AdapterError unless `folder` holds plain files of allowed names and sizes only, settings and weights among them."""
    if folder.is_symlink() or not folder.is_dir():
        raise AdapterError(f"{folder}: no adapter folder; give the folder of a published or trained adapter")
    found = set()
    with os.scandir(folder) as entries:  # one by one: there may be millions, and the first wrong one ends the check
        for entry in entries:
            _check_file(Path(entry.path), entry.stat(follow_symlinks=False))
            found.add(entry.name)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if name not in found:
            raise AdapterError(f"{folder}: {name} is missing; the adapter is incomplete, train or copy it again")


def _check_file(path: Path, status: os.stat_result) -> None:
    if path.name not in ALLOWED:
        raise AdapterError(f"{path}: does not belong into an adapter folder; allowed: {', '.join(ALLOWED)}")
    if not stat.S_ISREG(status.st_mode):
        raise AdapterError(f"{path}: is a link or a folder; an adapter folder holds plain files only")
    if status.st_size > ALLOWED[path.name]:
        raise AdapterError(f"{path}: {status.st_size} bytes, more than the {ALLOWED[path.name]} that are allowed")


def _modules(path: Path, tensors: tuple[Tensor, ...]) -> dict[str, Matrices]:
    found: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        module, part = _split_name(tensor.name)
        sides = 1 if part == "magnitude_vector" else 2
        if part is None or len(tensor.shape) != sides or 0 in tensor.shape:
            raise AdapterError(
                f"{path}: {tensor.name[:200]} of shape {list(tensor.shape)} is no LoRA matrix of a linear layer"
                + _remedy(tensor.name)
            )
        if part in found.setdefault(module, {}):
            raise AdapterError(f"{path}: lora_{part} of {module} stands there twice under two names; train the adapter again")
        found[module][part] = tensor
    for module, parts in found.items():
        if not {"A", "B"} <= parts.keys():
            raise AdapterError(f"{path}: {module} has lora_{next(iter(parts))} without its other half; the file is incomplete")
    return {module: Matrices(parts["A"], parts["B"], parts.get("magnitude_vector")) for module, parts in found.items()}


def _split_name(name: str) -> tuple[str, str | None]:
    """Module and `A`, `B` or `magnitude_vector`; None if it is not one of peft's names for a part of a LoRA."""
    match = _LORA_NAME.fullmatch(name)
    return (match[1], match[2] or match[3]) if match else (name, None)


def _remedy(name: str) -> str:
    """What to do about a tensor that is none of a plain LoRA, by the forms in which other tools save such."""
    last = name.rpartition(".")[2]
    if "lora_embedding" in name:
        return "; train without embedding layers among the targets"
    if last == "bias":
        return "; train with bias none and lora_bias false"
    if ".lora_" in name:
        return "; save the adapter with peft's save_pretrained"
    if last == "weight":
        return (
            "; if it is the base's own, save again with save_embedding_layers=False and without modules_to_save; if it was "
            "trained, merge the adapter with peft (merge_and_unload) and set the merged model as base"
        )
    return ""


def _check_ranks(path: Path, modules: Mapping[str, Matrices], settings: LoraSettings) -> None:
    for module, has in modules.items():
        rank = has.a.shape[0]
        if rank != has.b.shape[1] or rank not in settings.ranks:
            allowed = " or ".join(str(each) for each in sorted(settings.ranks))
            raise AdapterError(
                f"{path}: {module} has rank {rank} in A and {has.b.shape[1]} in B, {CONFIG_FILE} says {allowed}; "
                "the two files do not belong together"
            )


def _check_lengths(path: Path, modules: Mapping[str, Matrices], settings: LoraSettings) -> None:
    for module, has in modules.items():
        wanted = (has.b.shape[0],) if settings.dora else None
        if wanted != (has.lengths.shape if has.lengths else None):
            what = f"{has.lengths.shape[0]} row lengths" if has.lengths else "no row lengths"
            raise AdapterError(
                f"{path}: {module} has {what}, {CONFIG_FILE} says use_dora {settings.dora} and B has {has.b.shape[0]} rows; "
                "the two files do not belong together"
            )


def _check_targets(path: Path, modules: Mapping[str, Matrices], settings: LoraSettings) -> None:
    unused = set(settings.targets)
    for module in modules:
        parts = module.split(".")
        matched = {".".join(parts[n:]) for n in range(len(parts))} & set(settings.targets)
        if not matched:
            raise AdapterError(
                f"{path}: has weights for {module}, which is no target of {CONFIG_FILE}; the two files do not belong together"
            )
        unused -= matched
    if unused:
        raise AdapterError(
            f"{path}: has no weights for the target {min(unused)} of {CONFIG_FILE}; the two files do not belong together"
        )


def _check_values(path: Path, modules: Mapping[str, Matrices], settings: LoraSettings) -> None:
    effective = False
    for has in modules.values():
        nonzero = [_has_nonzero(path, tensor) for tensor in (has.a, has.b)]
        if has.lengths is not None:
            _has_nonzero(path, has.lengths)
        effective = effective or all(nonzero)
    if not effective or settings.alpha == 0:
        why = "alpha is 0" if effective else "every A or B matrix is zero"
        raise NoEffect(f"{path}: {why}, so the adapter changes nothing; train it first")


def _has_nonzero(path: Path, tensor: Tensor) -> bool:
    """Whether a value of the matrix differs from zero. Raises AdapterError if one is not finite."""
    found = False
    for values in read_values(path, tensor):
        if not np.isfinite(values).all():
            raise AdapterError(f"{path}: {tensor.name} holds values that are not finite; the training diverged, train again")
        found = found or bool(values.any())
    return found
