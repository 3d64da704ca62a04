"""Classification by an encoder and a linear head: frozen, LoRA-tuned and fully fine-tuned, and intents also by the judge.

    python -m benchmarks.classification --data DIR --work DIR [--recipe NAME] [--rows 12800] [--judge-adapter FOLDER] [--out FILE]

DIR of --data holds the public sets `product_category` (its `val` is the test here) and `intent_clinc150` as NAME.SPLIT.jsonl.gz.
Each variant trains in its own process, for its own peak memory, and stores its result under --work. The same command resumes a
stopped run. Intervals are at 95 %, differences are paired text by text. Titles with the same first three words are one
group, as the set's own split keeps them together.

For each text the judge chooses among a drawn schema of --schema-labels intents that contains the right one. The embedder's head
chooses in the same schemas. `--recipe` is a bundled name (classifier-minilm, classifier-qwen3) or a file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.classifier import (
    ClassifierRecipe,
    LabelledText,
    Tuning,
    load_classifier,
    load_classifier_recipe,
    train_classifier,
)
from benchmarks.own_process import in_own_process, progress_lines
from benchmarks.peak import peak_memory
from benchmarks.provenance import provenance, save
from lorag.pipeline.errors import LoragError
from lorag.pipeline.evaluation.groups import Interval
from lorag.pipeline.evaluation.label_significance import macro_f1_interval, paired_macro_f1
from lorag.pipeline.evaluation.significance import mean_interval, paired_difference
from lorag.pipeline.storage.atomic import write_file

TEST_SPLIT = {"product_category": "val", "intent_clinc150": "test"}
REFERENCE = {"product_category": {"model": "a Qwen3 embedding model of 615M parameters, LoRA", "macro_f1": 0.836}}
"""A figure published without its split: for orientation, no paired comparison."""

INTENTS = "intent_clinc150"
OUT_OF_SCOPE = "oos"
SEED = 0


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant on one set. `scores` are logits of the test texts, (texts, labels)."""

    figures: Mapping[str, Any]
    labels: tuple[str, ...]
    scores: Sequence[Sequence[float]]

    def predicted(self) -> list[str]:
        return [self.labels[max(range(len(row)), key=row.__getitem__)] for row in self.scores]


def read_texts(path: Path) -> list[LabelledText]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [LabelledText(row["id"], row["text"], row["label"], " ".join(row["text"].split()[:3])) for row in found]


def drawn(rows: Sequence[LabelledText], count: int) -> list[LabelledText]:
    """`count` of the rows at random, or all of them for 0."""
    return list(rows) if not count or count >= len(rows) else random.Random(SEED).sample(rows, count)


def train_variant(
    train: Sequence[LabelledText], test: Sequence[LabelledText], recipe: ClassifierRecipe, tuning: Tuning, folder: Path
) -> dict[str, Any]:
    """Runs in its own process: train or resume, score the test texts."""
    trained = train_classifier(train, recipe, tuning, folder, resume=True, on_progress=progress_lines(folder.name))
    peak = peak_memory()
    classifier = load_classifier(trained.folder, recipe.model, max_length=recipe.max_length)
    scores = classifier.scores([row.text for row in test])
    figures = {key: value for key, value in asdict(trained).items() if key not in ("folder", "labels")}
    return {
        "figures": {**figures, "tuning": tuning.value, "peak_bytes": peak, "rows": len(train)},
        "labels": list(trained.labels),
        "scores": [[round(float(value), 4) for value in row] for row in scores],
    }


def cell(
    train: Sequence[LabelledText], test: Sequence[LabelledText], recipe: ClassifierRecipe, tuning: Tuning, folder: Path
) -> VariantResult:
    """The result of a variant, read from `folder` if it is stored there for these settings and rows."""
    made_of = {"recipe": recipe.model_dump(), "train": len(train), "test": len(test), "last": train[-1].id}
    stored_file = folder / "result.json"
    if stored_file.exists():
        stored = json.loads(stored_file.read_text(encoding="utf-8"))
        if stored["made_of"] == made_of:
            return VariantResult(stored["figures"], tuple(stored["labels"]), stored["scores"])
        raise LoragError(f"{folder} holds the result of another recipe or number of rows; name another --work, or delete it")
    found = in_own_process(folder.name, train_variant, train, test, recipe, tuning, folder)
    write_file(stored_file, json.dumps({**found, "made_of": made_of}))
    return VariantResult(found["figures"], tuple(found["labels"]), found["scores"])


