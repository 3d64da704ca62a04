"""The accelerate configurations that ship, by accelerate's own loader, launcher and plugin. No GPU: none of them is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "training" / "launch"


def _launched(name: str) -> Any:
    """What `accelerate launch --config_file` makes of a file; it fails on a key that it does not know."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    arguments = launch_command_parser().parse_args(["--config_file", str(FOLDER / name), "--no_python", "lorag", "train"])
    known = set(vars(arguments))
    arguments, config, _ = _validate_launch_command(arguments)
    assert set(config.fsdp_config) | set(config.deepspeed_config) <= known
    return arguments


def test_each_file_is_tried_here() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"fsdp.yaml", "deepspeed.yaml"}


def test_fsdp_divides_layers_and_saves_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments = _launched("fsdp.yaml")
    assert (arguments.use_fsdp, arguments.use_deepspeed, arguments.num_processes) == (True, False, 2)
    arguments.main_process_port = 0
    for name, value in prepare_multi_gpu_env(arguments).items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward, plugin.cpu_ram_efficient_loading) == (2, True, False)
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"

    from lorag.training import processes

    assert processes.divide_weights() and processes.divide_optimizer()


def test_deepspeed_leaves_to_the_recipe_what_is_the_recipes() -> None:
    arguments = _launched("deepspeed.yaml")
    assert (arguments.use_deepspeed, arguments.use_fsdp, arguments.num_processes) == (True, False, 2)
    assert (arguments.zero_stage, arguments.mixed_precision) == (2, "bf16")
    assert arguments.gradient_accumulation_steps == arguments.gradient_clipping == "auto"


def test_four_bit_weights_that_can_be_divided_are_the_same_weights(tiny_base: Path) -> None:
    import torch

    from lorag.pipeline.engine.bases import resolve_base
    from lorag.pipeline.engine.weights import load_weights

    base = resolve_base(str(tiny_base))
    whole, divisible = (load_weights(base, compute="bfloat16", device="cpu", divisible=kind).model for kind in (False, True))
    stored = [
        {parameter.dtype for parameter in model.parameters() if type(parameter).__name__ == "Params4bit"}
        for model in (whole, divisible)
    ]
    assert stored == [{torch.uint8}, {torch.bfloat16}]
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        assert torch.equal(whole(ids, use_cache=False).logits, divisible(ids, use_cache=False).logits)
