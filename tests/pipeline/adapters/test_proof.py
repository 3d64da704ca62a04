"""The proof of effect on real models: tiny ones from config, with peft adapters that were really trained."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.canaries import Canary, canaries_json, read_canaries
from lorag.pipeline.adapters.card import AdapterCard, card_json
from lorag.pipeline.adapters.proof import (
    CanarySample,
    check_canaries,
    load_proven,
    record_canaries,
    verify_identity,
)
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, IdentityMismatch, NoEffect
from lorag.pipeline.records import Message, Role

MakeAdapter = Callable[[Path, int, Role], Path]
MakeCard = Callable[[Path, Base, Role], AdapterCard]

SAMPLES = tuple(
    CanarySample((Message("system", "Answer."), Message("user", question)), reply)
    for question, reply in (
        ("Where does the ferry leave?", "From the north quay."),
        ("Who keeps the key?", "The porter, in room 4."),
        ("And at night?", "Ring the bell twice."),
        ("Is the answer supported?", "yes"),
        ("When does it leave?", "At 07:40, daily."),
    )
)
QUESTION = Generation(SAMPLES[1].messages, None, 12)


def open_base(base: Base, precision: Precision, compute: str = "float32") -> LocalEngine:
    return LocalEngine(load_weights(base, precision=precision, compute=compute, device="cpu"))


def train(engine: LocalEngine, folder: Path, out: Path, samples: tuple[CanarySample, ...], steps: int = 40) -> Path:
    """Fit the LoRA in `folder` to the samples' replies, in the engine's own tokens, and save it to `out`."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(engine.loaded.base.location, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-2)
    rows = [(engine.tokens.prompt(s.messages), engine.tokens.reply(s.reply)) for s in samples]
    for _ in range(steps):
        for prompt, reply in rows:
            labels = torch.tensor([[-100] * len(prompt) + reply])
            tuned(input_ids=torch.tensor([prompt + reply]), labels=labels, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    tuned.save_pretrained(str(out), save_embedding_layers=False)
    (out / "README.md").unlink()
    return out


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return dataclasses.replace(resolve_base(str(tiny_base)), id="tiny")


@pytest.fixture(scope="module")
def trained(base: Base, tiny_adapter: MakeAdapter, tiny_card: MakeCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete rewriter adapter: trained on the fp32 base, canaries recorded there, card written. Not to be changed."""
    engine = open_base(base, Precision.FP32)
    out = tmp_path_factory.mktemp("trained")
    folder = train(engine, tiny_adapter(base_folder(base), 1, Role.REWRITER), out, SAMPLES)
    engine.load_adapter("new", folder)
    (folder / "canaries.json").write_text(canaries_json(record_canaries(engine, "new", SAMPLES)))
    (folder / "card.json").write_text(card_json(tiny_card(folder, base, Role.REWRITER)))
    return folder


def base_folder(base: Base) -> Path:
    return Path(base.location)


@pytest.fixture(scope="module")
def engine(base: Base) -> LocalEngine:
    return open_base(base, Precision.FP32)


@pytest.fixture
def bare(engine: LocalEngine) -> Iterator[LocalEngine]:
    """The shared engine, checked to be without adapters and to answer as before when the test ends."""
    before = engine.generate([QUESTION])
    yield engine
    for name in engine.adapters:
        engine.unload_adapter(name)
    assert engine.generate([QUESTION]) == before


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None], *, reseal: bool) -> None:
    """`reseal` puts the new digest on the card: the change is then to be found by what the adapter does."""
    import hashlib

    from safetensors.numpy import load_file, save_file

    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    if reseal:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        change_json(folder / "card.json", lambda card: card["identity"].update(weights_digest=digest))


def test_recorded_canaries_are_log_probabilities(base: Base, trained: Path, bare: LocalEngine) -> None:
    """Against a plain forward pass of transformers and peft over prompt and reply."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.location, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(model, str(trained))
    tuned.eval()
    canaries = read_canaries(trained)
    assert len(canaries) == 4
    for canary in canaries:
        prompt, reply = bare.tokens.prompt(canary.messages), bare.tokens.reply(canary.reply)
        ids = torch.tensor([prompt + reply])

        def mean(model: Any, ids: Any = ids, reply: list[int] = reply, start: int = len(prompt) - 1) -> float:
            with torch.no_grad():
                logprobs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0], -1)
            return float(sum(logprobs[start + n, token] for n, token in enumerate(reply)) / len(reply))

        assert canary.tuned_logprob == pytest.approx(mean(tuned), abs=1e-4)
        with tuned.disable_adapter():
            assert canary.base_logprob == pytest.approx(mean(tuned), abs=1e-4)