def compare(test: Sequence[LabelledText], cells: Mapping[Tuning, VariantResult]) -> dict[str, Any]:
    """Macro-F1 of each variant and the paired differences, with 95 % intervals."""
    gold, groups = [row.label for row in test], [row.group for row in test]
    predicted = {tuning: each.predicted() for tuning, each in cells.items()}
    variants = {
        tuning.value: {
            "macro_f1": interval(macro_f1_interval(gold, labels, groups=groups)),
            "accuracy": interval(mean_interval([float(a == b) for a, b in zip(gold, labels, strict=True)], groups=groups)),
            **cells[tuning].figures,
        }
        for tuning, labels in predicted.items()
    }
    pairs = [(Tuning.FROZEN, Tuning.LORA), (Tuning.FROZEN, Tuning.FULL), (Tuning.FULL, Tuning.LORA)]
    differences = {
        f"{after} - {before}": interval(paired_macro_f1(gold, predicted[before], predicted[after], groups=groups))
        for before, after in pairs
        if before in predicted and after in predicted
    }
    return {"test": len(test), "variants": variants, "differences": differences}


def interval(found: Interval) -> dict[str, Any]:
    return {"value": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4), "n": found.n}


@dataclass(frozen=True, slots=True)
class IntentItem:
    """A text with the intents to choose from, in the order shown."""

    row: LabelledText
    schema: tuple[str, ...]


def schemas(test: Sequence[LabelledText], items: int, size: int) -> list[IntentItem]:
    """`items` texts of a known intent, each with a schema of `size` drawn intents that contains its own."""
    labels = sorted({row.label for row in test} - {OUT_OF_SCOPE})
    chosen = random.Random(SEED)
    asked = []
    for row in chosen.sample([row for row in test if row.label != OUT_OF_SCOPE], items):
        others = chosen.sample([label for label in labels if label != row.label], size - 1)
        asked.append(IntentItem(row, tuple(chosen.sample([*others, row.label], size))))
    return asked


def best_in_schema(asked: Sequence[IntentItem], test: Sequence[LabelledText], found: VariantResult) -> list[str]:
    """The head's best label within each schema."""
    place, at = {row.id: n for n, row in enumerate(test)}, {label: n for n, label in enumerate(found.labels)}
    return [max(each.schema, key=lambda label: found.scores[place[each.row.id]][at[label]]) for each in asked]


def judged(asked: Sequence[IntentItem], base: str, precision: str, adapter: Path | None) -> Iterator[str]:
    """Yield the judge's label for each text, by likelihood among the schema's."""
    from benchmarks.starter_training.mixtures import intent_meanings
    from lorag.pipeline.contracts.judge import JudgeInputs, intent_schema
    from lorag.pipeline.engine.bases import resolve_base
    from lorag.pipeline.engine.local import open_engine
    from lorag.pipeline.engine.weights import Precision, load_weights
    from lorag.pipeline.stages.judge import Judge

    engine = open_engine(load_weights(resolve_base(base), precision=Precision(precision)))
    if adapter is not None:
        engine.load_adapter("judge", adapter)
    judge = Judge(engine, "judge" if adapter else None)
    meanings = intent_meanings()
    for each in asked:
        schema = intent_schema({label: meanings.get(label, label.replace("_", " ")) for label in each.schema})
        verdict = judge.judge(schema, [JudgeInputs(message=each.row.text)])[0]
        if verdict.error is not None:  # a failed verdict has no label and must not count as a wrong one
            raise verdict.error
        yield verdict.label


