"""Fixtures for all tests: tiny models made from config, random weights, a tokenizer made here. Offline; one or two seconds each.

`tiny_base` is the folder of a saved causal LM and `tiny_encoder` that of a sentence-transformers model. `tiny_adapter(base,
seed, role)` saves a real peft LoRA for such a base and gives its folder; `tiny_card(folder, base, role)` gives the card for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import fork_server
from benchmarks.tiny_runs import byte_tokenizer
from lorag.pipeline.adapters.card import FORMAT, AdapterCard, DataFacts, Identity, LoraFacts, TrainingFacts
from lorag.pipeline.adapters.inspection import inspect_weights
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.records import Role
from tests.claims import measurement
from tests.without_models import REASON, refuse_models

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that must be free in memory for the folders of tests to lie there; a container often has 64 MB."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-models", action="store_true", help="skip what imports torch or starts a browser")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Stores and checkpoints sync each file: on a disk that is most of the time of their tests.
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if config.getoption("without_models"):
        refuse_models(config)


@pytest.fixture(scope="session")
def model_elsewhere(request: pytest.FixtureRequest) -> None:
    """For tests whose model is loaded by a process of its own, which `--without-models` does not see: it skips them."""
    if request.config.getoption("without_models"):
        pytest.skip(REASON)


MakeAdapter = Callable[[Path, int, Role], Path]
MakeCard = Callable[[Path, Base, Role], AdapterCard]

CORPUS = (
    "Where does the ferry to Marrow Point leave? From the north quay at 07:40, daily.",
    "Question: who keeps the key? Answer: the porter, in room 4 [1].",
    "User: and at night? Assistant: ring the bell twice. Judge: yes, no, supported.",
)
TARGETS = {Role.EMBEDDER: ["query", "value"]}
GENERATION_TARGETS = ["q_proj", "v_proj", "down_proj"]


def make_tokenizer() -> Any:
    return byte_tokenizer(CORPUS, 384)


def save_tiny_base(folder: Path, seed: int = 0) -> Path:
    """A two-layer Llama of 64 dimensions with the sharp random weights that make greedy replies differ between adapters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.15,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def save_tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """A two-layer BERT of 32 dimensions with mean pooling, as sentence-transformers saves it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
    )
    inner = folder / "inner"
    BertModel(config).save_pretrained(str(inner))
    tokenizer.save_pretrained(str(inner))
    transformer = Transformer(str(inner))
    SentenceTransformer(modules=[transformer, Pooling(32, pooling_mode="mean")], device="cpu").save(str(folder / "model"))
    return folder / "model"


def save_tiny_adapter(folder: Path, base: Path, seed: int, role: Role) -> Path:
    """A rank-4 LoRA whose B is random, not zero: as far from the base as a trained one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    embeds = role is Role.EMBEDDER
    kind, task = (AutoModel, "FEATURE_EXTRACTION") if embeds else (AutoModelForCausalLM, "CAUSAL_LM")
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS.get(role, GENERATION_TARGETS), task_type=task)
    model = get_peft_model(kind.from_pretrained(str(base), dtype=torch.float32), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="session")
def forks() -> Any:
    """A multiprocessing context whose processes are forked from one that has torch and the trainers loaded.

    One for all tests of a worker: a second would find the first one's server, which has loaded what the first asked for.
    """
    return fork_server()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_adapter(tmp_path_factory: pytest.TempPathFactory) -> MakeAdapter:
    """`tiny_adapter(base, seed, role)` → folder. Each call gives a folder of its own, to be changed at will."""

    def make(base: Path, seed: int, role: Role) -> Path:
        return save_tiny_adapter(tmp_path_factory.mktemp(f"tiny-{role.value}-{seed}-"), base, seed, role)

    return make


@pytest.fixture(scope="session")
def tiny_card() -> MakeCard:
    """`tiny_card(folder, base, role)` → the card of the adapter in `folder`, which claims to be better than the bare base."""

    def make(folder: Path, base: Base, role: Role) -> AdapterCard:
        facts = inspect_weights(folder)
        pooling = "mean" if role is Role.EMBEDDER else ""
        identity = Identity(base.id, base.digest, facts.weights_digest, contract_hash(role), pooling, "fp32/float32", False)
        return AdapterCard(
            format=FORMAT,
            role=role,
            version="",
            created="2025-01-31T12:00:00Z",
            identity=identity,
            lora=LoraFacts(facts.rank, facts.alpha, facts.dropout, facts.targets, facts.parameters, 0.01),
            data=DataFacts("made up", 3, {"train.jsonl": "0" * 64}, {"train": 2, "dev": 1}),
            training=TrainingFacts("sft", 10, 1.0, 640, 2.5, 1e-3, 4, 0, 0.25, {"exact match": 0.5}),
            libraries={"peft": "0.21.2"},
            evidence=tuple(measurement(role)),
            licence="apache-2.0",
            notes="",
        )

    return make