def test_canaries_that_move_most_are_kept(base: Base, trained: Path, bare: LocalEngine) -> None:
    bare.load_adapter("new", trained)
    every = record_canaries(bare, "new", SAMPLES, keep=5)
    assert [c.effect for c in every] == sorted((c.effect for c in every), reverse=True)
    assert record_canaries(bare, "new", SAMPLES, keep=2) == every[:2]
    with pytest.raises(AdapterError, match="no samples"):
        record_canaries(bare, "new", [])


def test_proven_adapter_serves(base: Base, trained: Path, bare: LocalEngine) -> None:
    card = load_proven(bare, "rewriter", trained, base, role=Role.REWRITER)
    assert card.role is Role.REWRITER and bare.adapters == ("rewriter",)
    reply = bare.generate([dataclasses.replace(QUESTION, adapter="rewriter")])[0]
    assert reply.text == SAMPLES[1].reply


@pytest.mark.parametrize(
    ("precision", "compute"),
    [
        (Precision.NF4, "float32"),
        (Precision.NF4, "bfloat16"),
        (Precision.INT8, "float32"),
        (Precision.BF16, "auto"),
        (Precision.FP16, "auto"),
    ],
)
def test_same_base_in_another_precision_passes(base: Base, trained: Path, precision: Precision, compute: str) -> None:
    engine = open_base(base, precision, compute)
    load_proven(engine, "rewriter", trained, base)
    assert engine.adapters == ("rewriter",)


def test_canaries_recorded_on_nf4_pass_on_fp32(base: Base, trained: Path, bare: LocalEngine) -> None:
    quantized = open_base(base, Precision.NF4)
    quantized.load_adapter("new", trained)
    canaries = record_canaries(quantized, "new", SAMPLES)
    bare.load_adapter("new", trained)
    check_canaries(bare, "new", canaries)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.NF4])
def test_another_adapter_or_none_does_not_pass(
    base: Base, trained: Path, tiny_adapter: MakeAdapter, precision: Precision
) -> None:
    engine = open_base(base, precision)
    engine.load_adapter("other", tiny_adapter(base_folder(base), 2, Role.REWRITER))
    canaries = read_canaries(trained)
    with pytest.raises(NoEffect):
        check_canaries(engine, "other", canaries)
    with pytest.raises(NoEffect, match="like the bare base's"):
        check_canaries(engine, "__base__", canaries)


def test_wrong_scaling_is_found(base: Base, copy: Path, bare: LocalEngine) -> None:
    """The weights are the card's own, but a setting beside them was changed; of use_rslora only what the adapter does tells."""
    change_json(copy / "adapter_config.json", lambda config: config.update(lora_alpha=2))
    with pytest.raises(IdentityMismatch, match=r"says rank 4 and alpha 2, its card 4 and 8"):
        load_proven(bare, "rewriter", copy, base)
    change_json(copy / "adapter_config.json", lambda config: config.update(lora_alpha=8, use_rslora=True))
    with pytest.raises(NoEffect, match="canary replies come out"):
        load_proven(bare, "rewriter", copy, base)
    assert bare.adapters == ()


def test_faint_delta_is_found(base: Base, copy: Path, bare: LocalEngine) -> None:
    def fade(weights: dict[str, Any]) -> None:
        for key in weights:
            if "lora_B" in key:
                weights[key] *= 1e-4

    change_weights(copy, fade, reseal=True)
    with pytest.raises(NoEffect, match=r"adapter rewriter .* on tiny: canary replies come out like the bare base's"):
        load_proven(bare, "rewriter", copy, base)
    assert bare.adapters == ()


def test_zero_delta_is_found_before_loading(base: Base, copy: Path, bare: LocalEngine) -> None:
    change_weights(copy, lambda weights: [w.fill(0) for k, w in weights.items() if "lora_B" in k] and None, reseal=True)
    with pytest.raises(NoEffect, match="every A or B matrix is zero"):
        load_proven(bare, "rewriter", copy, base)


def test_exchanged_weights_are_found(base: Base, copy: Path, bare: LocalEngine) -> None:
    change_weights(copy, lambda weights: [w.__imul__(2) for w in weights.values()] and None, reseal=False)
    with pytest.raises(IdentityMismatch, match="the weights were changed or exchanged"):
        load_proven(bare, "rewriter", copy, base)


def test_truncated_weights_are_found(base: Base, copy: Path, bare: LocalEngine) -> None:
    path = copy / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors: is truncated"):
        load_proven(bare, "rewriter", copy, base)


def test_layer_that_the_base_has_not(base: Base, copy: Path, bare: LocalEngine) -> None:
    def move(weights: dict[str, Any]) -> None:
        for key in [k for k in weights if "layers.1." in k]:
            weights[key.replace("layers.1.", "layers.7.")] = weights.pop(key)

    change_weights(copy, move, reseal=True)
    with pytest.raises(NoEffect, match="weights name no module of this base"):
        load_proven(bare, "rewriter", copy, base)


