"""Chooses the weights of a project's search on dev questions, and stores them for the encoder that they were chosen with.

    PROJECT/.lorag/search.json     digest of an encoder → weights, and the evidence for them

Knows no terminal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.pipeline.errors import ConfigError, DataError, InputError
from lorag.pipeline.retrieval.weights import SearchWeights
from lorag.pipeline.storage.atomic import make_folder, write_file
from lorag.pipeline.storage.locks import locked

if TYPE_CHECKING:
    from lorag.pipeline.config import Settings
    from lorag.pipeline.evaluation.search_weights import ChosenWeights
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.index import Index
    from lorag.training.data.rows import EmbedRow

FILE = Path(".lorag/search.json")
METRIC = "nDCG@10"
DEPTH = 10


def stored_weights(project: Path, embedder: Embedder) -> SearchWeights | None:
    """The weights that were chosen with this encoder, if any. Raises ConfigError for a damaged file."""
    entry = _read(project).get(embedder.identity.digest())
    return None if entry is None else _weights(project, entry)


def all_stored_weights(project: Path) -> dict[str, SearchWeights]:
    """The digest of each encoder that has chosen weights → those weights. Raises ConfigError for a damaged file."""
    return {digest: _weights(project, entry) for digest, entry in sorted(_read(project).items())}


def _weights(project: Path, entry: Any) -> SearchWeights:
    try:
        return SearchWeights.from_dict(entry["weights"])
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise _damaged(project, str(error)) from error


def tune_search(
    settings: Settings, data: Path, index: Index, on_progress: Callable[[int, int], None] | None = None
) -> ChosenWeights:
    """Choose weights on `data`/dev/embedder.jsonl, searched in the project's `index`, and store them for its encoder.

    Raises DataError if a row names a passage that the index does not hold, and for a missing file; ConfigError if lorag.yaml sets
    the weights, which would win; StoreError for an empty index. `on_progress` gets the questions done and their number.
    """
    from lorag.pipeline.evaluation.search_weights import GRID, choose_weights
    from lorag.pipeline.records import Role
    from lorag.pipeline.storage.digests import file_digest
    from lorag.training.dataset import DataFolder

    if settings.retrieval.weights.are_given:
        raise ConfigError("lorag.yaml sets `retrieval.weights`, which would win over chosen ones; set it to null first")
    if not settings.retrieval.hybrid:
        raise ConfigError("lorag.yaml sets `retrieval.hybrid: false`, a search by vectors alone; weights are for a hybrid one")
    folder = DataFolder(data, settings.judge.intents)
    rows = folder.embed_rows("dev")
    _require_known(rows, index)
    late = not settings.retrieval.rerank
    grid = GRID if late else tuple(dict.fromkeys(replace(each, tokens=0.0) for each in GRID))
    chosen = choose_weights(_measured(rows, index, grid, on_progress), [_group(row) for row in rows])
    encoder = index.embedder.identity
    evidence = {"rows": file_digest(folder.file("dev", Role.EMBEDDER)), "encoder": encoder.describe()}
    _store(settings.project, encoder.digest(), {**as_json(chosen), **evidence})
    return chosen


def as_json(chosen: ChosenWeights) -> dict[str, Any]:
    """The choice and its evidence. A standard error that is not known, of a single group, is null."""
    tried = [each.to_dict() for each in chosen.tried]
    return {
        "weights": chosen.weights.to_dict(),
        "metric": METRIC,
        "questions": chosen.questions,
        "groups": chosen.groups,
        "tried": [{**each, "error": each["error"] if math.isfinite(each["error"]) else None} for each in tried],
    }


def _measured(
    rows: Sequence[EmbedRow], index: Index, grid: Sequence[SearchWeights], on_progress: Callable[[int, int], None] | None
) -> dict[SearchWeights, list[float]]:
    """The score of each row with each weights.

    A question is searched for with all weights before the next. So it is embedded once, and a passage is read once for it if the
    index can keep the token vectors of one question's passages.
    """
    from lorag.pipeline.evaluation.gold_twins import distinct_gold, named_by_gold
    from lorag.pipeline.evaluation.retrieval import score_run
    from lorag.pipeline.evaluation.trec import Scored

    remembering = index.remembering()
    searches = {weights: remembering.weighted(weights) for weights in grid}
    runs: dict[SearchWeights, dict[str, tuple[Scored, ...]]] = {weights: {} for weights in grid}
    qrels = {row.query_id: dict.fromkeys(row.positive_ids, 1) for row in rows}
    for done, row in enumerate(rows, 1):
        for weights, search in searches.items():
            hits = search.search(row.query, DEPTH)
            named = named_by_gold(hits, row.positive_ids)
            runs[weights][row.query_id] = tuple(Scored(hit.passage.id, hit.score) for hit in named)
            hidden = set(row.positive_ids) - set(distinct_gold(row.positive_ids, named))
            qrels[row.query_id] = {each: 1 for each in qrels[row.query_id] if each not in hidden}
        if on_progress is not None:
            on_progress(done, len(rows))
    scored = {weights: score_run(qrels, run, (METRIC,)).per_query[METRIC] for weights, run in runs.items()}
    return {weights: [scores[row.query_id] for row in rows] for weights, scores in scored.items()}


def _group(row: EmbedRow) -> str:
    from lorag.training.data.rows import document_of

    return row.group or document_of(row.positive_ids[0])


def _require_known(rows: tuple[EmbedRow, ...], index: Index) -> None:
    known = {passage.id for passage in index.passages()}
    for row in rows:
        if lacking := [each for each in row.positive_ids if each not in known]:
            raise DataError(
                f"dev row {row.query_id!r} names passage {lacking[0]!r}, which the index does not hold; take rows of the "
                "documents that were ingested"
            )


def _read(project: Path) -> Mapping[str, Any]:
    try:
        content = json.loads((project / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(project, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(project, "it is no object")
    return content


def _store(project: Path, encoder: str, entry: Mapping[str, Any]) -> None:
    make_folder((project / FILE).parent)
    with locked((project / FILE).parent):
        write_file(project / FILE, json.dumps({**_read(project), encoder: entry}, indent=1) + "\n")


def _damaged(project: Path, reason: str) -> ConfigError:
    return ConfigError(f"{project / FILE}: holds no search weights ({reason}); delete it, or run `lorag tune-search` again")
