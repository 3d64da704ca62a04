"""Every generation role on tiny models of each family, quantized and not: trained, published, proven, served, merged.

The way is the real one: `train_adapter`, `publish_generation`, `load_proven`, the engine. Plain peft and plain forwards of
transformers are what it is held to.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lorag.pipeline.adapters.inspection import inspect_folder, module_matrices
from lorag.pipeline.adapters.merging import merge_layers
from lorag.pipeline.adapters.proof import load_proven, prove_embedder, prove_served
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.contracts import judge, rewrite, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.tokens import ChatTokens, load_tokens
from lorag.pipeline.engine.weights import Precision, keep_gradients, load_weights
from lorag.pipeline.errors import InputError, NoEffect, TrainingError
from lorag.pipeline.records import Message, Role, Speaker, Turn
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.training.contrastive import Encoder, train_embedder
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.layer_masks import require_packable
from lorag.training.publish import data_facts, publish_embedder, publish_generation
from lorag.training.recipe import EmbeddingRecipe, RewriterRecipe, changed
from lorag.training.sft import Example, TrainedAdapter, train_adapter


def _families() -> ModuleType:
    """The module beside this one: tests are imported by path, not as a package."""
    spec = importlib.util.spec_from_file_location("families", Path(__file__).with_name("families.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["families"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


families = _families()
ROLES = (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)
PRECISIONS = (Precision.FP32, Precision.NF4)
CORPUS = (
    "Where does the ferry to Marrow Point leave? From the north quay at 07:40, daily.",
    "Question: who keeps the key? Answer: the porter, in room 4 [1]. Conversation: User: Assistant: Rewrite the last question",
)
SETTINGS = changed(
    RewriterRecipe(role="rewriter"),
    rank=4,
    alpha=8,
    learning_rate=1e-2,
    batch_size=2,
    max_steps=3,
    warmup_share=0.0,
    max_length=2048,
    compute="float32",
)
HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
PASSAGES = [
    PassageText("Keys", "The porter keeps the key in room 4. At night the bell is rung twice."),
    PassageText("Ferry", "At 07:40."),
]
SCHEMA = judge.SUPPORT
INPUTS = judge.JudgeInputs(question="Who keeps it?", answer="the porter", passages=tuple(PASSAGES))


def examples(role: Role) -> list[Example]:
    """Two rows of the role's contract, each longer than the families' windows."""
    if role is Role.REWRITER:
        turns = (("And at night?", "Who keeps the key at night?"), ("Where is it?", "Where is the key?"))
        return [Example(q, rewrite.messages(HISTORY, q), rewrite.target(r)) for q, r in turns]
    if role is Role.SYNTHESIZER:
        asked = (("Who keeps the key?", "the porter", [1]), ("When does it leave?", "07:40", [2]))
        return [Example(q, synthesize.messages(q, PASSAGES), synthesize.target(a, n)) for q, a, n in asked]
    rows = ((INPUTS, "supported"), (replace(INPUTS, answer="the cook"), "unsupported"))
    return [Example(label, judge.messages(SCHEMA, inputs), judge.target(SCHEMA, label)) for inputs, label in rows]


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """The trainer collects garbage once a run; the libraries' own objects, a second and a half of it, need not be walked."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Base]:
    folder = tmp_path_factory.mktemp("families")
    saved = {name: families.save_base(folder / name, name, CORPUS) for name in families.FAMILIES}
    return {name: replace(resolve_base(str(path)), id=f"tiny {name}") for name, path in saved.items()}


@dataclass(frozen=True)
class Tuned:
    """A base with what each role's training made of it, published."""

    base: Base
    precision: Precision
    trained: Mapping[Role, TrainedAdapter]
    versions: Mapping[Role, Version]


