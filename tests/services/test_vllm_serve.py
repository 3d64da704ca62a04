"""The command that starts vLLM on a registry: what is in production, room for it, and one line for what cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lorag.services import vllm_serve
from lorag.services.vllm_serve import vllm_command


def publish(registry: Path, role: str, config: object, production: object = "0002-0123abcd") -> None:
    version = registry / role / "versions" / "0002-0123abcd"
    version.mkdir(parents=True)
    (version / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (registry / role / "aliases.json").write_text(json.dumps({"candidate": "0001-00000000", "production": production}))


def test_each_role_in_production_is_served_under_its_name(tmp_path: Path) -> None:
    publish(tmp_path, "judge", {"r": 9, "target_modules": ["v_proj", "q_proj"]})
    publish(tmp_path, "rewriter", {"r": 4, "target_modules": ["o_proj"]})
    publish(tmp_path, "synthesizer", {"r": 64, "target_modules": ["x"]}, production=None)
    publish(tmp_path, "embedder", {"r": 4, "target_modules": ["query"]})
    assert vllm_command("vllm", "BASE", tmp_path, ["--port", "1"]) == [
        *("vllm", "serve", "BASE", "--served-model-name", "base", "--enable-lora", "--max-loras", "3", "--max-lora-rank", "16"),
        *("--lora-target-modules", "o_proj", "q_proj", "v_proj", "--lora-modules"),
        f"rewriter={tmp_path}/rewriter/versions/0002-0123abcd",
        f"judge={tmp_path}/judge/versions/0002-0123abcd",
        *("--port", "1"),
    ]


def test_without_adapters_the_bare_base_is_served(tmp_path: Path) -> None:
    assert vllm_command("vllm", "BASE", tmp_path) == ["vllm", "serve", "BASE", "--served-model-name", "base"]


@pytest.mark.parametrize(
    ("config", "production", "told"),
    [
        ({"r": 1000, "target_modules": ["x"]}, "0002-0123abcd", "an adapter has rank 1000, vLLM takes 512 at most"),
        (
            {"r": 4, "rank_pattern": {"x": 600}, "target_modules": ["x"]},
            "0002-0123abcd",
            "an adapter has rank 600, vLLM takes 512",
        ),
        (
            {"r": 4, "use_dora": True, "target_modules": ["x"]},
            "0002-0123abcd",
            "is a DoRA adapter (lora.dora), which vLLM does not",
        ),
        (
            {"r": 4, "alora_invocation_tokens": [7], "target_modules": ["x"]},
            "0002-0123abcd",
            "is an activated LoRA (lora.activated)",
        ),
        ({"target_modules": ["x"]}, "0002-0123abcd", "adapter_config.json: has no rank"),
        ({"r": 4, "target_modules": "all-linear"}, "0002-0123abcd", "adapter_config.json: has no rank, or no list"),
        ("{", "0002-0123abcd", "adapter_config.json: cannot be read as JSON"),
        ("[]", "0002-0123abcd", "adapter_config.json: holds no JSON object"),
        ({"r": 4, "target_modules": ["x"]}, "0003-0123abcd", "adapter_config.json: cannot be read as JSON"),
        (
            {"r": 4, "target_modules": ["x"]},
            "../../elsewhere",
            "aliases.json: production is '../../elsewhere', which is no version",
        ),
        ({"r": 4, "target_modules": ["x"]}, 3, "aliases.json: production is 3, which is no version"),
    ],
)
def test_a_registry_that_cannot_be_read_is_one_line(tmp_path: Path, config: object, production: object, told: str) -> None:
    publish(tmp_path, "rewriter", config, production)
    with pytest.raises(SystemExit) as caught:
        vllm_command("vllm", "BASE", tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_runs_where_lorag_is_not_installed_and_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-I", vllm_serve.__file__, "--base", "B C", "--adapters", str(tmp_path)]
    shown = subprocess.run([*command, "--print", "--", "--port", "1"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert shown.stdout == "vllm serve 'B C' --served-model-name base --port 1\n"
    missing = subprocess.run([*command, "--vllm", "no-such-vllm"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert missing.returncode == 1
    assert (
        missing.stderr
        == "no-such-vllm does not start: No such file or directory; install vLLM, or name its program with --vllm\n"
    )
