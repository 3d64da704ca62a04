"""What is compared when ways to tune are: the plan, equal starts on equal data, and that each cost is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.peak import peak_memory, reset_peak
from benchmarks.tuning_variants import Method, Task, Tuned, Variant, learning_rates, plan, tune
from lorag.pipeline.errors import InputError, TrainingError
from lorag.pipeline.records import Role
from lorag.training.checkpoints import newest_complete
from lorag.training.dataset import DataFolder
from lorag.training.recipe import parse_recipe

RATES = {Method.FULL: 1e-4, Method.LORA: 1e-3, Method.QLORA: 1e-3}
WORDS = ("pump", "boiler", "rudder", "ladder", "cabin", "galley", "mast", "hatch")


def test_the_plan_begins_with_the_untuned_model() -> None:
    found = plan([Method.LORA, Method.FULL, Method.QLORA], [4, 16], [8], RATES)
    assert [variant.title for variant in found] == ["untuned", "LoRA r 4", "LoRA r 16", "full", "QLoRA r 8"]
    assert [variant.name for variant in found] == ["untuned", "lora-4", "lora-16", "full", "qlora-8"]
    assert [variant.learning_rate for variant in found] == [0.0, 1e-3, 1e-3, 1e-4, 1e-3]


@pytest.mark.parametrize(
    ("methods", "ranks", "says"),
    [
        ([], [4], "nothing to compare"),
        ([Method.UNTUNED], [4], "nothing to compare"),
        ([Method.LORA], [], "ranks of lora: \\[\\]"),
        ([Method.LORA], [4, 4], "give each once"),
        ([Method.LORA], [0], "from 1 on"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(methods: list[Method], ranks: list[int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan(methods, ranks, [16], RATES)


def test_full_fine_tuning_gets_a_tenth_of_the_rate() -> None:
    recipe = parse_recipe({"role": "rewriter", "optimiser": {"learning_rate": 2e-3}})
    assert learning_rates(recipe) == {Method.FULL: pytest.approx(2e-4), Method.LORA: 2e-3, Method.QLORA: 2e-3}


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    folder = tmp_path_factory.mktemp("data")
    write(folder / "passages.jsonl", [{"id": f"{w}.md#1", "title": w, "text": f"the {w} is checked daily"} for w in WORDS])
    write(
        folder / "train" / "embedder.jsonl",
        [{"query_id": f"q-{w}", "query": f"when is the {w} checked", "positive_ids": [f"{w}.md#1"]} for w in WORDS],
    )
    write(
        folder / "train" / "rewriter.jsonl",
        [
            {
                "id": f"t-{w}",
                "history": [f"User: Where is the {w}?"],
                "question": "And at night?",
                "rewrite": f"Where is the {w} at night?",
            }
            for w in WORDS
        ],
    )
    return DataFolder(folder, {})


OPTIMISER = {"learning_rate": 1e-2, "warmup_share": 0, "batch_size": 4, "max_steps": 3, "max_length": 400}


def run(role: Role, data: DataFolder, variant: Variant, folder: Path, base: Path, encoder: Path) -> Tuned:
    own = {"contrast": {"negatives": "none", "negatives_per_query": 0}} if role is Role.EMBEDDER else {"compute": "float32"}
    recipe = parse_recipe({"role": role.value, "optimiser": OPTIMISER, **own})
    task = Task(role, data, recipe, str(base), str(encoder), k=2)
    return tune(task, variant, folder)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("role", [Role.REWRITER, Role.EMBEDDER])
def test_costs_are_what_they_say(role: Role, data: DataFolder, tiny_base: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Bytes of Adam's state are eight a trained parameter, and a step count of four bytes a tensor."""
    variants = [Variant(Method.FULL, 0, 1e-3), Variant(Method.LORA, 4, 1e-2), Variant(Method.QLORA, 4, 1e-2)]
    found = {v.method: run(role, data, v, tmp_path / v.name, tiny_base, tiny_encoder) for v in variants}
    full, lora, qlora = (found[method].cost for method in (Method.FULL, Method.LORA, Method.QLORA))
    assert full.total == lora.total == qlora.total
    assert lora.trained == qlora.trained < full.trained <= full.total
    assert full.trained == full.total or role is Role.EMBEDDER  # BERT's pooler gets no gradient
    for cost in (full, lora, qlora):
        assert 8 * cost.trained <= cost.optimizer <= 8 * cost.trained + 4 * 100
        assert 0 < cost.floor <= cost.peak
        assert cost.steps == 3 and cost.seconds > 0 and cost.cpu_seconds > 0
    for method, tuned in found.items():
        held = {path.name: path.stat().st_size for path in tuned.folder.rglob("*.safetensors")}
        assert sum(held.values()) <= tuned.cost.saved
        assert ("adapter_model.safetensors" in held) is (method is not Method.FULL)
    assert lora.saved < full.saved
    assert all(newest_complete(tmp_path / variant.name) is None for variant in variants)  # only the result is kept
    first = {variant.method: losses(tmp_path / variant.name)[0] for variant in variants}
    # B is zero at the start, so the same rows in the same order have the same first loss.
    tolerance = 0.02 if first[Method.FULL] > 0 else 0
    assert first[Method.LORA] == pytest.approx(first[Method.FULL], rel=tolerance)


def test_one_step_cannot_be_timed(data: DataFolder, tiny_base: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    recipe = parse_recipe({"role": "rewriter", "optimiser": OPTIMISER, "compute": "float32"})
    task = Task(Role.REWRITER, data, recipe, str(tiny_base), str(tiny_encoder), k=2, steps=1)
    with pytest.raises(TrainingError, match="one step is too few to time"):
        tune(task, Variant(Method.LORA, 4, 1e-2), tmp_path)


def test_the_judge_is_not_compared(data: DataFolder, tmp_path: Path) -> None:
    task = Task(Role.JUDGE, data, parse_recipe({"role": "judge"}), "", "", k=2)
    with pytest.raises(InputError, match="the judge is not compared; choose one of embedder, synthesizer, rewriter"):
        tune(task, Variant(Method.FULL, 0, 1e-3), tmp_path)


def test_the_peak_is_of_this_process_and_can_be_forgotten() -> None:
    block = bytearray(200 << 20)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    high = peak_memory()
    assert high > 200 << 20
    del block
    reset_peak()
    assert peak_memory() < high