@pytest.fixture(scope="module", params=[(n, p) for n in families.FAMILIES for p in PRECISIONS], ids=lambda case: "-".join(case))
def tuned(request: pytest.FixtureRequest, bases: Mapping[str, Base], tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Trained with the rows of one role packed, those of the others padded: both ways, and the loss is the same."""
    name, precision = request.param
    base, folder = bases[name], tmp_path_factory.mktemp(f"tuned-{name}-{precision.value}")
    registry, trained, versions = Registry(folder / "adapters"), {}, {}
    for role in ROLES:
        settings = changed(SETTINGS, precision=precision)
        if role is Role.SYNTHESIZER:
            settings = changed(settings, pack_tokens=2048, batch_size=1)
        rows = examples(role)
        trained[role] = train_adapter(rows, base, settings, folder / role.value)
        data = data_facts("keys", {}, {"train": len(rows)}, len(rows))
        versions[role] = publish_generation(registry, role, base, settings, trained[role], data, rows)
    return Tuned(base, precision, trained, versions)


def mean_loss(model: Any, tokens: ChatTokens, rows: list[Example]) -> float:
    """Nats a reply token by a plain forward of each row alone, with the masks that transformers makes."""
    logprobs = [reply_logprob(model, tokens, row) for row in rows]
    return -sum(logprobs) / sum(len(tokens.reply(row.target)) for row in rows)


def reply_logprob(model: Any, tokens: ChatTokens, row: Example) -> float:
    import torch

    prompt, reply = tokens.prompt(row.messages), tokens.reply(row.target)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + reply]), use_cache=False).logits[0].double()
    logprobs = torch.log_softmax(logits, dim=-1)
    return float(sum(logprobs[len(prompt) - 1 + n, token] for n, token in enumerate(reply)))


def test_every_role_trains_and_the_first_loss_is_the_bases_own(tuned: Tuned) -> None:
    loaded = load_weights(tuned.base, precision=tuned.precision, compute="float32", device="cpu")
    keep_gradients(loaded.model)  # the same products as in training, not those packed for inference
    tokens = ChatTokens(loaded.tokenizer)
    for role, trained in tuned.trained.items():
        assert len(tokens.prompt(examples(role)[0].messages)) > 2 * families.WINDOW
        assert trained.losses[0][1] == pytest.approx(mean_loss(loaded.model, tokens, examples(role)), rel=1e-4)
        assert trained.losses[-1][1] < 0.95 * trained.losses[0][1]


def test_what_is_served_is_what_was_trained_for_each_row_of_a_mixed_batch(tuned: Tuned) -> None:
    engine = LocalEngine(load_weights(tuned.base, precision=tuned.precision, compute="float32", device="cpu"))
    for role, version in tuned.versions.items():
        load_proven(engine, role.value, version.folder, tuned.base, role=role)
    asked = [Generation(examples(role)[0].messages, role.value, 12) for role in ROLES]
    asked.append(replace(asked[0], adapter=None))
    together = engine.generate(asked)
    assert together == [engine.generate([one])[0] for one in asked]
    assert together[0].text != together[-1].text
    labels = tuple(judge.target(SCHEMA, label) for label in SCHEMA.labels)
    (weights,) = engine.choice_probabilities([ChoiceRequest(examples(Role.JUDGE)[0].messages, labels, Role.JUDGE.value)])
    assert sum(weights) == pytest.approx(1)


def test_the_published_folder_loads_with_plain_peft_and_merges(tuned: Tuned) -> None:
    """Merged into full precision, whatever the base was trained in; the engine's figures are those of plain peft there."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    engine = LocalEngine(load_weights(tuned.base, precision=Precision.FP32, device="cpu"))
    for role, version in tuned.versions.items():
        rows = examples(role)
        engine.load_adapter(role.value, version.folder)
        served = [
            values[0] for values in engine.reply_logprobs([ChoiceRequest(r.messages, (r.target,), role.value) for r in rows])
        ]
        plain: Any = AutoModelForCausalLM.from_pretrained(tuned.base.location, dtype=torch.float32)
        plain = PeftModel.from_pretrained(plain, str(version.folder)).eval()
        assert [reply_logprob(plain, engine.tokens, row) for row in rows] == pytest.approx(served, abs=1e-3)
        assert merge_layers(plain, torch.float32).layers == len(module_matrices(version.folder))
        merged = plain.get_base_model()
        assert [reply_logprob(merged, engine.tokens, row) for row in rows] == pytest.approx(served, abs=1e-3)


def test_a_template_without_system_messages_says_so(bases: Mapping[str, Base]) -> None:
    tokens = load_tokens(bases["gemma2"].location)
    with pytest.raises(
        InputError, match=r"chat template takes no messages in the order system, user \(System role not supported"
    ):
        tokens.prompt([Message("system", "Be brief."), Message("user", "Where?")])
    assert tokens.prompt([Message("user", "Where?")])


def test_layers_that_carry_a_state_cannot_be_packed() -> None:
    from transformers import LlamaConfig, Qwen3NextConfig

    hybrid = SimpleNamespace(config=Qwen3NextConfig(num_hidden_layers=4))
    with pytest.raises(TrainingError, match="pack_tokens: a qwen3_next base has layers of the kind linear_attention"):
        require_packable(hybrid)
    recurrent = SimpleNamespace(config=LlamaConfig(), _is_stateful=True)
    with pytest.raises(TrainingError, match="has layers that carry a state, in which no mask separates packed rows; set it to 0"):
        require_packable(recurrent)
    require_packable(SimpleNamespace(config=LlamaConfig()))


def test_dora_is_published_and_serves_in_mixed_batches(bases: Mapping[str, Base], tmp_path: Path) -> None:
    base, rows, registry = bases["qwen3"], examples(Role.REWRITER), Registry(tmp_path / "adapters")
    for precision in PRECISIONS:
        versions = {}
        for dora in (True, False):
            settings = changed(SETTINGS, precision=precision, dora=dora)
            trained = train_adapter(rows, base, settings, tmp_path / f"{precision.value}-{dora}")
            data = data_facts("keys", {}, {"train": len(rows)}, len(rows))
            versions[dora] = publish_generation(registry, Role.REWRITER, base, settings, trained, data, rows)
        engine = LocalEngine(load_weights(base, precision=precision, compute="float32", device="cpu"))
        for dora, version in versions.items():
            assert inspect_folder(version.folder).dora is dora
            load_proven(engine, str(dora), version.folder, base)
        requests = [Generation(rows[n].messages, adapter, 12) for n in (0, 1) for adapter in ("True", "False", None)]
        together = engine.generate(requests)
        assert together == [engine.generate([request])[0] for request in requests]
        assert len({reply.text for reply in together[:3]}) > 1
        with pytest.raises(NoEffect, match="it is DoRA, which not every server applies"):
            prove_served(WithoutAdapters(engine), "True", versions[True].folder, role=Role.REWRITER, where="a server")


@dataclass(frozen=True)
class WithoutAdapters:
    """A server that takes an adapter's name and answers with the bare base, as one that cannot apply it might."""

    engine: LocalEngine

    @property
    def tokens(self) -> ChatTokens:
        return self.engine.tokens

    def reply_logprobs(self, requests: Sequence[ChoiceRequest]) -> list[list[float]]:
        return self.engine.reply_logprobs([replace(request, adapter=None) for request in requests])


def save_encoder(base: Base, folder: Path) -> Path:
    """The family's model without its head, pooled at the last token, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.location)
    tokenizer.chat_template = None  # else the library puts every text through it
    AutoModel.from_pretrained(base.location).save_pretrained(str(folder / "inner"))
    tokenizer.save_pretrained(str(folder / "inner"))
    modules = [Transformer(str(folder / "inner")), Pooling(64, pooling_mode="lasttoken")]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "encoder"), create_model_card=False)
    return folder / "encoder"


@pytest.mark.parametrize("name", families.FAMILIES)
def test_the_embedder_trains_and_loads_with_plain_sentence_transformers(
    name: str, bases: Mapping[str, Base], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = save_encoder(bases[name], tmp_path)
    passages = [PassageRow(f"{thing}#1", "", f"The {thing} is here.") for thing in ("key", "bell", "ferry", "quay")]
    rows = [EmbedRow(p.id, f"Where is the {p.id.partition('#')[0]}?", (p.id,)) for p in passages]
    made, source = EmbeddingRecipe(role="embedder"), Encoder(str(encoder))
    settings = changed(made, rank=4, learning_rate=1e-2, batch_size=4, max_steps=2, negatives=Negatives.NONE, warmup_share=0.0)
    trained = train_embedder(rows, passages, source, settings, tmp_path / "run")
    data = data_facts("keys", {}, {"train": len(rows)}, len(rows))
    version = publish_embedder(Registry(tmp_path / "adapters"), source, settings, trained, data, [row.query for row in rows])
    embedder = SentenceTransformerEmbedder(str(encoder), adapter=version.folder, device="cpu")
    assert prove_embedder(embedder, version.folder).identity.pooling == "lasttoken"
    plain = SentenceTransformer(str(encoder), device="cpu")
    texts = [row.query for row in rows]
    bare = plain.encode(texts, normalize_embeddings=True)
    plain.load_adapter(str(version.folder))
    served = embedder.embed_queries(texts)
    assert plain.encode(texts, normalize_embeddings=True) == pytest.approx(served, abs=1e-4)
    assert abs(served - bare).max() > 1e-3
