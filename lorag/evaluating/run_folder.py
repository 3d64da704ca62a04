"""The folder of an evaluation that can be killed and run again: its replies, the scores of each item, and the run's identity.

    requests.jsonl   a row per request to the model, synced as it is answered
    items.jsonl      a row per item of each configuration, synced as the configuration is done
    tests.jsonl      a row per test item: what was asked, and the gold answers and passages
    result.json      the figures, at the end
    usage.json       requests, tokens and seconds by stage and adapter, of the process that ended the run

The first two begin with a header that names everything the rows depend on. A run with another header is refused. After any
number of kills, both files and the figures end up the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorag.assembly import open_embedder, open_registry
from lorag.evaluating.testset import Sizes
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.contracts.judge import JudgeInputs
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import Configuration, Measured, TestSet
from lorag.pipeline.evaluation.row_file import RowFile
from lorag.pipeline.records import Answer, Role, Turn
from lorag.pipeline.storage.atomic import write_file
from lorag.pipeline.storage.jsonl import file_digests
from lorag.search_tuning import all_stored_weights
from lorag.training.dataset import DataFolder
from lorag.training.publish import library_versions

REQUESTS, ITEMS, TESTS, RESULT, USAGE = "requests.jsonl", "items.jsonl", "tests.jsonl", "result.json", "usage.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The open files of a run."""

    folder: Path
    requests: RowFile
    items: RowFile

    def keep(self, tests: TestSet) -> None:
        """Write the test items, so that the run can be exported and compared with a run of another system."""
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in test_rows(tests))
        write_file(self.folder / TESTS, "".join(lines))

    def add(self, measured: Measured, tests: TestSet) -> None:
        """Write the rows of a configuration."""
        self.items.add(item_rows(measured, tests))

    def finish(self, result: Mapping[str, Any], usage: Sequence[Mapping[str, Any]]) -> None:
        """Write the figures."""
        for name, content in ((RESULT, result), (USAGE, usage)):
            write_file(self.folder / name, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


@contextmanager
def open_run(folder: Path, header: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Begin or continue the run in `folder`. Raises InputError if it belongs to another run, is in use or is no folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        requests = RowFile(folder / REQUESTS, header)
        try:
            items = RowFile(folder / ITEMS, header)
        except BaseException:
            requests.close()
            raise
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}); name another folder") from error
    try:
        yield RunFolder(folder, requests, items)
    finally:
        requests.close()
        items.close()


def identity(
    settings: Settings,
    data: DataFolder,
    versions: Mapping[Role, Version],
    sizes: Sizes,
    configurations: Sequence[Configuration],
) -> dict[str, Any]:
    """Everything that a run's rows depend on, large parts by digest. The machine is not included."""
    registry, base = open_registry(settings), resolve_base(settings.base.model)
    bare = settings.model_copy(update={"adapters": settings.adapters.model_copy(update={"embedder": "none"})})
    cards = {role: registry.show(role, version.id) for role, version in versions.items()}
    files = sorted(data.folder.glob("test/*.jsonl*"))
    return {
        "base": {"id": base.id, "digest": base.digest, **settings.base.model_dump(mode="json", exclude={"model"})},
        "generation": settings.generation.model_dump(mode="json", exclude={"api_key_env", "timeout", "retries", "concurrency"}),
        "embedder": open_embedder(bare).identity.to_dict(),
        "adapters": {role.value: f"{card.version} {card.identity.weights_digest}" for role, card in cards.items()},
        "contracts": {role.value: contract_hash(role) for role in (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE, Role.EMBEDDER)},
        "retrieval": settings.retrieval.model_dump(mode="json"),
        "search": {encoder[:12]: str(each.to_dict()) for encoder, each in all_stored_weights(settings.project).items()},
        "gate": settings.judge.gate,
        "prices": settings.evaluation.model_dump(mode="json"),
        "chunking": settings.chunking.model_dump(mode="json"),
        "documents": _folder_digest(settings.documents),
        "data": {Path(name).name: digest for name, digest in file_digests(files).items()},
        "intents": dict(settings.judge.intents),
        "sizes": asdict(sizes),
        "configurations": [each.name for each in configurations],
        "libraries": library_versions(),
    }


