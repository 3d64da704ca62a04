"""From a data folder and a recipe to a published candidate, for each role, on tiny models; and what is refused before that."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.canaries import read_canaries, read_embed_canaries
from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.proof import load_proven, prove_embedder
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.contracts import contract_hash, rewrite, synthesize
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, BaseError, DataError, IdentityMismatch, TrainingError
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder, adapter_digest
from lorag.pipeline.storage.digests import file_digest
from lorag.training.contrastive import train_embedder
from lorag.training.passage_search import plain_retrieval
from lorag.training.progress import Progress
from lorag.training.publish import CANARY_SAMPLES
from lorag.training.recipe import Recipe, changed, parse_recipe
from lorag.training.recipe_parts import Stopping
from lorag.training.run import train_role

THINGS = ("ferry", "crane", "pilot", "porter", "quay", "lock", "tug", "bridge")
HOURS = tuple(f"{5 + n:02d}:40" for n in range(len(THINGS)))
HISTORY = ["User: What about the {}?", "Assistant: It is at work."]
INTENTS = {"ask": "wants to know", "thank": "is content"}


def passage(n: int) -> str:
    return f"{THINGS[n]}.md#1"


def rows_of(role: Role, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
    """Rows of one role about the things with these numbers."""
    rows: list[Mapping[str, Any]] = []
    for n in numbers:
        thing, gold = THINGS[n], passage(n)
        history = [turn.format(thing) for turn in HISTORY]
        if role is Role.REWRITER:
            turn = {"question": "When is it due?", "rewrite": f"When is the {thing} due?", "conversation": f"about {thing}"}
            rows.append({"id": f"r{n}", "history": history, **turn})
        elif role is Role.SYNTHESIZER:
            asked = {"question": f"When is the {thing} due?", "answers": [HOURS[n]], "passage_ids": [gold], "answerable": True}
            rows.append({"id": f"s{n}", **asked})
        elif role is Role.EMBEDDER:
            rows.append({"query_id": f"e{n}", "query": f"{thing} when", "positive_ids": [gold]})
        else:
            label = ("supported", "unsupported")[n % 2]
            answer = HOURS[n] if label == "supported" else "never"
            inputs = {"answer": answer, "passages": [{"title": thing, "text": f"The {thing} is due at {HOURS[n]}."}]}
            rows.append({"id": f"j{n}", "task": "support", "inputs": inputs, "label": label})
            rows.append({"id": f"i{n}", "task": "intent", "inputs": {"message": f"{thing}?"}, "label": "ask"})
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six things to train on, two held out, for every role."""
    folder = tmp_path / "harbour"
    write(
        folder / "passages.jsonl",
        [{"id": passage(n), "title": thing, "text": f"The {thing} is due at {HOURS[n]}."} for n, thing in enumerate(THINGS)],
    )
    for role in (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE, Role.EMBEDDER):
        write(folder / "train" / f"{role.value}.jsonl", rows_of(role, range(6)))
        write(folder / "dev" / f"{role.value}.jsonl", rows_of(role, range(6, 8)))
    return folder


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """A run keeps the libraries quiet while it lasts and gives their loggers back as they were."""
    names = ("bitsandbytes", "peft", "sentence_transformers", "trl")
    before = [logging.getLogger(name).level for name in names]
    yield
    assert [logging.getLogger(name).level for name in names] == before


def recipe(role: Role, **optimiser: Any) -> Recipe:
    steps = {"learning_rate": 1e-2, "batch_size": 3, "max_steps": 6, "checkpoint_every": 2, **optimiser}
    targets = ["query", "value"] if role is Role.EMBEDDER else "all-linear"
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": targets}
    precision = {} if role is Role.EMBEDDER else {"precision": "fp32"}
    return parse_recipe({"role": role.value, **precision, "lora": lora, "optimiser": steps})


@pytest.fixture
def train(data: Path, tiny_base: Path, tiny_encoder: Path, tmp_path: Path) -> Any:
    def run(role: Role, how: Recipe | None = None, **options: Any) -> Version:
        return train_role(
            role,
            data=data,
            recipe=how or recipe(role),
            base=options.pop("base", str(tiny_base)),
            embedder=str(tiny_encoder),
            registry=Registry(tmp_path / "adapters"),
            run_folder=options.pop("run_folder", tmp_path / "runs" / role.value),
            retrieval=options.pop("retrieval", plain_retrieval(str(tiny_encoder), 3)),
            intents=INTENTS,
            **options,
        )

    return run


def card_of(version: Version, tmp_path: Path) -> AdapterCard:
    return Registry(tmp_path / "adapters").show(version.role, version.id)


