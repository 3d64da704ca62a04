"""A finished run → the bundled starter of its role: weights in half precision, canaries and card.

The canaries are invented, so that nothing of a public set is copied. The card is made from the run folder and
from the mixture, which is built again.
"""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.starter_training import invented, questions
from benchmarks.starter_training.build import BASE, STARTS_FROM, examples_of, load_starter_recipe, starter_recipe
from benchmarks.starter_training.conversations import follow_up
from benchmarks.starter_training.items import judged_documents
from benchmarks.starter_training.mixtures import REHEARSED, SETS
from benchmarks.starter_training.sets import LICENCES
from lorag.pipeline.adapters.card import CARD_FILE, AdapterCard, DataFacts, card_json, read_card
from lorag.pipeline.adapters.evidence import Evidence
from lorag.pipeline.adapters.inspection import WEIGHTS_FILE
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE
from lorag.pipeline.adapters.model_card import write_model_card
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.adapters.starters import FOLDER, STARTER, STARTER_DATA, bundled_starters
from lorag.pipeline.contracts import judge, rewrite, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.engine.weights import LoadedBase, load_weights
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Role
from lorag.training.checkpoints import COMPLETE, find_newest
from lorag.training.packing import pack
from lorag.training.progress import final_loss, loss_entries
from lorag.training.publish import CANARY_SAMPLES, data_facts, publish_generation
from lorag.training.recipe import GenerationRecipe
from lorag.training.sft import Example, TrainedAdapter, encode
from lorag.training.transfer.invented import Judgment

LICENCE = "cc-by-sa-4.0"
"""Of the weights: the sets' texts are CC BY-SA at the strictest."""

SLACK = 0.15
"""How far a run's steps may be from those of the mixture built now, as a share: packing may have become denser since."""

LIMITS: Mapping[Role, str] = {
    Role.SYNTHESIZER: "answers are short, mostly words of one passage; nothing is added up or compared across passages; it was "
    "shown at most five passages of about 700 characters, in English",
    Role.REWRITER: "conversations of a few turns, in English; a question that leans on something said long before is often left "
    "as it is",
    Role.JUDGE: "short messages, single passages and short answers, in English; intents need their meanings in the settings; an "
    "answer counts as supported where its words stand in the passages, whether or not they answer the question",
    Role.QUESTIONER: "one short question on one passage of about 700 characters, in English; it only makes training data",
}


def bundle_starter(
    role: Role, run: Path, data: Path, *, recipe: Path | None = None, into: Path = FOLDER, practised: bool = False
) -> AdapterCard:
    """Make the starter of `role` in `into` from the finished `run` that learnt from the sets in `data`, and return its card.

    A questioner's run is `practised` if it went on with what is learnt last.

    Evidence on the card of a starter with the same weights stays. Raises TrainingError if the run is not finished
    or is not of this mixture and recipe, DataError for a set that is not there, NoEffect as `publish_generation`.
    """
    path = recipe or starter_recipe(role, practised=practised)
    chosen = load_starter_recipe(role, path)
    base = resolve_base(BASE)
    with tempfile.TemporaryDirectory() as temporary:
        loaded = load_weights(base, precision=chosen.precision)
        trained = _trained(role, run, data, chosen, loaded, Path(temporary) / "adapter", practised)
        registry = Registry(Path(temporary) / "adapters")
        held_out = invented_examples(role, CANARY_SAMPLES)
        version = publish_generation(registry, role, base, chosen, trained, _facts(role, data, trained), held_out)
        card = dataclasses.replace(
            registry.show(role, version.id), version=STARTER, licence=LICENCE, notes=_notes(role, trained, practised), evidence=()
        )
        before = bundled_starters(into).get(role)
        if before is not None and (old := read_card(before)).identity.weights_digest == card.identity.weights_digest:
            card = dataclasses.replace(card, evidence=old.evidence)
        shutil.copyfile(path, version.folder / "recipe.yaml")
        _write_card(version.folder, card)
        _replace_folder(version.folder, into / role.value)
    return card


def record_evidence(place: Path, evidence: Sequence[Evidence]) -> AdapterCard:
    """Replace the evidence on the card of the starter in `place`, and return the card."""
    card = dataclasses.replace(read_card(place), evidence=tuple(evidence))
    _write_card(place, card)
    return card


