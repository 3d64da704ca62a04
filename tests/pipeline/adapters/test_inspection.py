"""Static checks: a good folder gives its facts, each kind of damage or malice one clear line."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.tensor_file import read_header, read_values
from lorag.pipeline.errors import AdapterError, NoEffect

Plain = Callable[[int], Path]
WEIGHTS = "adapter_model.safetensors"


def refusal(folder: Path, kind: type[AdapterError] = AdapterError) -> str:
    with pytest.raises(kind) as caught:
        inspect_folder(folder)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_facts(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    facts = inspect_folder(folder)
    assert (facts.rank, facts.alpha, facts.dropout, facts.targets) == (2, 4.0, 0.0, ("q_proj",))
    assert (facts.tensors, facts.parameters) == (4, 2 * (2 * 6 + 4 * 2))
    assert facts.weights_digest == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["evil.py", "pytorch_model.bin", ".hidden", "adapter_model.bin"])
def test_stray_file(plain_adapter: Plain, name: str) -> None:
    folder = plain_adapter(1)
    (folder / name).write_text("x")
    assert f"{name}: does not belong" in refusal(folder)


def test_link_and_subfolder_and_missing_file(plain_adapter: Plain, tmp_path: Path) -> None:
    folder = plain_adapter(1)
    (folder / "recipe.yaml").symlink_to("/etc/hostname")
    assert "recipe.yaml: is a link or a folder" in refusal(folder)
    (folder / "recipe.yaml").unlink()
    (folder / "recipe.yaml").mkdir()
    assert "recipe.yaml: is a link or a folder" in refusal(folder)
    (folder / "recipe.yaml").rmdir()
    (tmp_path / "link").symlink_to(folder)
    assert "no adapter folder" in refusal(tmp_path / "link")
    assert "no adapter folder" in refusal(tmp_path / "nothing")
    (folder / WEIGHTS).unlink()
    assert f"{WEIGHTS} is missing" in refusal(folder)


def test_oversized_file(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    with (folder / "card.json").open("wb") as file:
        file.truncate((1 << 20) + 1)
    assert "card.json: 1048577 bytes, more than the 1048576" in refusal(folder)


def test_truncation_anywhere(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    whole = (folder / WEIGHTS).read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        (folder / WEIGHTS).write_bytes(whole[:length])
        message = refusal(folder)
        assert WEIGHTS in message and ("truncated" in message or "bytes long" in message), (length, message)
    (folder / WEIGHTS).write_bytes(whole + b"\0\0")
    assert "2 bytes that belong to no tensor" in refusal(folder)


def raw(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (raw(b"{not json", b"x" * 8), "header is not JSON"),
        (raw(b"[1, 2]", b"x" * 8), "header that is no object"),
        (raw({}, b"x"), "holds no tensors"),
        (raw({"__metadata__": {"a": "b"}}, b"x"), "holds no tensors"),
        (struct.pack("<Q", 1 << 40) + b"{}", "more than allowed"),
        (raw({"a": entry(0, 4, [1]), "b": entry(2, 6, [1])}, b"x" * 6), "lays b over another tensor"),
        (raw({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, b"x" * 12), "leaves a gap"),
        (raw({"a": entry(0, 4, [2])}, b"x" * 4), "its shape needs 8"),
        (raw({"a": entry(4, 0, [1])}, b"x" * 4), "its shape needs 4"),
        (raw({"a": entry(0, 4, [-1, -1])}, b"x" * 4), "shape [-1, -1]"),
        (raw({"a": entry(0, 4, [True])}, b"x" * 4), "shape [True]"),
        (raw({"a": entry(0, 4, [1 << 40, 1 << 40])}, b"x" * 4), "shape"),
        (raw({"a": entry(0, 8, [1], "F64")}, b"x" * 8), "as F64; only F32, F16, BF16"),
        (raw({"a": entry(0, 4, [4], "I8")}, b"x" * 4), "as I8"),
        (raw({"a": {"dtype": "F32", "shape": [1]}}, b"x" * 4), "other keys"),
        (raw({"a": [0, 4]}, b"x" * 4), "other keys"),
        (raw(b'{"a": 1, "a": 2}', b"x" * 4), "'a' stands there twice"),
        (raw(b"[" * 100_000, b"x"), "header is not JSON"),
        (raw({"a": entry(0, 4, [1])}, b"x" * 4), "a of shape [1] is no LoRA matrix"),
    ],
)
def test_malformed_weight_file(plain_adapter: Plain, content: bytes, word: str) -> None:
    folder = plain_adapter(1)
    (folder / WEIGHTS).write_bytes(content)
    message = refusal(folder)
    assert word in message and WEIGHTS in message


def test_values_of_each_dtype(tmp_path: Path) -> None:
    # 1.5 is 0x3FC00000 as float32, 0x3FC0 as bfloat16, 0x3E00 as float16; -2 is 0xC0000000, 0xC000, 0xC000
    data = struct.pack("<II", 0x3FC00000, 0xC0000000) + struct.pack("<HH", 0x3FC0, 0xC000) + struct.pack("<HH", 0x3E00, 0xC000)
    header = {"f": entry(0, 8, [2]), "b": entry(8, 12, [2], "BF16"), "h": entry(12, 16, [2], "F16")}
    path = tmp_path / "values.safetensors"
    path.write_bytes(raw(header, data))
    for tensor in read_header(path):
        assert [value for piece in read_values(path, tensor) for value in piece.tolist()] == [1.5, -2.0]


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


def test_missing_half(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    change_weights(folder, lambda w: w.pop(f"{FIRST}.lora_B.weight"))
    assert "model.layers.0.self_attn.q_proj has lora_A without its other half" in refusal(folder)


def test_rank_of_other_settings(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    change_weights(folder, lambda w: w.update({f"{FIRST}.lora_A.weight": np.ones((3, 6), np.float32)}))
    assert "rank 3 in A and 2 in B, adapter_config.json says 2" in refusal(folder)


def test_weights_for_a_module_that_is_no_target(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)

    def rename(weights: dict[str, Any]) -> None:
        for key in list(weights):
            weights[key.replace("q_proj", "v_proj")] = weights.pop(key)

    change_weights(folder, rename)
    assert "v_proj, which is no target" in refusal(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(plain_adapter: Plain, value: float) -> None:
    folder = plain_adapter(1)
    change_weights(folder, lambda w: w[f"{FIRST}.lora_A.weight"].__setitem__((1, 3), value))
    assert f"{FIRST}.lora_A.weight holds values that are not finite" in refusal(folder)


def test_zero_delta(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)

    def zero(half: str, *layers: int) -> None:
        names = [f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{half}.weight" for n in layers]
        change_weights(folder, lambda w: [w[name].fill(0) for name in names] and None)

    zero("B", 0)
    inspect_folder(folder)  # the other layer still works
    zero("A", 1)
    assert "every A or B matrix is zero" in refusal(folder, NoEffect)


def change_settings(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; allowed: LORA"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map is"),
        ({"auto_mapping": {"parent_library": "evil", "base_model_class": "X"}}, "auto_mapping is"),
        ({"megatron_core": "evil.module"}, "megatron_core is 'evil.module'"),
        ({"megatron_config": {"a": 1}}, "megatron_config is"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is ['lm_head']"),
        ({"use_dora": True}, "has no row lengths, adapter_config.json says use_dora True"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"loftq_config": {"loftq_bits": 4}}, "loftq_config is"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is"),
        ({"target_modules": "(a+)+$"}, "target_modules is '(a+)+$'"),
        ({"target_modules": ["q_proj", "(a|a)*"]}, "target_modules is"),
        ({"exclude_modules": r"(.*)*\.pooler\..*"}, "exclude_modules is"),
        ({"exclude_modules": 3}, "exclude_modules is 3"),
        ({"target_modules": []}, "target_modules is []"),
        ({"target_modules": ["q_proj", "k_proj"]}, "has no weights for the target k_proj"),
        ({"r": 0}, "r is 0"),
        ({"r": 1 << 20}, "r is 1048576"),
        ({"r": "2"}, "r is '2'"),
        ({"rank_pattern": {"q_proj": -1}}, "rank_pattern is"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"lora_alpha": float("nan")}, "NaN is no JSON number"),
        ({"trust_remote_code": True}, "trust_remote_code is True"),
    ],
)
def test_settings_that_are_refused(plain_adapter: Plain, changes: dict[str, Any], word: str) -> None:
    folder = plain_adapter(1)
    change_settings(folder, **changes)
    message = refusal(folder)
    assert word in message and ("adapter_config.json" in message)


def test_alpha_zero_has_no_effect(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    change_settings(folder, lora_alpha=0)
    assert "alpha is 0" in refusal(folder, NoEffect)


def test_settings_that_pass(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    change_settings(folder, alora_invocation_tokens=[1, 2], new_key_of_a_later_peft=None, use_rslora=True, revision="main")
    assert inspect_folder(folder).rank == 2
    for excluded in (None, ["lm_head"], r"(.*\.)?pooler\..*"):
        change_settings(folder, exclude_modules=excluded)
        assert inspect_folder(folder).rank == 2


def test_settings_without_a_needed_key(plain_adapter: Plain) -> None:
    folder = plain_adapter(1)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    assert "key 'target_modules' is missing" in refusal(folder)


@pytest.mark.parametrize("excluded", [r"(.*\.)?pooler\..*", ["dense"], ["pooler.dense"]])
def test_a_target_that_is_excluded_again_needs_no_weights(plain_adapter: Plain, excluded: object) -> None:
    """As peft writes `all-linear` for a model of few layers."""
    folder = plain_adapter(1)
    change_settings(folder, target_modules=["q_proj", "pooler.dense"], exclude_modules=excluded)
    assert inspect_folder(folder).targets == ("q_proj",)
    change_settings(folder, exclude_modules=["ense"])
    assert "has no weights for the target pooler.dense" in refusal(folder)
