"""`lorag adapters import`: adapters that plain trl, peft and sentence-transformers made come in; others are refused in a line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.card import NOT_KNOWN
from lorag.pipeline.adapters.proof import load_proven, prove_embedder
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.contracts import contract_hash, rewrite
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
THINGS = ("key", "bell", "ferry", "quay")


def rows(things: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"about-{thing}",
            "history": [f"User: Where is the {thing}?", "Assistant: It is here."],
            "question": "And at night?",
            "rewrite": f"Where is the {thing} at night?",
        }
        for thing in things
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Held-out rows alone: nothing was trained here."""
    folder = tmp_path / "rows"
    (folder / "dev").mkdir(parents=True)
    asked = [{"query_id": t, "query": f"Where is the {t}?", "positive_ids": ["x#1"]} for t in THINGS]
    for role, made in (("rewriter", rows(THINGS)), ("embedder", asked)):
        (folder / "dev" / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return folder


def train_with_plain_trl(base: Path, out: Path) -> Path:
    """What a user of trl does: SFTTrainer on prompt and completion, its checkpoint as it writes it. Float32 weights."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    history = (Turn(Speaker.USER, "Where is the mast?"), Turn(Speaker.ASSISTANT, "It is here."))
    prompt = [{"role": m.role, "content": m.content} for m in rewrite.messages(history, "And at night?")]
    completion = [{"role": "assistant", "content": rewrite.target("Where is the mast at night?")}]
    torch.manual_seed(0)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(out),
            max_steps=3,
            learning_rate=2e-2,
            per_device_train_batch_size=1,
            save_steps=3,
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt, "completion": completion}]),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"),
    )
    trainer.train()
    return out / "checkpoint-3"


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")  # trl 1.16 sets it itself
def test_an_adapter_of_plain_trl_comes_in_with_its_origin_and_nothing_claimed(lorag, project, data: Path, tmp_path: Path) -> None:
    folder = train_with_plain_trl(project.base, tmp_path / "trl")
    beside = {path.name for path in folder.iterdir()}
    assert {"tokenizer.json", "training_args.bin", "README.md"} <= beside  # left behind, unread
    done = lorag("adapters", "import", folder, "--role", "rewriter", "--data", data, "--project", project.folder, "-o", "json")
    assert done.code == 0, done.err
    registry, base = Registry(project.adapters), resolve_base(str(project.base))
    version = registry.resolve(Role.REWRITER, "candidate")
    assert done.json() == {"role": "rewriter", "version": version.id, "folder": str(version.folder)}
    assert {path.name for path in version.folder.iterdir()} == {CONFIG, WEIGHTS, "canaries.json", "card.json", "README.md"}
    assert (version.folder / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    card = registry.show(Role.REWRITER, "candidate")
    assert card.origin is not None and card.origin.folder == "checkpoint-3" and card.origin.base == str(project.base)
    assert (card.identity.base_digest, card.identity.precision) == (base.digest, NOT_KNOWN)
    assert (card.training.method, card.data.name, card.training.steps) == (NOT_KNOWN, NOT_KNOWN, 0)
    assert str(tmp_path) not in (version.folder / CONFIG).read_text()

    engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
    load_proven(engine, "it", version.folder, base, role=Role.REWRITER)
    shown = lorag("adapters", "show", "rewriter", "candidate", "--project", project.folder).out
    assert "elsewhere; how and on what is not known" in shown and "0 steps" not in shown
    assert "no held-out comparison" in lorag("adapters", "promote", "rewriter", "--project", project.folder).error_line
    readme = lorag("adapters", "card", "rewriter", "candidate", "--format", "hf", "--project", project.folder).out
    assert readme == (version.folder / "README.md").read_text()
    assert "trained elsewhere and imported" in readme and "learning rate" not in readme


def test_an_adapter_of_sentence_transformers_comes_in(lorag, project, data: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(project.encoder), device="cpu")
    torch.manual_seed(1)
    model.add_adapter(LoraConfig(r=4, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.transformers_model.save_pretrained(str(tmp_path / "st"))
    done = lorag("adapters", "import", tmp_path / "st", "--role", "embedder", "--data", data, "--project", project.folder)
    assert done.code == 0, done.err
    version = Registry(project.adapters).resolve(Role.EMBEDDER, "candidate")
    embedder = SentenceTransformerEmbedder(str(project.encoder), adapter=version.folder)
    assert prove_embedder(embedder, version.folder).identity.pooling == "mean"
    # And out again: plain sentence-transformers loads the published folder and gives the same vectors.
    plain = SentenceTransformer(str(project.encoder), device="cpu")
    plain.load_adapter(str(version.folder))
    text = "Where is the key?"
    assert plain.encode([text], normalize_embeddings=True) == pytest.approx(embedder.embed_queries([text]), abs=1e-5)


@pytest.mark.parametrize("role", [Role.REWRITER, Role.EMBEDDER])
def test_row_lengths_of_dora_come_in_under_their_other_name(role: Role, lorag, project, data: Path, tmp_path: Path) -> None:
    """As files of some versions name them: `lora_magnitude_vector.weight`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file
    from transformers import AutoModel, AutoModelForCausalLM

    embeds = role is Role.EMBEDDER
    kind, model = (AutoModel, project.encoder) if embeds else (AutoModelForCausalLM, project.base)
    config = LoraConfig(r=4, target_modules=r".*(query|q_proj)", use_dora=True)
    torch.manual_seed(5)
    tuned = get_peft_model(kind.from_pretrained(str(model), dtype=torch.float32), config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name or "magnitude" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path / "dora"
    tuned.save_pretrained(str(folder))
    tensors = load_file(folder / WEIGHTS)
    save_file({f"{n}.weight" if n.endswith("vector") else n: t for n, t in tensors.items()}, folder / WEIGHTS)
    done = lorag("adapters", "import", folder, "--role", role.value, "--data", data, "--project", project.folder)
    assert done.code == 0, done.err
    version = Registry(project.adapters).resolve(role, "candidate")
    assert json.loads((version.folder / CONFIG).read_text())["target_modules"] == ["query" if embeds else "q_proj"]


Spoil = Callable[[Path], None]


def settings(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def for_wider_base(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    save_file({n: t.repeat(2, axis=1) if "lora_A" in n else t for n, t in tensors.items()}, folder / WEIGHTS)


def for_other_names(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    save_file({n.replace("model.layers", "transformer.h"): t for n, t in tensors.items()}, folder / WEIGHTS)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "another base": (
        settings(base_model_name_or_path="Qwen/Qwen3-0.6B"),
        "was made for the base Qwen/Qwen3-0.6B, this",
    ),
    "another size": (for_wider_base, "take 256 values and give 64, in"),
    "another architecture": (for_other_names, "which is no linear layer of"),
    "another kind": (settings(peft_type="IA3"), "peft_type is 'IA3'; allowed: LORA; only LoRA shares a base with other adapters"),
    "modules to save": (settings(modules_to_save=["lm_head"]), "it replaces whole modules of the base, which all adapters share"),
    "rank": (settings(r=2048), "r is 2048; allowed: 1 to 1024"),
    "pissa": (settings(init_lora_weights="pissa"), "it belongs on a base that was changed first"),
    "unknown key": (settings(shiny_new_thing=7), "shiny_new_thing is 7; allowed: nothing but null, false or empty"),
    "pickle": (pickled, "pickled weights run code when read; let peft save adapter_model.safetensors"),
    "no settings": (lambda folder: (folder / CONFIG).unlink(), "adapter_config.json is missing; give the folder that peft's"),
    "no folder": (shutil.rmtree, "no adapter folder; give the folder that peft's save_pretrained wrote"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_belong_is_refused_in_one_line(case: str, lorag, project, tiny_adapter, data: Path) -> None:
    spoil, words = REFUSED[case]
    folder = tiny_adapter(project.base, 7, Role.REWRITER)
    spoil(folder)
    done = lorag("adapters", "import", folder, "--role", "rewriter", "--data", data, "--project", project.folder)
    assert done.code == 2 and words in done.error_line
    assert not project.adapters.exists()


def test_what_the_user_vouches_for(lorag, project, tiny_adapter, data: Path) -> None:
    folder = tiny_adapter(project.base, 7, Role.REWRITER)
    settings(base_model_name_or_path="somebody/same-model")(folder)
    given = ("adapters", "import", folder, "--role", "rewriter", "--data", data, "--project", project.folder)
    wrong = lorag(*given, "--same-base", "--contract", "0123")
    assert wrong.code == 2 and "was trained on prompts of contract 0123, this LoRAG writes" in wrong.error_line
    claims = ("--contract", contract_hash(Role.REWRITER), "--precision", "nf4", "--licence", "mit")
    done = lorag(*given, "--same-base", *claims)
    assert done.code == 0, done.err
    card = Registry(project.adapters).show(Role.REWRITER, "candidate")
    assert (card.identity.precision, card.licence) == ("nf4", "mit") and "as its importer says" in card.notes


def test_an_adapter_that_moves_nothing_is_refused(lorag, project, tiny_adapter, data: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tiny_adapter(project.base, 7, Role.REWRITER)
    save_file({n: t * 1e-6 for n, t in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    done = lorag("adapters", "import", folder, "--role", "rewriter", "--data", data, "--project", project.folder)
    assert done.code == 2 and "nats" in done.error_line


def test_without_held_out_rows_there_is_no_proof(lorag, project, tiny_adapter, tmp_path: Path) -> None:
    folder = tiny_adapter(project.base, 7, Role.REWRITER)
    (tmp_path / "empty").mkdir()
    done = lorag("adapters", "import", folder, "--role", "rewriter", "--data", tmp_path / "empty", "--project", project.folder)
    assert done.code == 2 and "no dev/rewriter.jsonl" in done.error_line