def test_a_rewriter_from_rows_to_a_proven_candidate(train: Any, data: Path, tiny_base: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    version = train(Role.REWRITER, on_progress=seen.append)
    assert (version.role, version.aliases) == (Role.REWRITER, ("candidate",))
    assert [(p.step, p.total) for p in seen] == [(n, 6) for n in range(1, 7)]

    base = resolve_base(str(tiny_base))
    card = card_of(version, tmp_path)
    assert (card.identity.base, card.identity.base_digest) == (base.id, base.digest)
    assert card.identity.contract_hash == contract_hash(Role.REWRITER)
    assert card.identity.weights_digest == file_digest(version.folder / "adapter_model.safetensors")
    assert (card.identity.precision, card.identity.pooling, card.identity.query_side_only) == ("float32", "", False)
    assert (card.lora.rank, card.lora.alpha, card.lora.parameters) == (4, 8, 2 * 4 * (2 * 128 + 2 * 96 + 3 * 192))
    assert card.lora.share == pytest.approx(
        card.lora.parameters / load_weights(base, precision=Precision.FP32).model.num_parameters()
    )
    assert card.data.name == "harbour" and card.data.rows == 6 and dict(card.data.splits) == {"train": 6}
    assert dict(card.data.files) == {"train/rewriter.jsonl": file_digest(data / "train" / "rewriter.jsonl")}
    assert (card.training.steps, card.training.batch, card.training.seed, card.training.learning_rate) == (6, 3, 0, 1e-2)
    assert card.training.final_loss == pytest.approx(seen[-1].loss)
    assert card.evidence == () and "torch" in card.libraries

    canaries = read_canaries(version.folder)
    turns = [
        tuple(Turn(s, t.format(THINGS[n]).partition(": ")[2]) for s, t in zip(_SPEAKERS, HISTORY, strict=True)) for n in (6, 7)
    ]
    held_out = {
        rewrite.messages(turn, "When is it due?"): f"When is the {THINGS[n]} due?" for n, turn in zip((6, 7), turns, strict=True)
    }
    assert {canary.messages: canary.reply for canary in canaries} == held_out

    engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
    bare = engine.generate([Generation(canaries[0].messages, None, 12)])[0].text
    load_proven(engine, "rewriter", version.folder, base, role=Role.REWRITER)
    assert engine.generate([Generation(canaries[0].messages, "rewriter", 12)])[0].text != bare


_SPEAKERS = (Speaker.USER, Speaker.ASSISTANT)


@pytest.mark.parametrize("role", [Role.SYNTHESIZER, Role.JUDGE])
def test_the_other_generation_roles(role: Role, train: Any, data: Path, tiny_base: Path, tmp_path: Path) -> None:
    version = train(role)
    card = card_of(version, tmp_path)
    files = {f"train/{role.value}.jsonl", *(["passages.jsonl"] if role is Role.SYNTHESIZER else [])}
    assert set(card.data.files) == files and card.identity.contract_hash == contract_hash(role)
    base = resolve_base(str(tiny_base))
    engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
    load_proven(engine, role.value, version.folder, base, role=role)
    for canary in read_canaries(version.folder):
        if role is Role.SYNTHESIZER:  # as it will serve: k passages, the gold one among them
            content = canary.messages[0].content
            assert content.count("is due at") == 3
            reply = synthesize.parse(canary.reply, 3)
            assert reply.refused or f"[{reply.numbers[0]}] {content.partition('When is the ')[2].split()[0]}\n" in content
        else:
            assert canary.reply in ("supported", "unsupported", "ask")


def test_an_embedder(train: Any, data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    version = train(Role.EMBEDDER, recipe(Role.EMBEDDER, max_steps=8, learning_rate=5e-2))
    card = card_of(version, tmp_path)
    assert (card.identity.base, card.identity.pooling) == (str(tiny_encoder), "mean")
    assert {canary.text for canary in read_embed_canaries(version.folder)} == {f"{THINGS[n]} when" for n in (6, 7)}
    prove_embedder(SentenceTransformerEmbedder(str(tiny_encoder), adapter=version.folder), version.folder)


def test_an_embedder_is_stopped_by_its_dev_rows_and_tells_so_on_its_card(train: Any, data: Path, tmp_path: Path) -> None:
    how = recipe(Role.EMBEDDER, learning_rate=5e-2)
    how = changed(how, dev=Stopping(every=2, patience=9, items=5))
    dev = card_of(train(Role.EMBEDDER, how), tmp_path).training.dev
    assert dev.keys() == {"nDCG@10", "MRR@10", "Recall@10", "best step"}
    assert dev["best step"] in (2, 4, 6) and 0 < dev["nDCG@10"] <= 1
    (data / "dev" / "embedder.jsonl").rename(data / "test.jsonl")
    write(data / "test" / "embedder.jsonl", rows_of(Role.EMBEDDER, range(6, 8)))
    told: list[str] = []
    version = train(Role.EMBEDDER, how, on_notice=told.append, resume=False, run_folder=tmp_path / "runs" / "without-dev")
    assert card_of(version, tmp_path).training.dev == {}
    assert told == [f"no dev/embedder.jsonl in {data}: the run goes to its end, and its last step is published"]


@pytest.mark.parametrize(
    ("role", "metric"), [(Role.REWRITER, "ROUGE-1"), (Role.SYNTHESIZER, "F1 with citations"), (Role.JUDGE, "macro-F1")]
)
def test_a_generation_role_is_stopped_by_its_dev_rows_and_tells_so_on_its_card(
    role: Role, metric: str, train: Any, tmp_path: Path
) -> None:
    how = changed(recipe(role, max_steps=4), dev=Stopping(every=2, patience=2, items=2))
    card = card_of(train(role, how), tmp_path)
    assert 0 <= card.training.dev[metric] <= 1 and card.training.dev["best step"] in (2.0, 4.0)


def test_hard_negatives_are_mined_by_the_embedder_that_serves(
    train: Any, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    miners: list[SentenceTransformerEmbedder | None] = []

    def trained(*args: Any, miner: SentenceTransformerEmbedder | None, **options: Any) -> Any:
        miners.append(miner)
        return train_embedder(*args, miner=miner, **options)

    monkeypatch.setattr("lorag.training.run.train_embedder", trained)
    how = recipe(Role.EMBEDDER, max_steps=4, learning_rate=5e-2)
    version, plain = train(Role.EMBEDDER, how), plain_retrieval(str(tiny_encoder), 3)

    def tuned() -> SentenceTransformerEmbedder:
        return SentenceTransformerEmbedder(str(tiny_encoder), adapter=version.folder)

    def of_another_model() -> SentenceTransformerEmbedder:
        raise IdentityMismatch("embedder 0001 was trained on another model")

    train(Role.EMBEDDER, how, run_folder=tmp_path / "runs" / "2", retrieval=replace(plain, open_embedder=tuned))
    assert miners[0] is None and miners[1] is not None
    assert miners[1].identity.adapter_digest == adapter_digest(version.folder)
    told: list[str] = []
    other = replace(plain, open_embedder=of_another_model)
    train(Role.EMBEDDER, how, run_folder=tmp_path / "runs" / "3", retrieval=other, on_notice=told.append)
    assert miners[2] is None
    assert told == [f"hard negatives are mined by the bare {tiny_encoder}: embedder 0001 was trained on another model"]


def test_a_second_run_is_a_second_version(train: Any, tmp_path: Path) -> None:
    first = train(Role.REWRITER)
    second = train(Role.REWRITER, resume=True)
    registry = Registry(tmp_path / "adapters")
    assert [version.id for version in registry.list(Role.REWRITER)] == [first.id, second.id]
    assert dict(registry.aliases(Role.REWRITER)) == {"candidate": second.id}
    weights = [version.folder / "adapter_model.safetensors" for version in (first, second)]
    assert weights[0].read_bytes() == weights[1].read_bytes()  # the run was finished, so nothing was trained again


def test_an_interrupt_publishes_nothing_and_the_run_goes_on(train: Any, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Role.REWRITER, on_progress=stop)
    assert Registry(tmp_path / "adapters").list() == ()
    seen: list[int] = []
    version = train(Role.REWRITER, resume=True, on_progress=lambda progress: seen.append(progress.step))
    assert seen == [5, 6]
    assert card_of(version, tmp_path).training.steps == 6


def test_rows_that_are_too_long_are_told(train: Any, data: Path, tmp_path: Path) -> None:
    rows = rows_of(Role.REWRITER, range(6))
    write(data / "train" / "rewriter.jsonl", [*rows, {**rows[0], "id": "endless", "rewrite": "when " * 400}])
    told: list[str] = []
    before: list[list[str]] = []
    how = recipe(Role.REWRITER, max_length=300)
    version = train(Role.REWRITER, how, on_notice=told.append, on_progress=lambda _: before.append(list(told)))
    assert before[0] == told == ["1 of 7 rows are longer than 300 tokens and are left out: endless"]
    assert card_of(version, tmp_path).data.rows == 6


def test_held_out_rows_that_are_trained_on_are_told_before(train: Any, data: Path) -> None:
    rows = rows_of(Role.REWRITER, range(6))
    twin = {**rows[2], "id": "twin", "conversation": "another", "group": "another", "passage_ids": []}
    write(data / "dev" / "rewriter.jsonl", [twin])
    told: list[str] = []
    train(Role.REWRITER, on_notice=told.append)
    (line,) = told
    assert line.startswith(
        "1 rows of dev/rewriter.jsonl stand word for word in train/rewriter.jsonl too, such as dev/rewriter.jsonl:1"
    )


def test_a_part_of_the_rows_is_drawn_by_seed(train: Any, tmp_path: Path) -> None:
    how = changed(recipe(Role.REWRITER, max_steps=2), max_rows=4)
    assert card_of(train(Role.REWRITER, how), tmp_path).data.rows == 4


def _leak(data: Path) -> None:
    write(data / "dev" / "rewriter.jsonl", rows_of(Role.REWRITER, [5, 6]))


def _leak_of_a_document(data: Path) -> None:
    write(data / "test" / "embedder.jsonl", rows_of(Role.EMBEDDER, [0]))


def _no_held_out(data: Path) -> None:
    (data / "dev" / "rewriter.jsonl").unlink()


def _held_out_without_history(data: Path) -> None:
    write(data / "dev" / "rewriter.jsonl", [{**row, "history": []} for row in rows_of(Role.REWRITER, [6, 7])])


def _no_history(data: Path) -> None:
    write(data / "train" / "rewriter.jsonl", [{**row, "history": []} for row in rows_of(Role.REWRITER, range(6))])


def _no_rows(data: Path) -> None:
    (data / "train" / "rewriter.jsonl").unlink()


def _blank_rewrite(data: Path) -> None:
    write(data / "train" / "rewriter.jsonl", [{**rows_of(Role.REWRITER, [0])[0], "rewrite": " "}])


def _unknown_passage(data: Path) -> None:
    write(data / "train" / "synthesizer.jsonl", [{**rows_of(Role.SYNTHESIZER, [0])[0], "passage_ids": ["gone.md#1"]}])


@pytest.mark.parametrize(
    ("role", "change", "kind", "message"),
    [
        (
            Role.REWRITER,
            _leak,
            DataError,
            r"1 items of dev/rewriter\.jsonl are in train/rewriter\.jsonl too, such as conversation",
        ),
        (Role.SYNTHESIZER, _leak_of_a_document, DataError, r"test/embedder\.jsonl are in train/synthesizer\.jsonl too"),
        (Role.REWRITER, _no_held_out, DataError, r"no dev/rewriter\.jsonl in .*; a few held-out rows are needed"),
        (
            Role.REWRITER,
            _held_out_without_history,
            DataError,
            r"dev/rewriter\.jsonl in .* has no row to prove the adapter's effect",
        ),
        (Role.REWRITER, _no_history, TrainingError, "no row to train on"),
        (Role.REWRITER, _no_rows, DataError, r"no train/rewriter\.jsonl in"),
        (Role.REWRITER, _blank_rewrite, DataError, r"train/rewriter\.jsonl:1"),
        (Role.SYNTHESIZER, _unknown_passage, DataError, r"passage 'gone\.md#1' is not in passages\.jsonl"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_before_the_first_step(
    role: Role, change: Any, kind: type[Exception], message: str, train: Any, data: Path, tmp_path: Path
) -> None:
    change(data)
    with pytest.raises(kind, match=message) as caught:
        train(role, on_progress=lambda _: pytest.fail("trained"))
    assert "\n" not in str(caught.value)
    assert Registry(tmp_path / "adapters").list() == ()
    assert not (tmp_path / "runs" / role.value / "adapter").exists()


def test_an_unknown_base_is_refused(train: Any, tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="no config.json there"):
        train(Role.REWRITER, base=str(tmp_path / "nowhere"))


def test_a_run_without_effect_is_not_published(train: Any, tmp_path: Path) -> None:
    """So low a rate that no held-out reply moves: the canaries could prove nothing."""
    with pytest.raises(AdapterError) as caught:
        train(Role.REWRITER, recipe(Role.REWRITER, learning_rate=1e-9, max_steps=1))
    assert "\n" not in str(caught.value)
    assert Registry(tmp_path / "adapters").list() == ()


def test_canaries_are_drawn_from_more_than_are_kept() -> None:
    from lorag.pipeline.adapters.proof import CANARIES

    assert CANARY_SAMPLES > CANARIES