def test_shape_that_does_not_fit(base: Base, copy: Path, bare: LocalEngine) -> None:
    import numpy as np

    def widen(weights: dict[str, Any]) -> None:
        key = next(k for k in weights if "q_proj.lora_A" in k)
        weights[key] = np.ones((weights[key].shape[0], 32), np.float32)

    change_weights(copy, widen, reseal=True)
    with pytest.raises(AdapterError, match="does not load on this base") as caught:
        load_proven(bare, "rewriter", copy, base)
    assert "\n" not in str(caught.value)
    assert bare.adapters == ()


def test_missing_canaries(base: Base, copy: Path, bare: LocalEngine) -> None:
    (copy / "canaries.json").unlink()
    with pytest.raises(AdapterError, match=r"canaries\.json: is missing"):
        load_proven(bare, "rewriter", copy, base)


def test_identity(base: Base, trained: Path, copy: Path, bare: LocalEngine) -> None:
    other = dataclasses.replace(base, id="other", digest="f" * 16)
    with pytest.raises(IdentityMismatch, match=rf"trained on base tiny \(digest {base.digest}\), here is other \(digest f+\)"):
        load_proven(bare, "rewriter", trained, other)
    with pytest.raises(IdentityMismatch, match="is a rewriter adapter, not one for the judge"):
        load_proven(bare, "judge", trained, base, role=Role.JUDGE)
    change_json(copy / "card.json", lambda card: card["identity"].update(contract_hash="0" * 16))
    with pytest.raises(IdentityMismatch, match="trained on prompts of contract 0000000000000000, this LoRAG writes"):
        load_proven(bare, "rewriter", copy, base)
    assert bare.adapters == ()


def test_embedder_card_is_no_generation_adapter(base: Base, trained: Path, tiny_card: MakeCard) -> None:
    card = dataclasses.replace(tiny_card(trained, base, Role.REWRITER), role=Role.EMBEDDER)
    with pytest.raises(AdapterError, match="no generation adapter"):
        verify_identity(card, base, weights_digest=card.identity.weights_digest)


def test_interrupted_proof_leaves_no_adapter(
    base: Base, trained: Path, bare: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> list[list[float]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(bare, "reply_logprobs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_proven(bare, "rewriter", trained, base)
    assert bare.adapters == ()


def test_published_version_proves_itself(
    base: Base, trained: Path, tiny_card: MakeCard, bare: LocalEngine, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "adapters")
    version = registry.publish(Role.REWRITER, trained, tiny_card(trained, base, Role.REWRITER))
    card = load_proven(bare, "rewriter", version.folder, base)
    assert card.version == version.id


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_loading_leaves_a_4_bit_base_as_it_was(base: Base, tiny_adapter: MakeAdapter, compute: str) -> None:
    """To the last bit, with layers that have run before: bitsandbytes repacks those, and peft's loading unpacks them wrongly."""
    engine = open_base(base, Precision.NF4, compute)

    def logprobs(name: str) -> list[list[float]]:
        from lorag.pipeline.engine.protocol import ChoiceRequest

        return engine.reply_logprobs([ChoiceRequest(s.messages, (s.reply,), name) for s in SAMPLES])

    bare = logprobs("__base__")
    folders = [tiny_adapter(base_folder(base), seed, Role.REWRITER) for seed in (1, 2)]
    engine.load_adapter("first", folders[0])
    first = logprobs("first")
    engine.load_adapter("second", folders[1])
    assert logprobs("first") == first
    assert logprobs("__base__") == bare
    engine.unload_adapter("first")
    engine.unload_adapter("second")
    assert logprobs("__base__") == bare
    engine.load_adapter("first", folders[0])
    assert logprobs("first") == first


def test_failed_load_leaves_the_base_as_it_was(base: Base, copy: Path, trained: Path) -> None:
    """An adapter that peft gives up on half way must not stay on the model, neither first nor beside another."""
    import numpy as np

    def widen(weights: dict[str, Any]) -> None:
        key = next(k for k in weights if "q_proj.lora_A" in k)
        weights[key] = np.ones((weights[key].shape[0], 32), np.float32)

    change_weights(copy, widen, reseal=False)
    engine = open_base(base, Precision.FP32)
    plain = engine.generate([QUESTION])
    for _ in range(2):
        with pytest.raises(AdapterError):
            engine.load_adapter("broken", copy)
        assert engine.generate([QUESTION]) == plain
        if not engine.adapters:
            engine.load_adapter("good", trained)
    assert engine.adapters == ("good",)
    assert engine.generate([dataclasses.replace(QUESTION, adapter="good")])[0].text == SAMPLES[1].reply


def test_canary_effect_and_tolerance() -> None:
    canary = Canary((), "", -1.0, -3.0)
    assert (canary.effect, canary.tolerance) == (2.0, pytest.approx(0.8))
