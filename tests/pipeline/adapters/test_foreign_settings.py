"""Adapters in the forms in which other tools write them: accepted with the logits that plain peft gives, or refused in a line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from lorag.pipeline.adapters.admission import write_settings
from lorag.pipeline.adapters.fitting import Layers, check_fits, linear_layers
from lorag.pipeline.adapters.foreign_settings import plain_settings
from lorag.pipeline.adapters.inspection import WEIGHTS_FILE, inspect_folder, inspect_weights, module_matrices
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE, check_kind, read_object
from lorag.pipeline.errors import AdapterError, LoragError

ATTENTION = r"q_proj|k_proj|v_proj|o_proj"
UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp).*?(?:" + ATTENTION + r").*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp)\.(?:(?:" + ATTENTION + r")))"
)
NEUTRAL: Mapping[str, Any] = {
    "alora_invocation_tokens": None,
    "auto_mapping": None,
    "bias": "none",
    "corda_config": None,
    "eva_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layer_replication": None,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_dropout": 0.05,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "peft_type": "LORA",
    "qalora_group_size": 16,
    "rank_pattern": {},
    "alpha_pattern": {},
    "revision": None,
    "target_parameters": None,
    "task_type": "CAUSAL_LM",
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
}
"""What peft itself writes for the options that a tool leaves as they are."""

FORMS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # Tool → options with which peft makes the adapter, and keys as the tool's file has them afterwards.
    "unsloth": (
        {"target_modules": UNSLOTH},
        {
            "task_type": "CAUSAL_LM",
            "auto_mapping": {
                "base_model_class": "LlamaForCausalLM",
                "parent_library": "transformers.models.llama.modeling_llama",
                "unsloth_fixed": True,
            },
            "unsloth_version": "2026.1.1",
        },
    ),
    "axolotl": ({"target_modules": ["down_proj", "q_proj", "v_proj"]}, {"modules_to_save": None, "peft_type": "LORA"}),
    "axolotl with layers": ({"target_modules": ["q_proj"], "layers_to_transform": [1]}, {}),
    "ms-swift": (
        {"target_modules": r"^(model(?=\.).*\.(q_proj|v_proj|down_proj))$"},
        {"lora_dtype": None, "lorap_lr_ratio": 16.0, "lorap_emb_lr": 1e-6, "modules_to_save": []},
    ),
    "llama-factory": ({"target_modules": ["up_proj", "q_proj"]}, {"inference_mode": True, "init_lora_weights": True}),
    "llama-factory orthogonal": ({"target_modules": ["q_proj"], "init_lora_weights": "orthogonal"}, {}),
    "trl all-linear": ({"target_modules": "all-linear"}, {}),
    "trl all-linear as written by hand": ({"target_modules": "all-linear"}, {"target_modules": "all-linear"}),
    "no task": (
        {"target_modules": ["q_proj"], "task_type": None},
        {"auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama"}},
    ),
    "patterns": (
        {
            "target_modules": ["q_proj", "v_proj"],
            "rank_pattern": {r"model\.layers\.0\..*q_proj": 2},
            "alpha_pattern": {"^model.layers.1.self_attn.v_proj": 32, "v_proj": 3},
        },
        {},
    ),
    "excluded": ({"target_modules": ["q_proj", "down_proj"], "exclude_modules": r".*layers\.0\.mlp.*"}, {}),
    "excluded by name": ({"target_modules": r".*_proj", "exclude_modules": ["layers.0.self_attn.q_proj", "mlp.up_proj"]}, {}),
    "rslora": ({"target_modules": ["q_proj"], "use_rslora": True}, {}),
    "dora": ({"target_modules": ["q_proj"], "use_dora": True}, {}),
    "eva": ({"target_modules": ["q_proj"]}, {"init_lora_weights": "eva", "eva_config": {"rho": 2.0, "tau": 0.99}}),
    "bias without biases": ({"target_modules": ["q_proj"], "bias": "all"}, {}),
    "Conv1D's flag": ({"target_modules": ["q_proj"]}, {"fan_in_fan_out": True}),
    "targets of other models": ({"target_modules": ["q_proj"]}, {"target_modules": ["q_proj", "c_attn", "Wqkv"]}),
    "a layer": ({"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": "layers"}, {}),
}
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def layers(tiny_base: Path) -> Layers:
    return linear_layers(str(tiny_base), embeds=False)


@pytest.fixture(scope="module")
def make(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`make(options)` → an adapter folder as peft saves it, all matrices random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def made(options: dict[str, Any]) -> Path:
        torch.manual_seed(3)
        bare = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
        model = get_peft_model(bare, LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **options}))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        folder = tmp_path_factory.mktemp("foreign")
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        return folder

    return made


def rewrite(folder: Path, changes: Mapping[str, Any]) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def imported(folder: Path, layers: Layers, out: Path) -> Path:
    """What the import publishes of `folder`, as far as static checks go."""
    data = read_object(folder)
    check_kind(folder / CONFIG_FILE, data)
    check_fits(folder, layers, "tiny")
    plain = plain_settings(folder, data, module_matrices(folder), layers)
    inspect_weights(folder, plain)
    out.mkdir(parents=True)
    shutil.copyfile(folder / WEIGHTS_FILE, out / WEIGHTS_FILE)
    write_settings(plain, out)
    inspect_folder(out)
    return out


def logits(base: Path, adapter: Path | None) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    bare = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = (PeftModel.from_pretrained(bare, str(adapter)) if adapter else bare).eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(5, 17).reshape(1, -1)).logits


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("form", FORMS)
def test_what_plain_peft_loads_comes_in_with_equal_logits(
    form: str, make: Make, layers: Layers, tiny_base: Path, tmp_path: Path
) -> None:
    import torch

    options, written = FORMS[form]
    folder = make(options)
    rewrite(folder, {**NEUTRAL, **read_object(folder), **written})
    before = logits(tiny_base, folder)
    after = logits(tiny_base, imported(folder, layers, tmp_path / "out"))
    assert torch.equal(before, after)
    assert not torch.allclose(before, logits(tiny_base, None))


def test_a_config_as_torchtune_writes_it(make: Make, layers: Layers, tiny_base: Path, tmp_path: Path) -> None:
    """Four keys and nothing else; peft has defaults for the others."""
    import torch

    folder = make({"target_modules": ["q_proj", "v_proj"]})
    few = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "peft_type": "LORA"}
    (folder / CONFIG_FILE).write_text(json.dumps({**few, "base_model_name_or_path": "meta-llama/Llama-3.2-1B"}))
    assert torch.equal(logits(tiny_base, folder), logits(tiny_base, imported(folder, layers, tmp_path / "out")))


def test_row_lengths_under_their_other_name(make: Make, layers: Layers, tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = make({"target_modules": ["q_proj"], "use_dora": True})
    tensors = load_file(folder / WEIGHTS_FILE)
    save_file({f"{k}.weight" if k.endswith("vector") else k: t for k, t in tensors.items()}, folder / WEIGHTS_FILE)
    assert torch.equal(logits(tiny_base, folder), logits(tiny_base, imported(folder, layers, tmp_path / "out")))


def test_expressions_become_the_shortest_names_that_say_it(make: Make, layers: Layers, tmp_path: Path) -> None:
    whole = read_object(imported(make({"target_modules": r".*\.(q|v)_proj"}), layers, tmp_path / "whole"))
    assert whole["target_modules"] == ["q_proj", "v_proj"]
    part = read_object(imported(make({"target_modules": r".*layers\.1\..*q_proj"}), layers, tmp_path / "part"))
    assert part["target_modules"] == ["model.layers.1.self_attn.q_proj"]


BACKTRACKING = r"(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)\8\7\6\5Q?[^a-z]"
REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "backtracking": ({"target_modules": BACKTRACKING}, "target_modules takes too long"),
    "recursion": ({"target_modules": r"(?R)*"}, "too long or too odd"),
    "no expression": ({"target_modules": "(q_proj"}, "holds no regular expression"),
    "a long expression": ({"target_modules": "q" * 5000}, "too long or too odd"),
    "backtracking alpha": ({"alpha_pattern": {BACKTRACKING: 2}}, "alpha_pattern takes too long"),
    "another target": ({"target_modules": ["v_proj"]}, "has weights in adapter_model.safetensors and is no target"),
    "more targets": ({"target_modules": ["q_proj", "v_proj"]}, "is a target and has no weights in"),
    "other layers": ({"layers_to_transform": [0]}, "layers.1.self_attn.q_proj has weights"),
    "another rank": ({"rank_pattern": {"layers.0.*": 9}}, "rank 9, adapter_model.safetensors rank 4"),
    "pissa": ({"init_lora_weights": "pissa"}, "it belongs on a base that was changed first"),
    "loftq": ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "it belongs on a base|loftq_config is"),
    "modules to save": ({"modules_to_save": ["lm_head"]}, "merge it with peft"),
    "tokens": ({"trainable_token_indices": [3]}, "merge it with peft"),
    "classifier": ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
    "a module to import": ({"megatron_config": {"a": 1}}, "megatron_config is"),
    "unknown": ({"shiny_new_thing": 7}, "shiny_new_thing is 7"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_in_a_line(case: str, make: Make, layers: Layers, tmp_path: Path) -> None:
    changes, words = REFUSED[case]
    folder = make({"target_modules": ["q_proj"]})
    rewrite(folder, changes)
    with pytest.raises(AdapterError, match=words) as refused:
        imported(folder, layers, tmp_path / "out")
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)


def test_embeddings_and_biases_beside_the_adapter_are_named_with_what_to_do(make: Make, layers: Layers, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    for name, words in (
        ("base_model.model.model.embed_tokens.weight", "save_embedding_layers=False"),
        ("base_model.model.model.layers.0.self_attn.q_proj.bias", "train with bias none"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "without embedding layers among the targets"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", "peft's save_pretrained"),
    ):
        folder = make({"target_modules": ["q_proj"]})
        save_file({**load_file(folder / WEIGHTS_FILE), name: torch.ones(3, 3)}, folder / WEIGHTS_FILE)
        with pytest.raises(AdapterError, match=words):
            imported(folder, layers, tmp_path / "out")


ODD = strategies.fixed_dictionaries(
    {},
    optional={
        "target_modules": strategies.sampled_from(
            [
                "all-linear",
                ".*q_proj",
                "q_proj",
                r".*\.[qv]_proj",
                ["q_proj", "nothing"],
                ["self_attn.q_proj"],
                [],
                None,
                3,
                [3],
                "(",
            ]
        ),
        "exclude_modules": strategies.sampled_from([None, "", [], "lm_head", ["lm_head"], ".*layers.0.*", 7, {"a": 1}]),
        "layers_to_transform": strategies.sampled_from([None, [], 0, [0, 1], [1], ["x"], "0"]),
        "layers_pattern": strategies.sampled_from([None, "", "layers", ["layers"], "h", ["(", 1], 5]),
        "rank_pattern": strategies.sampled_from(
            [None, {}, {"q_proj": 4}, {".*": 4}, {"^q_proj": 2}, {"q_proj": "4"}, [], {"(": 1}]
        ),
        "alpha_pattern": strategies.sampled_from([{}, {"layers.0.*": 3}, {r".*\.1\..*": 0.5}, {"q_proj": None}, {"x": 1}, 3]),
        "init_lora_weights": strategies.sampled_from(
            [True, False, "gaussian", "Gaussian", "orthogonal", "eva", None, 3, "olora", []]
        ),
        "bias": strategies.sampled_from(["none", "all", "lora_only", None, 1]),
        "lora_alpha": strategies.sampled_from([8, 8.5, "8", None, 1e9]),
        "r": strategies.sampled_from([4, 8, "4", None, True]),
        "auto_mapping": strategies.sampled_from([None, {}, {"base_model_class": "X"}, "X", 3]),
        "task_type": strategies.sampled_from([None, "CAUSAL_LM", "SEQ_CLS", 3]),
        "fan_in_fan_out": strategies.sampled_from([True, False, "yes"]),
        "use_rslora": strategies.sampled_from([True, False, 1]),
        "modules_to_save": strategies.sampled_from([None, [], ["lm_head"], "x"]),
        "loftq_config": strategies.sampled_from([None, {}, {"loftq_bits": 4}]),
        "unsloth_anything": strategies.sampled_from([1, None]),
    },
)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_odd_settings_are_taken_as_peft_takes_them_or_refused(
    make: Make, layers: Layers, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import torch

    source = make({"target_modules": ["q_proj"]})

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(ODD)
    def sweep(changes: dict[str, Any]) -> None:
        folder = shutil.copytree(source, tmp_path_factory.mktemp("odd") / "given")
        rewrite(folder, changes)
        try:
            taken = imported(folder, layers, folder.with_name("out"))
        except LoragError as refused:
            assert "\n" not in str(refused)
            return
        try:
            plain = logits(tiny_base, folder)
        except (
            TypeError,
            ValueError,
        ):  # peft refuses what LoRAG takes: an unknown key beside few others, a pattern without layers
            return
        assert torch.equal(plain, logits(tiny_base, taken)), changes

    sweep()
