"""Do made test questions order retrieval settings as people's questions do? Kendall's τ over the weights that are tried.

    python -m benchmarks.made_tests --domain DIR --made ROWS --out FILE

`--domain` is a data folder with human test rows of the embedder, `--made` what `lorag data make` wrote for its documents. Each
setting is a choice of search weights on the bare encoder, words alone and vectors alone among them; its figure is the mean
nDCG@10 over all passages. The interval of τ comes from drawing the document groups of both sets anew. `regret` is what is lost on
human questions if the setting is chosen by the made ones.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.provenance import provenance, save
from benchmarks.retrieval_search import CACHE, Question, Searches
from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.evaluation.search_weights import GRID
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import SentenceTransformerEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.training.data.making.human import MADE_TEST
from lorag.training.data.rows import EmbedRow, read_embeds
from lorag.training.dataset import DataFolder
from lorag.training.passage_search import as_passage

METRIC = "nDCG@10"
DRAWS = 2_000

Scores = NDArray[np.float64]


def made_questions(rows: Path) -> list[EmbedRow]:
    """The made test rows of the embedder, wherever they lie in the folder."""
    files = [rows / place / f"{Role.EMBEDDER.value}.jsonl" for place in (MADE_TEST, "test")]
    return [row for file in files if file.is_file() for row in read_embeds(file) if row.origin is DataOrigin.MADE]


def asked(rows: Sequence[EmbedRow]) -> list[Question]:
    """The questions of rows, without a conversation; a row without a group is one of its own."""
    return [Question(r.query_id, r.query, r.query, r.query, tuple(r.positive_ids), r.group or r.query_id) for r in rows]


def agreement(
    made: Scores, human: Scores, made_groups: Sequence[str], human_groups: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """τ-b of the settings' means and its 95 % interval, and the regret. Scores have the shape (settings, questions)."""
    rng = np.random.default_rng(seed)
    drawn = [kendalltau(_redrawn(made, made_groups, rng), _redrawn(human, human_groups, rng)).statistic for _ in range(DRAWS)]
    means = human.mean(axis=1)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {
        "tau": float(kendalltau(made.mean(axis=1), means).statistic),
        "low": float(low),
        "high": float(high),
        "regret": float(means.max() - means[int(made.mean(axis=1).argmax())]),
    }


def _redrawn(scores: Scores, groups: Sequence[str], rng: np.random.Generator) -> Scores:
    """The settings' means over as many groups, drawn with replacement."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, group in enumerate(groups):
        places[group].append(at)
    names = list(places)
    chosen = rng.integers(len(names), size=len(names))
    mean: Scores = scores[:, [at for n in chosen for at in places[names[n]]]].mean(axis=1)
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=Path, required=True)
    parser.add_argument("--made", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    human = DataFolder(given.domain, {})
    passages = [as_passage(row) for row in human.passages().values()]
    sets = {"made": asked(made_questions(given.made)), "human": asked(human.embed_rows("test"))}
    with (
        tempfile.TemporaryDirectory(prefix="lorag-") as folder,
        closing(Index(EdgeStore(Path(folder)), SentenceTransformerEmbedder(), token_cache=CACHE)) as index,
    ):
        index.replace_all(passages)
        searches = Searches(index, passages)
        scores = {name: np.array([found[METRIC] for found in searches.weighted(rows, *GRID)]) for name, rows in sets.items()}
    groups = {name: [row.group for row in rows] for name, rows in sets.items()}
    found = agreement(scores["made"], scores["human"], groups["made"], groups["human"])
    for at, weights in enumerate(GRID):
        print(f"{weights}: made {scores['made'][at].mean():.3f}, human {scores['human'][at].mean():.3f}")
    print(f"Kendall's tau {found['tau']:.2f} ({found['low']:.2f} to {found['high']:.2f}), regret {found['regret']:.3f}")
    if given.out is not None:
        settings = [
            {**weights.to_dict(), **{name: float(held[at].mean()) for name, held in scores.items()}}
            for at, weights in enumerate(GRID)
        ]
        counts = {name: {"questions": len(rows), "groups": len(set(groups[name]))} for name, rows in sets.items()}
        files = [given.domain / "test" / "embedder.jsonl", *given.made.glob("*test/embedder.jsonl")]
        save(given.out, {"domain": given.domain.name, **found, **counts, "settings": settings, **provenance(files)})


if __name__ == "__main__":
    main()
