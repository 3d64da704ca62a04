"""Tiny bases of each model family, made from config with random weights, and chat templates with each family's ways.

What differs from Llama is there in small: a head's width apart from hidden size over heads (Qwen3, Mistral, Gemma), a window
shorter than the test's prompts (Mistral, Gemma), capped scores and logits (Gemma 2), two rotary bases (Gemma 3), per-layer
inputs, shared keys and values and heads of two widths (Gemma 4), tied embeddings, a template that takes no system message or
calls the assistant `model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WINDOW = 24
"""Tokens that a layer with a window sees; the prompts of the tests are several times as long."""

_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.15,
}

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_ALTERNATE = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% endfor %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + _ALTERNATE
    + "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}" + _ALTERNATE + "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """How to make a base of a family: its model's class and settings, its special tokens and template.

    `tokens` are bos, eos and pad, then the other special ones.
    """

    model: str
    settings: Mapping[str, Any]
    tokens: tuple[str, ...]
    template: str


FAMILIES: Mapping[str, Family] = {
    "llama": Family(
        "Llama",
        {**_SHAPE, "tie_word_embeddings": False},
        ("<|begin_of_text|>", "<|eot_id|>", "<|pad|>", "<|start_header_id|>", "<|end_header_id|>"),
        _LLAMA3,
    ),
    "qwen3": Family(
        "Qwen3",
        {**_SHAPE, "head_dim": 32, "tie_word_embeddings": True},
        ("<|endoftext|>", "<|im_end|>", "<|endoftext|>", "<|im_start|>"),
        _CHATML,
    ),
    "mistral": Family(
        "Mistral",
        {**_SHAPE, "head_dim": 32, "sliding_window": WINDOW, "tie_word_embeddings": False},
        ("<s>", "</s>", "<pad>", "[INST]", "[/INST]"),
        _MISTRAL,
    ),
    "gemma2": Family(
        "Gemma2",
        {
            **_SHAPE,
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 10.0,
        },
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        _GEMMA,
    ),
    "gemma3": Family(
        "Gemma3",
        {
            **_SHAPE,
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        _GEMMA,
    ),
    "gemma4": Family(
        "Gemma4",
        {
            **_SHAPE,
            "num_hidden_layers": 4,
            "head_dim": 32,
            "global_head_dim": 64,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 2,
            "hidden_size_per_layer_input": 16,
            "final_logit_softcapping": 10.0,
        },
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        _GEMMA,
    ),
}


def make_tokenizer(family: Family, corpus: tuple[str, ...]) -> Any:
    """Byte-level BPE with the special tokens and template. Only bos, eos and pad are named: Gemma names no end of turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = list(dict.fromkeys(family.tokens))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=384, special_tokens=special, initial_alphabet=alphabet))
    bos, eos, pad = family.tokens[:3]
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=bos, eos_token=eos, pad_token=pad)
    fast.chat_template = family.template
    return fast


def save_base(folder: Path, name: str, corpus: tuple[str, ...], seed: int = 0) -> Path:
    """A causal LM of the family `name` with sharp random weights, and its tokenizer, as transformers saves them."""
    import torch
    import transformers

    family = FAMILIES[name]
    tokenizer = make_tokenizer(family, corpus)
    settings: dict[str, Any] = {
        **family.settings,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if "hidden_size_per_layer_input" in settings:
        settings["vocab_size_per_layer_input"] = len(tokenizer)
    text = "Text" if name in ("gemma3", "gemma4") else ""
    config: Callable[..., Any] = getattr(transformers, f"{family.model}{text}Config")
    torch.manual_seed(seed)
    getattr(transformers, f"{family.model}ForCausalLM")(config(**settings)).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
