"""Real training runs that are small enough to repeat hundreds of times: tiny models made from config, a few dozen rows.

Both models have dropout and random weights, so data order, optimizer and random state must all be right for two runs to agree.
Used by `benchmarks/kills.py` and the tests; knows nothing of kills.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lorag.training.progress import Progress

STEPS, SAVE_EVERY, BATCH = 20, 2, 4
"""Optimizer steps of a run, steps between two checkpoints, rows a step. Every run sees its 14 rows five times or more."""

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMES = (
    *("pump", "boiler", "rudder", "ladder", "cabin", "galley", "mast"),
    *("hatch", "winch", "anchor", "radar", "crane", "bilge", "keel"),
)
SEQUENCE = 160
"""Tokens of a packed sequence."""


def byte_tokenizer(corpus: Sequence[str], size: int) -> Any:
    """Byte-level BPE, so that every text has tokens, with special tokens and template of the Qwen and SmolLM families."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_decoder(folder: Path) -> Path:
    """A causal LM of two layers in the Llama architecture with a byte-level tokenizer and a chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(NAMES, 320)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_encoder(folder: Path, dropout: float = 0.1) -> Path:
    """A sentence-transformers model: two layers of BERT, mean pooling, a vocabulary of whole words."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel
    from transformers.models.bert.tokenization_bert import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NAMES, "where", "is", "the", "checked", "daily", "by", "crew"]
    bert = folder / "bert"
    bert.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    BertModel(config).save_pretrained(bert)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(bert)
    modules = [Transformer(str(bert), max_seq_length=32), Pooling(32), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


def run_sft(model: Path, run_folder: Path, on_progress: Callable[[Progress], None] | None = None, **changes: Any) -> None:
    """Start or resume a supervised run in `run_folder`; `changes` override this run's settings."""
    from lorag.pipeline.engine.bases import resolve_base
    from lorag.pipeline.engine.weights import Precision
    from lorag.pipeline.records import Message
    from lorag.training.recipe import RewriterRecipe, changed
    from lorag.training.sft import Example, train_adapter

    examples = [Example(name, (Message("user", f"{name} " * (1 + n % 3) + "?"),), f"{name} {n}") for n, name in enumerate(NAMES)]
    settings: dict[str, Any] = {
        "rank": 4,
        "alpha": 8,
        "dropout": 0.1,
        "learning_rate": 1e-2,
        "batch_size": BATCH,
        "max_steps": STEPS,
        "checkpoint_every": SAVE_EVERY,
        "precision": Precision.FP32,
        "compute": "float32",
    }
    chosen = changed(RewriterRecipe(role="rewriter"), **(settings | changes))
    train_adapter(examples, resolve_base(str(model)), chosen, run_folder, resume=True, on_progress=on_progress)


def run_packed(model: Path, run_folder: Path, on_progress: Callable[[Progress], None] | None = None, **changes: Any) -> None:
    """As `run_sft`, with rows packed into sequences, one a step."""
    run_sft(model, run_folder, on_progress, **({"pack_tokens": SEQUENCE, "batch_size": 1} | changes))


def run_contrastive(model: Path, run_folder: Path, on_progress: Callable[[Progress], None] | None = None, **changes: Any) -> None:
    """Start or resume a contrastive run with random negatives in `run_folder`."""
    from lorag.training.contrastive import Encoder, train_embedder
    from lorag.training.data.negatives import Negatives
    from lorag.training.data.rows import EmbedRow, PassageRow
    from lorag.training.recipe import EmbeddingRecipe, changed

    passages = [PassageRow(f"p-{name}", "", f"the {name} " + "is checked daily " * (1 + n % 3)) for n, name in enumerate(NAMES)]
    rows = [EmbedRow(f"q-{name}", f"where is the {name}", (f"p-{name}",)) for name in NAMES]
    settings: dict[str, Any] = {
        "rank": 4,
        "alpha": 8,
        "dropout": 0.1,
        "learning_rate": 5e-3,
        "batch_size": BATCH,
        "max_steps": STEPS,
        "negatives": Negatives.RANDOM,
        "negatives_per_query": 1,
        "checkpoint_every": SAVE_EVERY,
    }
    chosen = changed(EmbeddingRecipe(role="embedder"), **(settings | changes))
    train_embedder(rows, passages, Encoder(str(model)), chosen, run_folder, resume=True, on_progress=on_progress)