def invented_examples(role: Role, count: int) -> list[Example]:
    """Examples that no mixture holds, invented: prompt and the reply that is right."""
    rng = random.Random(f"canaries of the {role.value}")
    if role is Role.SYNTHESIZER:
        return [_answered(n, invented.sheet(rng)) for n in range(count)]
    if role is Role.REWRITER:
        turns = [follow_up(rng) for _ in range(count)]
        return [
            Example(f"turn-{n}", rewrite.messages(turn.history, turn.question), rewrite.target(turn.rewrite))
            for n, turn in enumerate(turns)
        ]
    if role is Role.QUESTIONER:
        return questions.sheet_examples(count, rng, "canaries")[:count]
    made = [(document.passages, each) for document in judged_documents(count // 2, seed=8) for each in document.judgments]
    return [
        _judged(passages, each)
        for task in (judge.ANSWERABILITY.task, judge.SUPPORT.task)
        for passages, each in [pair for pair in made if pair[1].task == task][: count // 2]
    ]


def _judged(passages: tuple[PassageText, ...], each: Judgment) -> Example:
    schema = judge.BUILT_IN[each.task]
    inputs = judge.JudgeInputs(question=each.question, answer=each.answer, passages=passages)
    return Example(each.id, judge.messages(schema, inputs), judge.target(schema, each.label))


def _answered(number: int, sheet: invented.Sheet) -> Example:
    """A question of the sheet; every fourth is one that nothing answers, if there is such."""
    candidates = [asked for asked in sheet.asked if bool(asked.number) == bool(number % 4)] or sheet.asked
    asked = candidates[0]
    target = synthesize.target(asked.reply, [asked.number] if asked.number else [])
    return Example(f"sheet-{number}", synthesize.messages(asked.question, sheet.passages), target)


def _trained(
    role: Role, run: Path, data: Path, recipe: GenerationRecipe, loaded: LoadedBase, folder: Path, practised: bool
) -> TrainedAdapter:
    """What `train_adapter` returned at the end of the run, made again from its last checkpoint and the mixture."""
    checkpoint = find_newest(run).newest
    if checkpoint is None:
        raise TrainingError(f"{run}: no complete checkpoint; train the starter there first")
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    steps = int(state["global_step"])
    losses = tuple((int(entry["step"]), float(entry["loss"])) for entry in loss_entries(state["log_history"]))
    if steps < int(state["max_steps"]):
        raise TrainingError(f"{run}: {steps} of {state['max_steps']} steps are done; go on with --resume, then bundle")
    optimiser = recipe.optimiser
    examples = examples_of(role, data, recipe, practised=practised)
    rows, dropped = encode(examples, ChatTokens(loaded.tokenizer), optimiser.row_tokens)
    sequences = pack(rows, optimiser.pack_tokens, optimiser.seed) if optimiser.pack_tokens else rows
    step = optimiser.batch_size * optimiser.accumulate
    expected = optimiser.max_steps or round(optimiser.epochs * len(sequences) / step)
    if abs(steps - expected) > SLACK * steps:
        raise TrainingError(
            f"{run}: has {steps} steps, this mixture and recipe {expected}; give the recipe and data it began with"
        )
    _save_half(checkpoint, folder)
    length = sum(len(sequence["input_ids"]) for sequence in sequences) / len(sequences)
    return TrainedAdapter(
        folder=folder,
        steps=steps,
        epochs=float(state["epoch"]),
        tokens=round(steps * step * length),
        seconds=_seconds(run, steps),
        final_loss=final_loss([loss for _, loss in losses]),
        losses=losses,
        trainable_parameters=_parameters(folder),
        total_parameters=int(loaded.model.num_parameters()),
        rows=len(rows),
        dropped=dropped,
        compute=loaded.compute,
        base=loaded,
    )


def _save_half(checkpoint: Path, folder: Path) -> None:
    """The checkpoint's adapter with its weights in float16."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder.mkdir()
    tensors = load_file(checkpoint / WEIGHTS_FILE)
    save_file({name: tensor.astype(np.float16) for name, tensor in tensors.items()}, folder / WEIGHTS_FILE, {"format": "pt"})
    shutil.copyfile(checkpoint / CONFIG_FILE, folder / CONFIG_FILE)


def _parameters(folder: Path) -> int:
    from safetensors.numpy import load_file

    return sum(tensor.size for tensor in load_file(folder / WEIGHTS_FILE).values())


def _seconds(run: Path, steps: int) -> float:
    """The duration of the whole run, by the pace between its last two checkpoints, since a resumed run stores no other."""
    marks = sorted(
        (int(mark.parent.name.rpartition("-")[2]), mark.stat().st_mtime) for mark in run.glob(f"checkpoint-*/{COMPLETE}")
    )
    if len(marks) < 2:
        return 0.0
    (first, earlier_time), (last, last_time) = marks[-2:]
    return (last_time - earlier_time) / (last - first) * steps


def _facts(role: Role, data: Path, trained: TrainedAdapter) -> DataFacts:
    files = sorted(path for name in SETS[role] for path in data.glob(f"{name}.*.jsonl.gz") if ".test." not in path.name)
    return data_facts(STARTER_DATA, {path.name: path for path in files}, {"train": trained.rows}, trained.rows)


def _notes(role: Role, trained: TrainedAdapter, practised: bool) -> str:
    sets = [f"| {name} | {LICENCES[name]} |" for name in SETS[role]]
    earlier = f"begun with the weights of the starter {STARTS_FROM[role].value}, " if role in STARTS_FROM else ""
    learnt = "the train split of the sets below and invented documents"
    if practised:
        earlier = f"begun with a questioner of one epoch over {learnt}, "
        learnt = (
            f"{REHEARSED:.0%} of that and questions that a language model wrote to working papers of invented organisations "
            "(`benchmarks/starter_training/written`)"
        )
    epochs = "one epoch" if round(trained.epochs, 1) == 1 else f"{trained.epochs:.2f} of an epoch"
    hours = f"about {trained.seconds / 3600:.1f} h" if trained.seconds else "a few hours"
    lines: Sequence[str] = (
        f"A generic {role.value} to begin with, made by `benchmarks.starter_training`: `recipe.yaml` beside this file, {earlier}"
        f"{epochs} over {learnt}, {trained.tokens / 1e6:.1f} million tokens in {hours} on one core of a CPU without GPU. No text "
        "of a held-out article or conversation was learnt, nor of any "
        "example domain.",
        "",
        "| set | licence |",
        "| --- | --- |",
        *sets,
        "",
        f"Limits: {LIMITS[role]}. The weights are CC BY-SA 4.0, for texts of the sets are.",
    )
    return "\n".join(lines)


def _write_card(folder: Path, card: AdapterCard) -> None:
    """Write card and README of a starter; no process reads it meanwhile."""
    (folder / CARD_FILE).write_text(card_json(card), encoding="utf-8")
    (folder / "README.md").write_text(write_model_card(card), encoding="utf-8")


def _replace_folder(made: Path, place: Path) -> None:
    """Move the folder `made` to `place`, replacing what is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(made, aside)
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
