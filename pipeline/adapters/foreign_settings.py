"""The settings of an adapter that another tool made → the plain settings that `lora_settings` accepts, of the same effect.

Regular expressions and layer numbers are replaced by the names that have weights. What matters for training alone is left out:
class names, starts of the matrices, other tools' keys. What is left is checked as every adapter's settings are. A foreign
expression is matched within a time limit, never with the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import regex

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE, Matrices
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE, NAME
from lorag.pipeline.errors import AdapterError

_FOR_TRAINING = {"lora_dtype", "lorap_lr_ratio", "lorap_emb_lr", "swift_type"}
"""Keys of ms-swift. peft passes them over, as it does Unsloth's, which begin with the tool's name."""

_STARTS = {"gaussian", "orthogonal", "eva"}
"""Starts of the matrices that leave the base as it is. The trained matrices replace them."""

_STARTS_FROM = ("eva_config", "corda_config", "lora_ga_config", "loftq_config")
"""Settings of starts. peft passes them over if `init_lora_weights` names another start."""

_MAX_PATTERN = 4096
_SECONDS = 0.5
_ODD_GROUP = re.compile(r"\(\?(?![:=!i]|<[=!]|P<)")
"""Groups that only the library `regex` knows, recursive ones among them."""


def plain_settings(
    folder: Path, data: Mapping[str, Any], modules: Mapping[str, Matrices], layers: Iterable[str]
) -> dict[str, Any]:
    """The settings `data` of `folder`, made plain. `modules` are those of its weights, `layers` the base's linear layers.

    A value of a wrong type stays as it is, for the check that follows. Raises AdapterError if weights and settings do not
    belong together, or if an expression cannot be matched in time.
    """
    path = folder / CONFIG_FILE
    made = {key: value for key, value in data.items() if key not in _FOR_TRAINING and not key.startswith("unsloth")}
    if isinstance(made.get("auto_mapping"), dict):
        made["auto_mapping"] = None
    if str(made.get("init_lora_weights", True)).lower() in _STARTS | {"true", "false"}:
        made["init_lora_weights"] = True
        made = {key: value for key, value in made.items() if key not in _STARTS_FROM}
    if made.get("bias") in ("all", "lora_only"):
        made["bias"] = "none"  # the weights hold matrices alone, so the base's biases stay
    if "fan_in_fan_out" in made:
        made["fan_in_fan_out"] = False  # peft sets it so for every layer of torch.nn.Linear
    made.update(_plain_targets(path, data, modules, layers))
    made.update(_plain_patterns(path, data, modules))
    return made


def _plain_targets(path: Path, data: Mapping[str, Any], modules: Mapping[str, Matrices], layers: Iterable[str]) -> dict[str, Any]:
    wanted, excluded = data.get("target_modules"), data.get("exclude_modules")
    if not (_texts(wanted) and wanted) or not (excluded is None or _texts(excluded)):
        return {}
    matched = {layer for layer in layers if _is_target(path, data, layer)}
    if foreign := modules.keys() - matched:
        raise AdapterError(
            f"{path}: {min(foreign)} has weights in {WEIGHTS_FILE} and is no target; the two files do not belong together"
        )
    if lacking := matched - modules.keys():
        raise AdapterError(
            f"{path}: {min(lacking)} is a target and has no weights in {WEIGHTS_FILE}; the two files do not belong together"
        )
    if isinstance(wanted, list) and all(NAME.fullmatch(name) for name in wanted) and not excluded and not _layers(data):
        targets = [name for name in wanted if any(_ends(layer, name) for layer in matched)]
    else:
        last = {module.rpartition(".")[2] for module in modules}
        alike = {layer for layer in layers if layer.rpartition(".")[2] in last}
        targets = sorted(last if alike == modules.keys() else modules.keys())
    plain = {"target_modules": targets, "exclude_modules": None, "layers_to_transform": None, "layers_pattern": None}
    return {key: value for key, value in plain.items() if key in data}


def _is_target(path: Path, data: Mapping[str, Any], layer: str) -> bool:
    """Whether peft adapts the layer, by its rules of targets, exclusions and layer numbers."""
    wanted, excluded = data["target_modules"], data.get("exclude_modules")
    if isinstance(excluded, str) and excluded and _matches(path, "exclude_modules", excluded, layer):
        return False
    if isinstance(excluded, list) and any(_ends(layer, name) for name in excluded):
        return False
    if isinstance(wanted, str):
        if wanted.lower() == "all-linear":
            return layer.rpartition(".")[2] != "lm_head"
        return _matches(path, "target_modules", wanted, layer)
    if layer in wanted:
        return True
    return any(layer.endswith(f".{name}") for name in wanted) and (
        not _layers(data) or _number(path, data, layer) in _layers(data)
    )


def _ends(layer: str, name: str) -> bool:
    return f".{layer}".endswith(f".{name}")


def _layers(data: Mapping[str, Any]) -> list[Any]:
    """The layer numbers to which the adapter is limited, empty for all layers."""
    numbers = data.get("layers_to_transform")
    return numbers if isinstance(numbers, list) else [] if numbers is None else [numbers]


def _number(path: Path, data: Mapping[str, Any], layer: str) -> int | None:
    """The number of the block that holds the layer: the first one in its name, below one of `layers_pattern` if there are any."""
    below = data.get("layers_pattern") or r"[^.]*"
    for name in [below] if isinstance(below, str) else below:
        found = _found(path, "layers_pattern", rf"(?:^|.*?\.){name}\.(?P<number>\d+)\..*", layer)
        if found:
            return int(found["number"])
    return None


def _plain_patterns(path: Path, data: Mapping[str, Any], modules: Mapping[str, Matrices]) -> dict[str, Any]:
    """`rank_pattern` and `alpha_pattern` by names instead of expressions. The first key that matches holds, as in peft."""
    ranks, alphas = data.get("rank_pattern") or {}, data.get("alpha_pattern") or {}
    if not isinstance(ranks, dict) or not isinstance(alphas, dict):
        return {}
    general = {"rank_pattern": data.get("r"), "alpha_pattern": data.get("lora_alpha")}
    made: dict[str, Any] = {}
    for key, pattern in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
        values = {module: _value(path, key, pattern, module, general[key]) for module in modules}
        if pattern and key == "rank_pattern":
            _check_ranks(path, values, modules)
        if not all(NAME.fullmatch(name) for name in pattern):
            made[key] = {module: value for module, value in values.items() if value != general[key]}
    return made


def _value(path: Path, key: str, pattern: Mapping[str, Any], module: str, general: Any) -> Any:
    for expression, value in pattern.items():
        if _matches(path, key, rf"(.*\.)?({expression})", module):
            return value
    return general


def _check_ranks(path: Path, ranks: Mapping[str, Any], modules: Mapping[str, Matrices]) -> None:
    for module, rank in ranks.items():
        held = modules[module].a.shape[0]
        if type(rank) is int and rank != held:
            raise AdapterError(
                f"{path}: gives {module} rank {rank}, {WEIGHTS_FILE} rank {held}; the two files do not belong together"
            )


def _matches(path: Path, key: str, expression: str, name: str) -> bool:
    return _found(path, key, expression, name) is not None


def _found(path: Path, key: str, expression: str, name: str) -> regex.Match[str] | None:
    """The match of the whole name. Raises AdapterError if the expression is none, or takes longer than the limit."""
    if len(expression) > _MAX_PATTERN or _ODD_GROUP.search(expression):
        raise AdapterError(f"{path}: {key} holds an expression that is too long or too odd; write the module names instead")
    try:
        return regex.compile(expression, regex.V0).fullmatch(name, timeout=_SECONDS)
    except TimeoutError as error:
        raise AdapterError(f"{path}: {key} takes too long to match; write the module names instead") from error
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise AdapterError(f"{path}: {key} holds no regular expression ({str(error)[:100]}); write the module names") from error


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))
