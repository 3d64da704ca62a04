"""Ways to tune compared on tiny real models, each variant in its own process: table, journal, resumption."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.compare_tuning import JOURNAL, VariantScores, compare, main, run_variant
from benchmarks.own_process import in_own_process
from benchmarks.tuning_variants import Cost, Method, Task, Variant
from lorag.pipeline.errors import InputError, LoragError
from lorag.pipeline.evaluation.ablation import OWN_METRIC
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome, Role
from lorag.training.dataset import DataFolder
from lorag.training.recipe import load_recipe

RECIPE = """
role: {role}
{compute}lora: {{rank: 4, alpha: 8}}
optimiser: {{learning_rate: 1.0e-2, warmup_share: 0, batch_size: 4, max_steps: 3, max_length: 64}}
{rest}"""
SPLITS = {"train": ("pump", "boiler", "rudder", "ladder"), "test": ("cabin", "galley", "mast", "hatch")}
COST = Cost(10, 1000, 5 << 20, 1 << 20, 80, 2.0, 1.5, 3, 100, 60, 0.5, "cpu")


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    words = [word for held in SPLITS.values() for word in held]
    write(folder / "passages.jsonl", [{"id": f"{w}.md#1", "title": w, "text": f"the {w} is checked daily"} for w in words])
    for split, held in SPLITS.items():
        write(
            folder / split / "embedder.jsonl",
            [{"query_id": f"q-{w}", "query": f"when is the {w} checked", "positive_ids": [f"{w}.md#1"]} for w in held],
        )
        write(
            folder / split / "synthesizer.jsonl",
            [
                {"id": f"q-{w}", "question": f"when is the {w} checked", "answers": ["daily"], "passage_ids": [f"{w}.md#1"]}
                for w in held
            ],
        )
        write(
            folder / split / "rewriter.jsonl",
            [
                {
                    "id": f"t-{w}",
                    "history": [f"User: Where is the {w}?"],
                    "question": "And at night?",
                    "rewrite": f"Where is the {w} at night?",
                }
                for w in held
            ],
        )
    rest = "contrast: {negatives: none, negatives_per_query: 0}\n"
    (folder / "embedder.yaml").write_text(RECIPE.format(role="embedder", compute="", rest=rest), encoding="utf-8")
    for role in ("rewriter", "synthesizer"):
        text = RECIPE.format(role=role, compute="compute: float32\n", rest="").replace("max_length: 64", "max_length: 400")
        (folder / f"{role}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path, tiny_encoder: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    settings = f"documents: documents\nbase: {{model: {tiny_base}}}\nembedder: {{model: {tiny_encoder}}}\nretrieval: {{k: 2}}\n"
    (folder / "lorag.yaml").write_text(settings, encoding="utf-8")
    return folder


def run(project: Path, data: Path, role: str, *options: object) -> None:
    fixed = ("--role", role, "--data", data, "--recipe", data / f"{role}.yaml", "--project", project)
    main([str(word) for word in (*fixed, *options)])


def test_embedders_are_compared_kept_and_gone_on_with(
    project: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(project, data, "embedder", "--methods", "lora", "--ranks", "4", "--out", out)
    first = json.loads((out / "report.json").read_text())
    assert [each["variant"] for each in first["variants"]] == ["untuned", "LoRA r 4"]
    journal = (out / JOURNAL).read_bytes()
    run(project, data, "embedder", "--methods", "full,lora", "--ranks", "4", "--out", out)
    assert (out / JOURNAL).read_bytes().startswith(journal)  # nothing was done twice
    report = json.loads((out / "report.json").read_text())
    assert [each["variant"] for each in report["variants"]] == ["untuned", "full", "LoRA r 4"]
    assert report["variants"][0]["quality"] == first["variants"][0]["quality"]
    lora = report["variants"][2]
    assert lora["cost"]["peak"] == first["variants"][1]["cost"]["peak"]
    assert lora["gain"]["n"] == lora["against_full"]["n"] == len(SPLITS["test"])
    assert report["made_of"]["data"].keys() == {"train/embedder.jsonl", "test/synthesizer.jsonl", "passages.jsonl"}
    assert report["commit"] and report["libraries"]["torch"]
    shown = capsys.readouterr().out
    assert "LoRA r 4" in shown and "nDCG@10" in shown
    with pytest.raises(InputError, match=r"was begun with another steps \(0, now 2\)"):
        run(project, data, "embedder", "--methods", "lora", "--ranks", "4", "--steps", "2", "--out", out)


@pytest.mark.parametrize(
    ("role", "variant"),
    [
        (Role.REWRITER, Variant(Method.FULL, 0, 2e-3)),
        (Role.SYNTHESIZER, Variant(Method.QLORA, 4, 1e-2)),
        (Role.SYNTHESIZER, Variant(Method.UNTUNED)),
    ],
)
def test_a_generation_variant_is_trained_and_measured(
    tiny_base: Path, tiny_encoder: Path, data: Path, tmp_path: Path, role: Role, variant: Variant
) -> None:
    recipe = load_recipe(role, data / f"{role.value}.yaml")
    task = Task(role, DataFolder(data, {}), recipe, str(tiny_base), str(tiny_encoder), k=2)
    found = run_variant(task, variant, tmp_path / variant.name, limit=3)
    assert len(found.scores.items) == 3 and len(found.scores.values(OWN_METRIC[role])) == 3
    assert (found.cost.steps if found.cost else None) == (None if variant.method is Method.UNTUNED else 3)


def _die() -> None:
    os._exit(9)


def _refuse() -> None:
    raise InputError("not like this")


def test_what_a_process_refuses_is_raised_here_and_its_death_is_said() -> None:
    with pytest.raises(InputError, match="not like this"):
        in_own_process("x", _refuse)
    with pytest.raises(LoragError, match="the process of LoRA r 4 died, most likely because memory ran out"):
        in_own_process("LoRA r 4", _die)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--methods", "lora,lorra"), "--methods: 'lorra' is none of full, lora, qlora"),
        (("--ranks", "4;8"), "--ranks: '4;8' is no list of whole numbers such as 4,8,16"),
        (("--ranks", "0"), "ranks of lora: [0]; give each once, from 1 on"),
        (("--learning-rate", "full"), "--learning-rate 'full': write METHOD=RATE"),
        (("--learning-rate", "full=5"), "with a rate between 0 and 1"),
        (("--learning-rate", "untuned=0.1"), "write METHOD=RATE"),
    ],
)
def test_bad_options_are_one_line(project: Path, data: Path, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError) as caught:
        run(project, data, "embedder", *options, "--out", tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def table(values: list[float]) -> ScoreTable:
    return ScoreTable(tuple(ItemScores(f"i{n}", f"g{n}", Outcome.OK, {"F1": value}) for n, value in enumerate(values)))


def test_differences_are_paired_and_corrected() -> None:
    untuned = [0.05 * n for n in range(10)]
    full, lora = [value + 0.5 for value in untuned], [value + 0.3 for value in untuned]
    lines = compare(
        [
            (Variant(Method.UNTUNED), VariantScores(None, table(untuned))),
            (Variant(Method.FULL, 0, 1e-4), VariantScores(COST, table(full))),
            (Variant(Method.LORA, 4, 1e-3), VariantScores(COST, table(lora))),
        ],
        "F1",
    )
    assert [line.quality.value for line in lines] == pytest.approx([0.225, 0.725, 0.525])
    assert lines[0].gain is None and lines[0].against_full is None and lines[1].against_full is None
    gain, against = lines[2].gain, lines[2].against_full
    assert gain is not None and against is not None
    # all items differ alike: of 10, t²/(10 + t²) may differ otherwise, by nothing or by the whole range
    squared = float(stats.t.ppf(0.975, 9)) ** 2
    share = squared / (10 + squared)
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.3, 0.3 * (1 - share), 0.3 + 0.7 * share))
    assert against.value == pytest.approx(-0.2)
    assert gain.p == pytest.approx(2 / 1024) and gain.adjusted == pytest.approx(4 / 1024)  # all signs alike; two tests
