"""Which hard negatives help the embedder: none, random, mined, and mined without the filter against false ones.

    python -m benchmarks.negatives_ablation --work DIR [--domain FOLDER | --data DIR --set squad_newwiki] [--general squad_reddit]

Each run tunes the encoder on the same rows in the same steps and differs only in its negatives; the rows' own negatives are left
out. Held-out questions are searched in all passages. nDCG@10 differences are paired question by question, over the mean of the
seeds, and clustered by document group. With --data, each adapter is also measured on --general, a set of another domain, to see
what tuning lost there. Each run stores its result under --work; the same command resumes a stopped benchmark.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.own_process import progress_lines
from benchmarks.provenance import provenance, save
from benchmarks.starter_training.sources import read_corpus
from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import LoragError
from lorag.pipeline.evaluation.groups import Interval
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.searching import Embedded, search
from lorag.pipeline.evaluation.significance import mean_interval, paired_difference
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.storage.atomic import write_file
from lorag.training.contrastive import Encoder, train_embedder
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.dataset import DataFolder
from lorag.training.recipe import EmbeddingRecipe, changed, load_recipe

NDCG = "nDCG@10"
FROZEN = "frozen"
UNFILTERED = "unfiltered"
NO_MARGIN = 100.0
"""A relative margin that no similarity reaches: the most similar passages are taken, even if they answer the question too."""

MODES: Mapping[str, tuple[Negatives, float | None]] = {
    "none": (Negatives.NONE, None),
    "random": (Negatives.RANDOM, None),
    "mined": (Negatives.MINED, None),
    UNFILTERED: (Negatives.MINED, NO_MARGIN),
}
SEED = 0


@dataclass(frozen=True, slots=True)
class Domain:
    """Training rows with the passages for their negatives; test questions with the passages they are searched in."""

    name: str
    rows: tuple[EmbedRow, ...]
    training_passages: tuple[PassageRow, ...]
    test: tuple[EmbedRow, ...]
    passages: tuple[PassageRow, ...]
    files: tuple[Path, ...]


def of_folder(folder: Path, limit: int) -> Domain:
    """A LoRAG data folder, such as the example domain."""
    data = DataFolder(folder, {})
    data.check_leaks(Role.EMBEDDER)
    rows = tuple(replace(row, negative_ids=()) for row in data.embed_rows("train"))
    files = (folder / "passages.jsonl", data.file("train", Role.EMBEDDER), data.file("test", Role.EMBEDDER))
    return Domain(
        folder.name,
        drawn(rows, limit),
        tuple(data.training_passages().values()),
        data.embed_rows("test"),
        tuple(data.passages().values()),
        files,
    )


def of_public(data: Path, name: str, limit: int) -> Domain:
    """A public reading set, split by article."""
    train, dev, test = (read_corpus(data, name, split, by_title=True) for split in ("train", "dev", "test"))

    def rows(corpus: Any) -> tuple[EmbedRow, ...]:
        article = {passage.id: passage.article for passage in corpus.passages.values()}
        return tuple(EmbedRow(q.id, q.question, (q.passage_id,), (), article[q.passage_id]) for q in corpus.questions)

    def passages(corpus: Any) -> tuple[PassageRow, ...]:
        return tuple(PassageRow(p.id, p.title, p.text) for p in corpus.passages.values())

    files = (data / f"{name}.passages.jsonl.gz", data / f"{name}.train.jsonl.gz")
    everything = passages(train) + passages(dev) + passages(test)
    return Domain(name, drawn(rows(train), limit), passages(train), drawn(rows(test), limit), everything, files)


def general_set(data: Path, name: str, questions: int, passages: int) -> Domain:
    """Questions of a public set for measuring only, searched in `passages` passages, but at least their own and one more."""
    whole = of_public(data, name, 0)
    asked = drawn(whole.test + whole.rows, questions)
    gold = {passage_id for row in asked for passage_id in row.positive_ids}
    others = [p for p in whole.passages if p.id not in gold]
    shown = tuple(p for p in whole.passages if p.id in gold) + drawn(tuple(others), max(1, passages - len(gold)))
    return Domain(name, (), (), asked, shown, whole.files)


def drawn(items: tuple[Any, ...], limit: int) -> tuple[Any, ...]:
    return items if not limit or len(items) <= limit else tuple(random.Random(SEED).sample(items, limit))


def ndcg(embedder: SentenceTransformerEmbedder, domain: Domain) -> dict[str, float]:
    """Query id → nDCG@10 by exhaustive search."""
    found = Embedded(
        [row.query_id for row in domain.test],
        embedder.embed_queries([embed.query_text(row.query) for row in domain.test]),
        [passage.id for passage in domain.passages],
        embedder.embed_passages([embed.passage_text(p.title, "", p.text) for p in domain.passages]),
    )
    qrels = {row.query_id: dict.fromkeys(row.positive_ids, 1) for row in domain.test}
    return dict(score_run(qrels, search(found, 10), (NDCG,)).per_query[NDCG])


def run_once(
    mode: str, seed: int, encoder: Encoder, recipe: EmbeddingRecipe, domain: Domain, general: Domain | None, folder: Path
) -> dict[str, Any]:
    """Train once and measure, or read the stored result in `folder`."""
    made_of = [
        mode,
        seed,
        repr(encoder),
        repr(recipe),
        len(domain.rows),
        len(domain.test),
        domain.name,
        general.name if general else "",
    ]
    stored_file = folder / "result.json"
    if stored_file.exists():
        stored: dict[str, Any] = json.loads(stored_file.read_text(encoding="utf-8"))
        if stored["made_of"] != made_of:
            raise LoragError(f"{folder} holds a run of other settings; name another --work, or delete it")
        return stored
    trained = None
    if mode == FROZEN:
        embedder = encoder.open()
    else:
        trained = train_embedder(
            domain.rows,
            domain.training_passages,
            encoder,
            recipe,
            folder,
            resume=True,
            on_progress=progress_lines(f"{mode}, seed {seed}"),
        )
        embedder = encoder.open(adapter=trained.folder)
    found = {
        "made_of": made_of,
        "test": ndcg(embedder, domain),
        "general": ndcg(embedder, general) if general else {},
        "steps": trained.steps if trained else 0,
        "seconds": round(trained.seconds, 1) if trained else 0.0,
        "final_loss": trained.final_loss if trained else None,
    }
    write_file(stored_file, json.dumps(found))
    return found


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]], part: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """Means over seeds and questions, and each mode against the frozen encoder, none and random, with 95 % intervals."""
    means = {
        mode: {query: sum(run[part][query] for run in found) / len(found) for query in found[0][part]}
        for mode, found in runs.items()
    }
    queries = list(means[FROZEN])
    keys = [groups.get(query) or query for query in queries]

    def values(mode: str) -> list[float]:
        return [means[mode][query] for query in queries]

    pairs = [(FROZEN, mode) for mode in means if mode != FROZEN]
    pairs += [(before, after) for before in ("none", "random", UNFILTERED) for after in ("random", "mined") if before != after]
    return {
        NDCG: {mode: interval(mean_interval(values(mode), groups=keys)) for mode in means},
        "differences": {
            f"{after} - {before}": interval(paired_difference(values(before), values(after), groups=keys))
            for before, after in pairs
            if before in means and after in means
        },
    }


def interval(found: Interval) -> dict[str, Any]:
    return {"value": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4), "n": found.n}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folders; what is done there is not done again")
    parser.add_argument("--domain", type=Path, default=Path("examples/kelder-sound-line"), help="a data folder")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--set", dest="name", help="a public reading set of --data to tune on instead of --domain")
    parser.add_argument("--general", default="squad_reddit", help="the public set of another domain")
    parser.add_argument("--general-questions", type=int, default=300)
    parser.add_argument("--general-passages", type=int, default=1500, help="what its questions are ranked among")
    parser.add_argument("--rows", type=int, default=0, help="training rows and test questions at most; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join(MODES)}")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--recipe", type=Path, help="an embedder recipe; the bundled one without it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "negatives.json")
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    if unknown := [mode for mode in options.modes if mode not in MODES]:
        parser.error(f"--modes: {', '.join(unknown)} is none of {', '.join(MODES)}")
    if options.name and not options.data:
        parser.error("--set names a public set: give its folder with --data")
    return options


def main() -> None:
    options = parse()
    domain = of_public(options.data, options.name, options.rows) if options.name else of_folder(options.domain, options.rows)
    general = (
        general_set(options.data, options.general, options.general_questions, options.general_passages) if options.data else None
    )
    recipe, encoder = load_recipe(Role.EMBEDDER, options.recipe), Encoder(options.model)
    stored = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"domains": {}}
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for mode in [FROZEN, *options.modes] if seed == 0 else options.modes:
            negatives, margin = MODES.get(mode, (Negatives.NONE, None))
            margin = margin or recipe.contrast.relative_margin
            each = changed(recipe, seed=seed, negatives=negatives, relative_margin=margin)
            folder = options.work / domain.name / f"{mode.replace(', ', '-')}-{seed}"
            runs.setdefault(mode, []).append(run_once(mode, seed, encoder, each, domain, general, folder))
        files = [*domain.files, *(general.files if general else ())]
        stored["domains"][domain.name] = {**report(domain, general, recipe, runs, seed + 1), **provenance(files)}
        save(options.out, stored)
        show(domain.name, stored["domains"][domain.name])


def report(
    domain: Domain, general: Domain | None, recipe: EmbeddingRecipe, runs: Mapping[str, Any], seeds: int
) -> dict[str, Any]:
    general_figures = {}
    if general is not None:
        general_figures = {"set": general.name, **summary(runs, "general", {row.query_id: row.group for row in general.test})}

    def cost(mode: str) -> dict[str, Any]:
        last = runs[mode][-1]
        return {"steps": last["steps"], "seconds": last["seconds"], "final_loss": last["final_loss"]}

    return {
        "rows": len(domain.rows),
        "passages": len(domain.passages),
        "seeds": seeds,
        "batch_size": recipe.optimiser.batch_size,
        "negatives_per_query": recipe.contrast.negatives_per_query,
        "relative_margin": recipe.contrast.relative_margin,
        "runs": {mode: cost(mode) for mode in runs},
        "held-out": summary(runs, "test", {row.query_id: row.group for row in domain.test}),
        "general": general_figures,
    }


def show(name: str, found: Mapping[str, Any]) -> None:
    for part in ("held-out", "general"):
        if found[part]:
            where = name if part == "held-out" else f"elsewhere ({found[part]['set']})"
            print(f"{where}, {found['seeds']} seed(s)")
            for what, rows in ((NDCG, found[part][NDCG]), ("difference", found[part]["differences"])):
                for label, each in rows.items():
                    bounds = f"({each['low']:+.4f} to {each['high']:+.4f})"
                    print(f"  {what:<10} {label:<22} {each['value']:+.4f} {bounds} n = {each['n']}")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except LoragError as error:
        sys.exit(f"error: {error}")
