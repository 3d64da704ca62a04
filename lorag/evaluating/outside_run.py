"""A run that another system made, scored on a saved run's questions, so that the two are compared item by item."""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import NDCG, RECALL
from lorag.pipeline.evaluation.report.read import SavedRun
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.run_files import read_qrels, read_run
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.trec import Qrels, Run
from lorag.pipeline.records import Outcome

OUTSIDE = "run of another system"


def read_outside(path: Path, saved: SavedRun, qrels: Path | None = None) -> SavedRun:
    """Score the run file `path`, TREC text or ranx's JSON, on the questions that `saved` was searched for.

    The queries' ids are those of the questions, and groups are those of `saved`. `qrels` are judgments from a file, for a `saved`
    that holds none. A judged question without results counts as 0. Raises InputError if there are no judgments or no query is
    a question of `saved`, DataError for a broken file.
    """
    found, judged = read_run(path), _judgments(path, saved, qrels)
    groups = {item.id: item.group for item in saved.scores.get("retrieval", ScoreTable(())).items}
    judged = {query: relevances for query, relevances in judged.items() if query in groups}
    if not judged.keys() & found.keys():
        named = f"such as {next(iter(found))!r}" if found else "it has none"
        raise InputError(f"{path}: no query is a question of {saved.path} ({named}); queries have the ids of the test rows")
    scores = score_run(judged, found, (NDCG, RECALL)).per_query
    items = tuple(
        ItemScores(query, groups[query], Outcome.OK, {metric: values[query] for metric, values in scores.items()})
        for query in judged
    )
    return SavedRun(
        path,
        path.stem,
        OUTSIDE,
        "",
        saved.digests,
        {"retrieval": ScoreTable(items)},
        (),
        {},
        {},
        judged,
        notes=_notes(path, found, judged),
    )


def _judgments(path: Path, saved: SavedRun, qrels: Path | None) -> Qrels:
    judged = read_qrels(qrels) if qrels is not None else saved.qrels
    if not judged:
        raise InputError(
            f"{path} needs the gold passages, which {saved.path} does not hold; name them with --qrels, or a run folder of "
            "`lorag eval chain --out`"
        )
    return judged


def _notes(path: Path, found: Run, judged: Qrels) -> tuple[str, ...]:
    without, others = judged.keys() - found.keys(), found.keys() - judged.keys()
    notes = []
    if without:
        notes.append(f"{path} has no results for {len(without)} of {len(judged)} judged questions; they count as 0.")
    if others:
        notes.append(f"{len(others)} queries of {path} are no judged questions of the other run and are left out.")
    return tuple(notes)
