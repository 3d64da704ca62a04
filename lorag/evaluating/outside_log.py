"""A log of Inspect beside a saved run, so that the two are compared item by item.

A log that `lorag eval export` wrote holds every item with its scores, which are read as they are. Of another log the outputs are
read: those of the saved run's questions are scored here by the gold answers, because scorers of one name differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lorag.pipeline.contracts import synthesize
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.evaluation.ablation import NDCG, RECALL
from lorag.pipeline.evaluation.answers import EM, F1, ROUGE_L, SQUAD_EM, SQUAD_F1, GoldAnswer, score_answers
from lorag.pipeline.evaluation.inspect_read import InspectLog, LoggedSample, read_log
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.report.read import SavedRun
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Answer, Outcome

TEXT_METRICS = (EM, F1, SQUAD_EM, SQUAD_F1, ROUGE_L)
"""What an output alone can be scored by: it names no passages."""


def read_logged(path: Path, saved: SavedRun) -> SavedRun:
    """Read the log at `path`; another system's samples have the ids of the questions of `saved`, whose groups they get.

    Raises DataError for a broken log, InputError if no sample is an answered question of `saved`, or if its gold answers were
    not saved.
    """
    log = read_log(path)
    return _own(path, log) if all(map(_kind, log.samples)) else _scored(path, log, saved)


def _kind(sample: LoggedSample) -> str:
    """`question`, `rewrite` or `judgment` of an item that LoRAG exported; empty for another system's sample."""
    kind = str(sample.metadata.get("kind", ""))
    return kind if kind in ("question", "rewrite", "judgment") and sample.id.startswith(f"{kind}/") else ""


def _own(path: Path, log: InspectLog) -> SavedRun:
    """The items of an exported run."""
    try:
        tables: dict[str, list[ItemScores]] = {"retrieval": [], "answers": [], "rewrites": []}
        for sample in log.samples:
            if _kind(sample) == "rewrite":
                tables["rewrites"].append(_item(sample, sample.scores))
            elif _kind(sample) == "question":
                searched = {name: value for name, value in sample.scores.items() if name in (NDCG, RECALL)}
                tables["retrieval"].append(_item(sample, searched, "rewrite_outcome"))
                if "refused" in sample.metadata:
                    answered = {name: value for name, value in sample.scores.items() if name not in searched}
                    tables["answers"].append(_item(sample, answered))
        judgments = tuple(_judged(sample) for sample in log.samples if _kind(sample) == "judgment")
        files: Mapping[str, str] = log.metadata.get("test files", {})
        digests = {f"test/{name}": str(digest)[:16] for name, digest in files.items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is not as `lorag eval export` writes it ({error!r}); export it again") from error
    scores = {part: ScoreTable(tuple(items)) for part, items in tables.items()}
    return SavedRun(path, log.task, str(log.metadata.get("configuration", "")), "", digests, scores, judgments, {}, {})


def _item(sample: LoggedSample, scores: Mapping[str, float], outcome: str = "outcome") -> ItemScores:
    id_ = str(sample.metadata["id"])
    return ItemScores(id_, str(sample.metadata["group"] or id_), Outcome(sample.metadata[outcome]), scores)


def _judged(sample: LoggedSample) -> Judged:
    outcome = Outcome(sample.metadata["outcome"])
    label = sample.output if outcome is Outcome.OK else None
    probabilities = {str(name): float(p) for name, p in sample.metadata.get("probabilities", {}).items()}
    id_ = str(sample.metadata["id"])
    return Judged(id_, sample.target[0], label, probabilities, outcome, str(sample.metadata["group"] or id_))


def _scored(path: Path, log: InspectLog, saved: SavedRun) -> SavedRun:
    """Another system's outputs, scored by the gold answers of `saved`. Several epochs of a sample give their mean."""
    if not saved.golds:
        raise InputError(
            f"{path} needs the gold answers, which {saved.path} does not hold; measure again with `lorag eval chain --out`"
        )
    known = {item.id: item.group for item in saved.scores.get("answers", ScoreTable(())).items if F1 in item.values}
    by_id: dict[str, list[LoggedSample]] = {}
    for sample in log.samples:
        if sample.id in known and sample.id in saved.golds:
            by_id.setdefault(sample.id, []).append(sample)
    if not by_id:
        raise InputError(
            f"{path}: no sample is an answered question of {saved.path} (such as {log.samples[0].id!r}); samples have the ids of "
            "the test rows"
        )
    items = tuple(_answered(GoldAnswer(id_, saved.golds[id_], group=known[id_]), samples) for id_, samples in by_id.items())
    others = len({sample.id for sample in log.samples} - by_id.keys())
    return SavedRun(
        path,
        path.stem,
        f"{log.task}, {log.model}",
        log.created,
        saved.digests,
        {"answers": ScoreTable(items)},
        (),
        {},
        {},
        notes=_notes(path, log, others),
    )


def _answered(gold: GoldAnswer, samples: Sequence[LoggedSample]) -> ItemScores:
    """The scores of a question's outputs; a failed sample has none."""
    rows = [score_answers([gold], {gold.id: _answer(sample)}).items[0] for sample in samples]
    values = {}
    for metric in TEXT_METRICS:
        if found := [row.values[metric] for row in rows if metric in row.values]:
            values[metric] = sum(found) / len(found)
    return ItemScores(gold.id, gold.group, Outcome.OK if values else Outcome.FAILED, values)


def _answer(sample: LoggedSample) -> Answer:
    if sample.failed:
        return Answer("", False, (), Outcome.FAILED)
    reply = synthesize.parse(sample.output, 0)
    return Answer(reply.text, reply.refused, (), Outcome.OK, sample.output)


def _notes(path: Path, log: InspectLog, others: int) -> tuple[str, ...]:
    own = f"; its own scorers ({', '.join(log.scorers)}) are not used" if log.scorers else ""
    notes = [f"The outputs in {path} are scored here by the gold answers of the other run{own}."]
    if log.status != "success":
        notes.append(f"{path} has the status {log.status!r}: it may lack samples.")
    if others:
        notes.append(f"{others} samples of {path} are no answered questions of the other run and are left out.")
    return tuple(notes)