def _folder_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total = hashlib.sha256()
    for path, digest in zip(files, file_digests(files).values(), strict=True):
        total.update(f"{path.relative_to(folder).as_posix()}\0{digest}\n".encode())
    return total.hexdigest()


def test_rows(tests: TestSet) -> list[dict[str, Any]]:
    """A row per test item, in the order of `item_rows`: what is asked, and as `target` the gold answers, rewrites or label."""
    rows: list[dict[str, Any]] = [
        {
            "kind": "question",
            "id": item.gold.id,
            "group": item.gold.group or item.gold.id,
            "history": _history(item.query.history),
            "input": item.query.question,
            "target": list(item.gold.answers),
            "passages": list(item.gold.passage_ids),
            "answerable": item.gold.answerable,
        }
        for item in tests.chain
    ]
    for turn in tests.rewrites:
        asked = {"history": _history(turn.query.history), "input": turn.query.question, "target": list(turn.gold.rewrites)}
        rows.append({"kind": "rewrite", "id": turn.gold.id, "group": turn.gold.group or turn.gold.id, **asked})
    for each in tests.judgments:
        asked = {"history": _history(each.inputs.history), "input": _judged_text(each.inputs)}
        rows.append(
            {"kind": "judgment", "id": each.id, "group": each.group, **asked, "target": [f"{each.schema.task}: {each.label}"]}
        )
    return rows


def _history(turns: Sequence[Turn]) -> list[list[str]]:
    return [[turn.speaker.value, turn.text] for turn in turns]


def _judged_text(inputs: JudgeInputs) -> str:
    """What the judge reads, the parts that a task uses, as text."""
    parts = [f"Message: {inputs.message}" if inputs.message else "", f"Question: {inputs.question}" if inputs.question else ""]
    parts += [f"[{number}] {passage.text}" for number, passage in enumerate(inputs.passages, start=1)]
    parts.append(f"Answer: {inputs.answer}" if inputs.answer else "")
    return "\n".join(part for part in parts if part)


def item_rows(measured: Measured, tests: TestSet) -> list[dict[str, Any]]:
    """The results of a configuration, a row per item: questions and turns, then rewrites, then judgments."""
    name = {"configuration": measured.configuration.name}
    scores: dict[str, dict[str, float]] = {}
    for table in (measured.retrieval, measured.answers):
        for scored in table.items:
            scores.setdefault(scored.id, {}).update(scored.values)
    rows: list[dict[str, Any]] = []
    for item in tests.chain:
        search, response = measured.searches.get(item.gold.id), measured.responses.get(item.gold.id)
        if search is None:
            continue  # a floor without a search of this question
        rows.append(
            {
                **name,
                "kind": "question",
                "id": item.gold.id,
                "group": item.gold.group,
                "question": item.query.question,
                "rewrite": search.rewrite.question,
                "rewrite_outcome": search.rewrite.outcome.value,
                "hits": [hit.passage.id for hit in search.hits],
                "ranking": [[hit.passage.id, hit.score] for hit in search.ranking],
                "answer": _answer(response.answer) if response is not None else None,
                "scores": scores.get(item.gold.id, {}),
            }
        )
    for each in measured.rewrites.items:
        found: dict[str, Any] = {"group": each.group, "outcome": each.outcome.value, "scores": dict(each.values)}
        found["rewrite"] = measured.rewritten[each.id].question if each.id in measured.rewritten else None
        rows.append({**name, "kind": "rewrite", "id": each.id, **found})
    for judged in measured.judgments:
        found = {"gold": judged.gold, "label": judged.label, "probabilities": dict(judged.probabilities)}
        found |= {"group": judged.group, "outcome": judged.outcome.value}
        rows.append({**name, "kind": "judgment", "id": judged.id, **found})
    return rows


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "reply": answer.reply,
        "refused": answer.refused,
        "outcome": answer.outcome.value,
        "citations": [{"passage_id": each.passage_id, "quote": each.quote} for each in answer.citations],
        "error": str(answer.error) if answer.error is not None else None,
    }