def judge_intents(
    options: argparse.Namespace, test: Sequence[LabelledText], heads: Mapping[Tuning, VariantResult]
) -> dict[str, Any]:
    """Accuracy within schemas: the embedder's heads, the judge, and each head against the judge, text by text."""
    asked = schemas(test, options.judge_items, options.schema_labels)
    systems = {f"{tuning.value} head": best_in_schema(asked, test, found) for tuning, found in heads.items()}
    adapter = None if options.judge_adapter == "none" else Path(options.judge_adapter)
    name = "judge" if adapter else "judge, bare base"
    systems[name] = []
    for label in judged(asked, options.base, options.precision, adapter):
        systems[name].append(label)
        if len(systems[name]) % 25 == 0:
            print(f"{name}: {len(systems[name])} of {len(asked)}", file=sys.stderr, flush=True)
    right = {
        system: [float(a == each.row.label) for a, each in zip(labels, asked, strict=True)] for system, labels in systems.items()
    }
    heads_only = [system for system in right if system != name]
    return {
        "items": len(asked),
        "schema_labels": options.schema_labels,
        "accuracy": {system: interval(mean_interval(values)) for system, values in right.items()},
        "differences": {f"{system} - {name}": interval(paired_difference(right[name], right[system])) for system in heads_only},
        "base": options.base,
        "precision": options.precision,
    }


def show(name: str, found: Mapping[str, Any]) -> None:
    print(f"{name}: {found['test']} test texts")
    for variant, row in found["variants"].items():
        f1, peak = row["macro_f1"], row["peak_bytes"]
        print(
            f"  {variant:<7} macro-F1 {f1['value']:.3f} ({f1['low']:.3f} to {f1['high']:.3f})  updated {row['updated']:>11,}  "
            f"CPU {row['cpu_seconds']:.0f} s  peak {peak / 2**20:.0f} MiB  optimiser {row['optimizer_bytes'] / 2**20:.1f} MiB"
        )
    for pair, each in found["differences"].items():
        print(f"  {pair:<14} {each['value']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="run folders; what is done there is not done again")
    parser.add_argument("--sets", default=",".join(TEST_SPLIT))
    parser.add_argument("--recipe", default="classifier-minilm", help="a bundled name or a file")
    parser.add_argument("--variants", default=",".join(Tuning))
    parser.add_argument("--rows", type=int, default=12_800, help="training texts of a set, drawn at random; 0: all")
    parser.add_argument("--test-items", type=int, default=0, help="test texts of a set; 0: all")
    parser.add_argument(
        "--judge-adapter", help="a judge adapter's folder, or `none` for the bare base; without it no judge is asked"
    )
    parser.add_argument("--judge-items", type=int, default=200)
    parser.add_argument("--schema-labels", type=int, default=16)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--precision", default="nf4")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "classification.json")
    return parser.parse_args()


def main() -> None:
    options = parse()
    recipe = load_classifier_recipe(options.recipe)
    stored = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"sets": {}}
    for name in options.sets.split(","):
        files = [options.data / f"{name}.{split}.jsonl.gz" for split in ("train", TEST_SPLIT[name])]
        train = drawn(read_texts(files[0]), options.rows)
        test = drawn(read_texts(files[1]), options.test_items)
        judge = stored["sets"].get(name, {}).get("judge", {})
        cells: dict[Tuning, VariantResult] = {}
        for tuning in map(Tuning, options.variants.split(",")):
            cells[tuning] = cell(train, test, recipe, tuning, options.work / f"{name}-{tuning.value}")
            found = {**compare(test, cells), **provenance(files), "recipe": recipe.model_dump()}
            stored["sets"][name] = {**found, "reference": REFERENCE.get(name), "judge": judge}
            save(options.out, stored)
        show(name, stored["sets"][name])
        if name == INTENTS:
            ask_judge(options, test, cells, judge)
            save(options.out, stored)


def ask_judge(
    options: argparse.Namespace, test: Sequence[LabelledText], heads: Mapping[Tuning, VariantResult], stored: dict[str, Any]
) -> None:
    """Add the judge's results on the intents to `stored`, or print why the judge is not measured."""
    adapter = options.judge_adapter
    if not adapter or (adapter != "none" and not Path(adapter).is_dir()):
        why = f"{adapter} is no folder" if adapter else "name its adapter with --judge-adapter FOLDER"
        print(f"  the judge is not asked: {why}")
        return
    which = "bare base" if adapter == "none" else "adapter"
    stored[which] = judge_intents(options, test, heads)
    for system, each in stored[which]["accuracy"].items():
        print(f"  {system:<16} accuracy {each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f})")


if __name__ == "__main__":
    try:
        main()
    except (LoragError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
