"""Tiny bases of several families from config, adapters for them, and plain greedy decoding to compare with.

`plain_greedy` and `plain_logprob` use transformers and peft alone: one row, full forward for every token, no cache, no batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role

SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.15,
    "tie_word_embeddings": True,
}
# A window shorter than the prompts: what lies outside it must stay outside, with a cache and with padding too.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "qwen3": ("Qwen3Config", {}),
    "mistral": ("MistralConfig", {"sliding_window": 16}),
    "gemma2": ("Gemma2Config", {"sliding_window": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": False}),
}


@pytest.fixture(scope="session")
def family_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Base]:
    """`family_base("qwen3")` → a saved tiny model of that family with the tokenizer of `tiny_base`."""
    made: dict[str, Base] = {}

    def make(family: str) -> Base:
        import torch
        import transformers

        if family not in made:
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(tiny_base))
            name, extra = FAMILIES[family]
            config = getattr(transformers, name)(
                vocab_size=len(tokenizer),
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                **{**SHAPE, **extra},
            )
            folder = tmp_path_factory.mktemp(f"tiny-{family}-")
            torch.manual_seed(0)
            transformers.AutoModelForCausalLM.from_config(config).save_pretrained(str(folder))
            tokenizer.save_pretrained(str(folder))
            made[family] = replace(resolve_base(str(folder)), id=f"tiny-{family}")
        return made[family]

    return make


@pytest.fixture(scope="session")
def base(family_base: Callable[[str], Base]) -> Base:
    return family_base("llama")


@pytest.fixture(scope="session")
def folders(base: Base, tiny_adapter: Callable[[Path, int, Role], Path]) -> dict[str, Path]:
    """Three adapters for `base` whose B matrices are random: each changes every reply."""
    return {name: tiny_adapter(Path(base.location), seed, Role.REWRITER) for seed, name in enumerate(("ada", "bob", "cyd"), 1)}


def open_base(base: Base, precision: Precision = Precision.FP32, compute: str = "float32", **bounds: int) -> LocalEngine:
    return LocalEngine(load_weights(base, precision=precision, compute=compute, device="cpu"), **bounds)


@pytest.fixture(scope="session")
def open_tiny() -> Callable[..., LocalEngine]:
    """`open_tiny(base, precision, compute, **bounds)` → an engine on the CPU, fp32 unless told."""
    return open_base


@pytest.fixture(scope="session")
def shared_engine(base: Base, folders: dict[str, Path]) -> LocalEngine:
    engine = open_base(base)
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    return engine


@pytest.fixture
def engine(shared_engine: LocalEngine) -> LocalEngine:
    """One fp32 engine with the three adapters for many tests: none may change which are resident."""
    assert shared_engine.adapters == ("ada", "bob", "cyd")
    return shared_engine


@pytest.fixture(scope="session")
def plain_model() -> Callable[[Base, Path | None], Any]:
    """`plain_model(base, adapter folder or None)` → the model as transformers and peft load it, fp32, eval."""

    def load(base: Base, folder: Path | None) -> Any:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(base.location, dtype=torch.float32)
        return (PeftModel.from_pretrained(model, str(folder)) if folder else model).eval()

    return load


@pytest.fixture(scope="session")
def plain_greedy() -> Callable[[Any, Sequence[int], int, Sequence[int]], list[int]]:
    """`plain_greedy(model, prompt ids, most tokens, end ids)` → token ids, the end token included."""

    def decode(model: Any, prompt: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        import torch

        written: list[int] = []
        while len(written) < most and not (written and written[-1] in ends):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt, *written]]), use_cache=False).logits
            written.append(int(logits[0, -1].argmax()))
        return written

    return decode


@pytest.fixture(scope="session")
def plain_logprob() -> Callable[[Any, Sequence[int], Sequence[int]], float]:
    """`plain_logprob(model, prompt ids, reply ids)` → log-probability of the reply in nats."""

    def score(model: Any, prompt: Sequence[int], reply: Sequence[int]) -> float:
        import torch

        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *reply]]), use_cache=False).logits[0].double()
        logprobs = torch.log_softmax(logits, dim=-1)
        return float(sum(logprobs[len(prompt) - 1 + n, token] for n, token in enumerate(reply)))

    return score
