"""Reads adapter_config.json, peft's settings of a LoRA, and accepts only plain LoRA on named linear layers.

peft's settings can import modules, recompute the base's weights or add trained parts. A folder may not do that, so each key is
either checked here or must have its neutral value. The name of the base in it is never used to load one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.files import load_json
from lorag.pipeline.errors import AdapterError

CONFIG_FILE = "adapter_config.json"
_LIMIT = 1 << 20
_MAX_RANK = 1024
_MAX_SCALE = 1e6
_MAX_ITEMS = 4096
NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")

_BRANCH = re.compile(r"\(\.\*\\\.\)\?[A-Za-z0-9_]+\\\.\.\*")
"""The one accepted pattern: all modules below a name. Others could make a regular expression run for ever."""


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """`ranks` holds every rank a module may have: the general one and those of `rank_pattern`. `targets` leaves out the
    excluded target modules, which have no weights: peft writes both for a small model's `all-linear`. `invocation` are the
    token ids that switch an activated LoRA on; empty for a LoRA that is always on. `dora` (arXiv 2402.09353) adds a length per
    row to the matrices, `rslora` (arXiv 2312.03732) scales by alpha / √rank."""

    rank: int
    ranks: frozenset[int]
    alpha: float
    dropout: float
    targets: tuple[str, ...]
    invocation: tuple[int, ...]
    dora: bool
    rslora: bool


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_SCALE


def _rank(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MAX_RANK


def _names(value: Any) -> bool:
    return _list(value) and all(isinstance(v, str) and NAME.fullmatch(v) for v in value)


def _list(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_ITEMS


def _excluded(value: Any) -> bool:
    return value is None or _names(value) or (isinstance(value, str) and bool(_BRANCH.fullmatch(value)))


def _excludes(pattern: str | list[str] | None, target: str) -> bool:
    """Whether peft excludes the target module: it is below the branch, or its name is or ends in one of the list."""
    if isinstance(pattern, str):
        return re.fullmatch(pattern, target) is not None
    return any(f".{target}".endswith(f".{name}") for name in pattern or ())


def _numbers_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        return (
            isinstance(value, dict) and len(value) <= _MAX_ITEMS and all(NAME.fullmatch(k) and check(v) for k, v in value.items())
        )

    return holds


def _integers(value: Any) -> bool:
    return _list(value) and all(type(v) is int and 0 <= v < 1 << 31 for v in value)


def _among(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is item or (isinstance(value, str) and value == item) for item in allowed)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


_CHECKED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "peft_type": (_among("LORA"), "LORA"),
    "task_type": (_among("CAUSAL_LM", "FEATURE_EXTRACTION", None), "CAUSAL_LM, FEATURE_EXTRACTION or null"),
    "peft_version": (_text, "a text"),
    "base_model_name_or_path": (_text, "a text"),
    "revision": (_text, "a text"),
    "inference_mode": (_among(True, False), "true or false"),
    "r": (_rank, f"1 to {_MAX_RANK}"),
    "target_modules": (lambda v: _names(v) and bool(v), "a list of module names"),
    "exclude_modules": (_excluded, r"null, a list of module names, or a branch such as (.*\.)?pooler\..*"),
    "lora_alpha": (_number, "a number"),
    "lora_dropout": (lambda v: _number(v) and 0 <= v < 1, "0 to 1"),
    "fan_in_fan_out": (_among(True, False), "true or false"),
    "bias": (_among("none"), "none"),
    "use_rslora": (_among(True, False), "true or false"),
    "use_dora": (_among(True, False), "true or false"),
    "init_lora_weights": (_among(True, False, "gaussian"), "true, false or gaussian"),
    "layers_to_transform": (_or_none(lambda v: _integers(v if isinstance(v, list) else [v])), "null or layer numbers"),
    "layers_pattern": (_or_none(lambda v: _names(v if isinstance(v, list) else [v])), "null or names"),
    "rank_pattern": (_numbers_of(_rank), "module names with their ranks"),
    "alpha_pattern": (_numbers_of(_number), "module names with their alphas"),
    "alora_invocation_tokens": (_or_none(lambda v: _integers(v) and bool(v)), "null or token ids"),
    "megatron_core": (_among("megatron.core", None), "megatron.core, which is not used"),
    "qalora_group_size": (lambda v: type(v) is int, "a number, which is not used"),
}
"""Keys that may have more than their neutral value, each with its check and its allowed values. Any other key must be neutral."""

_WHY: Mapping[str, str] = {
    "peft_type": "only LoRA shares a base with other adapters",
    "task_type": "LoRAG writes replies and embeds texts",
    "modules_to_save": "it replaces whole modules of the base, which all adapters share; "
    "train LoRA matrices alone, or merge it with peft (merge_and_unload) and set the merged model as base",
    "trainable_token_indices": "it changes the base's embeddings, which all adapters share; "
    "train LoRA matrices alone, or merge it with peft (merge_and_unload) and set the merged model as base",
    "target_parameters": "only linear layers are taken",
    "layer_replication": "it changes the base's layers, which all adapters share",
    "bias": "it changes the base's biases, which all adapters share; train with bias none",
    "lora_bias": "only matrices are taken; train with lora_bias false",
    "init_lora_weights": "it belongs on a base that was changed first; let peft save it as plain LoRA "
    "(path_initial_model_for_weight_conversion)",
}
"""Reasons for refusing settings that other tools use."""


def _why(key: str, value: Any) -> str:
    if key == "init_lora_weights" and not isinstance(value, str):
        return ""
    return f"; {_WHY[key]}" if key in _WHY else ""


_REQUIRED = ("peft_type", "r", "target_modules", "lora_alpha")


def read_object(folder: Path) -> dict[str, Any]:
    """The keys of `folder`/adapter_config.json, unchecked. Raises AdapterError if it is no JSON object."""
    path = folder / CONFIG_FILE
    data = load_json(path, limit=_LIMIT)
    if not isinstance(data, dict):
        raise AdapterError(f"{path}: must be an object, as peft writes it")
    return data


def read_settings(folder: Path) -> LoraSettings:
    """Read `folder`/adapter_config.json. Raises AdapterError that names the first key that is missing or not allowed."""
    return check_settings(folder / CONFIG_FILE, read_object(folder))


def check_settings(path: Path, data: Mapping[str, Any]) -> LoraSettings:
    """The settings `data` that stand in `path`, checked. Raises AdapterError as `read_settings`."""
    for key in _REQUIRED:
        if key not in data:
            raise AdapterError(f"{path}: key {key!r} is missing; the file is not one that peft wrote for LoRA")
    for key in data:
        _check(path, data, key)
    rank = int(data["r"])
    ranks = frozenset({rank, *data.get("rank_pattern", {}).values()})
    targets = tuple(target for target in sorted(data["target_modules"]) if not _excludes(data.get("exclude_modules"), target))
    invocation = tuple(data.get("alora_invocation_tokens") or ())
    return LoraSettings(
        rank,
        ranks,
        float(data["lora_alpha"]),
        float(data.get("lora_dropout", 0.0)),
        targets,
        invocation,
        data.get("use_dora") is True,
        data.get("use_rslora") is True,
    )


def check_kind(path: Path, data: Mapping[str, Any]) -> None:
    """Raises AdapterError with the reason if the settings `data` in `path` are of something else than LoRA matrices alone."""
    for key in ("peft_type", "task_type", "modules_to_save", "trainable_token_indices", "target_parameters", "lora_bias"):
        if key in data:
            _check(path, data, key)


def _check(path: Path, data: Mapping[str, Any], key: str) -> None:
    check, allowed = _CHECKED.get(key, (_neutral, "nothing but null, false or empty: LoRAG loads plain LoRA only"))
    if not check(data[key]):
        raise AdapterError(f"{path}: {key[:60]} is {_short(data[key])}; allowed: {allowed}{_why(key, data[key])}")


def _neutral(value: Any) -> bool:
    """Whether a value is neutral: a key of a later peft version is harmless if it is unset."""
    return value is None or value is False or value in ("", [], {})


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def portable_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for publishing: without class names to import, and without the base's name.

    The card names the base. In the settings it may be a folder of another machine, or a name that peft would download from the
    hub.
    """
    return {**data, "base_model_name_or_path": None, "revision": None, "auto_mapping": None}
