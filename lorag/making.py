"""Makes training rows of all roles from a project's documents: `lorag data make`. Knows no terminal.

OUT             the rows, written whole at the end
OUT.making/     beside it while the work lasts: the plan, and each answer of the models as it comes, from which a run that
                was stopped goes on to the same bytes
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.assembly import SharedBase, open_base, open_registry, serving_retrieval
from lorag.corpus import current_passages
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.account import FileAccount, FileStatus, remarks

if TYPE_CHECKING:
    from lorag.pipeline.config import Settings
    from lorag.pipeline.engine.protocol import Engine
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.training.data.making.agreement import Voters
    from lorag.training.data.making.corpus import Corpus
    from lorag.training.data.making.folder import Made
    from lorag.training.data.making.human import HumanRows
    from lorag.training.data.making.planning import Pace
    from lorag.training.data.making.questions import Tools
    from lorag.training.data.making.records import Span
    from lorag.training.data.making.settings import MakingSettings
    from lorag.training.data.making.voter_precision import VoterPrecision
    from lorag.training.passage_search import Retrieval

log = logging.getLogger("lorag")

Progress = Callable[[str, int, int], None]

_VOTERS = (Role.SYNTHESIZER, Role.JUDGE)


@dataclass(frozen=True, slots=True)
class MakingSpec:
    """What is made: the new folder `out`; `human` is a data folder whose rows are added. `minutes` bounds the time (None: all
    spans are asked about). With `resume` an earlier run of `out` goes on."""

    out: Path
    per_passage: int = 3
    human: Path | None = None
    minutes: float | None = None
    seed: int = 0
    resume: bool = False


@dataclass(frozen=True, slots=True)
class MakingPlan:
    """What a run will do, at most so many `questions`. `minutes` is the estimate for this machine as it is loaded now."""

    documents: int
    groups: int
    passages: int
    spans: int
    questions: int
    minutes: float
    splits: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Work:
    """The corpus, what is asked about, and the settings of a run."""

    corpus: Corpus
    spans: tuple[Span, ...]
    human: HumanRows
    settings: MakingSettings


@dataclass(frozen=True, slots=True)
class Models:
    """The models that replace those of the settings."""

    engine: Engine | None = None
    embedder: Embedder | None = None


def plan_making(settings: Settings, spec: MakingSpec, models: Models = Models()) -> MakingPlan:
    """What `make_rows` would do. Makes a few questions to time it; writes nothing. Raises as `make_rows`."""
    work = _prepare(settings, spec)
    with _opened(settings, models) as (base, writer, _):
        pace = _paced(work, base, writer, _retrieval(settings, models))
    return _planned(work if spec.minutes is None else _bounded(work, spec.minutes, pace), pace)


def make_rows(settings: Settings, spec: MakingSpec, on_progress: Progress | None = None, models: Models = Models()) -> Made:
    """Make the rows and write `spec.out`. Killed and called again with `resume` it writes the same bytes.

    Raises DataError for documents that no rows can be made of, InputError for folders that cannot be used, and as `open_base`.
    """
    from lorag.training.data.formats.folder import require_new
    from lorag.training.data.making.folder import write_made

    require_new(spec.out)
    state = _state_folder(spec)
    work = _prepare(settings, spec)
    with _opened(settings, models) as (base, writer, name):
        retrieval = _retrieval(settings, models)
        work = _resumed(work, spec, state, lambda: _paced(work, base, writer, retrieval))
        with _journalled(base.engine, state, spec, name) as engine:
            try:
                made = _made(work, replace(base, engine=engine), writer, name, retrieval, on_progress)
                write_made(made, spec.out, settings.judge.intents)
            except DataError:  # going on would end in the same
                shutil.rmtree(state)
                raise
    shutil.rmtree(state)
    return made


def state_of(out: Path) -> Path:
    """The folder of the state of a run that makes `out`; it is there while the run is not finished."""
    return out.with_name(f"{out.name}.making")


def _state_folder(spec: MakingSpec) -> Path:
    """The folder of a run's state. Raises InputError if one is there and is not to go on, or is not there and should."""
    state = state_of(spec.out)
    if spec.resume and not state.is_dir():
        raise InputError(f"{state}: no run to continue; leave out --resume")
    if state.exists() and not spec.resume:
        raise InputError(f"{state}: a run that was stopped; continue it with --resume, or delete that folder")
    return state


def _prepare(settings: Settings, spec: MakingSpec) -> _Work:
    """Passages, groups, splits and spans: all that needs no model."""
    from lorag.training.data.making.corpus import Corpus
    from lorag.training.data.making.grouping import group_documents
    from lorag.training.data.making.human import HumanRows, read_human
    from lorag.training.data.making.planning import plan_spans
    from lorag.training.data.making.settings import MakingSettings
    from lorag.training.data.making.soundness import require_english_prose
    from lorag.training.data.rows import PassageRow

    making = MakingSettings(seed=spec.seed, per_passage=spec.per_passage)
    rows = [PassageRow.of(each) for each in current_passages(settings, settings.project, on_files=_name_unread)]
    require_english_prose(rows)
    passages = {row.id: row for row in rows}
    human = read_human(spec.human, settings.judge.intents, passages) if spec.human else HumanRows()
    grouping = group_documents(rows, making, human.ties())
    return _Work(Corpus(passages, grouping), plan_spans(rows, grouping, making), human, making)


def _name_unread(files: Sequence[FileAccount]) -> None:
    """Warn of files whose text, or part of it, no row will be made of."""
    unread = [file for file in files if file.status in (FileStatus.FAILED, FileStatus.IN_PART)]
    for line in remarks(unread):
        log.warning(line)


def _bounded(work: _Work, minutes: float, pace: Pace) -> _Work:
    """The work with only the spans that fit into the time."""
    from lorag.training.data.making.planning import within

    fit = within(minutes, len(work.spans), len(work.corpus.passages), pace, work.settings)
    return replace(work, spans=work.spans[:fit])


def _resumed(work: _Work, spec: MakingSpec, state: Path, paced: Callable[[], Pace]) -> _Work:
    """The work as it was planned when the run began: what a machine is doing now must not change what is made."""
    from lorag.pipeline.storage.atomic import write_file

    plan = state / "plan.json"
    if not plan.is_file():
        if spec.minutes is not None:
            began = time.monotonic()
            pace = paced()
            work = _bounded(work, spec.minutes - (time.monotonic() - began) / 60, pace)
        write_file(plan, json.dumps({"minutes": spec.minutes, "spans": len(work.spans)}) + "\n")
        return work
    found = json.loads(plan.read_text(encoding="utf-8"))
    if found["minutes"] != spec.minutes:
        raise InputError(f"{state}: was begun with --minutes {found['minutes']}; set it back, or delete that folder")
    if found["spans"] > len(work.spans):
        raise InputError(f"{state}: the documents have changed since the run began; delete that folder and begin anew")
    return replace(work, spans=work.spans[: found["spans"]])


@contextmanager
def _journalled(engine: Engine, state: Path, spec: MakingSpec, writer: str) -> Iterator[Engine]:
    """The engine with its answers kept in `state`."""
    from lorag.pipeline.engine.layer import Layer
    from lorag.pipeline.evaluation.journal import Journal
    from lorag.pipeline.evaluation.row_file import RowFile

    header = {"seed": spec.seed, "per passage": spec.per_passage, "human": str(spec.human or ""), "writer": writer}
    rows = RowFile(state / "answers.jsonl", header)
    try:
        yield Layer(engine, Journal(rows))
    finally:
        rows.close()


def _retrieval(settings: Settings, models: Models) -> Retrieval:
    retrieval, given = serving_retrieval(settings), models.embedder
    return retrieval if given is None else replace(retrieval, open_embedder=lambda: given)


@contextmanager
def _opened(settings: Settings, models: Models) -> Iterator[tuple[SharedBase, str | None, str]]:
    """The engine, the questioner's name on it (None: the bare base writes), and in words who writes."""
    if models.engine is not None:
        yield SharedBase(models.engine, {}), None, "the given engine"
        return
    base = open_base(settings, _VOTERS)
    try:
        adapter, name = _questioner(settings, base.engine)
        yield base, adapter, name
    finally:
        close = getattr(base.engine, "close", None)
        if close is not None:
            close()


def _questioner(settings: Settings, engine: Engine) -> tuple[str | None, str]:
    """The questioner that the project's registry has in production, else the bundled one if it fits, else the bare base."""
    from lorag.pipeline.adapters.card import read_card
    from lorag.pipeline.adapters.proof import load_proven
    from lorag.pipeline.adapters.registry import PRODUCTION
    from lorag.pipeline.adapters.starters import bundled_starters
    from lorag.pipeline.engine.local import LocalEngine

    bare = f"the bare base {settings.base.model}"
    if not isinstance(engine, LocalEngine):
        return None, f"{settings.generation.models.base} on {settings.generation.base_url}"
    registry, role = open_registry(settings), Role.QUESTIONER
    folder, name = bundled_starters().get(role), "the bundled questioner"
    if PRODUCTION in registry.aliases(role):
        version = registry.resolve(role, PRODUCTION)
        folder, name = version.folder, f"questioner {version.id}"
    if folder is None or read_card(folder).identity.base_digest != engine.loaded.base.digest:
        return None, bare
    load_proven(engine, role.value, folder, engine.loaded.base, role=role)
    return role.value, name


def _paced(work: _Work, base: SharedBase, writer: str | None, retrieval: Retrieval) -> Pace:
    """How long passages and spans take, by a few of them."""
    from lorag.training.data.making.sample import time_sample

    return time_sample(work.spans, work.corpus, retrieval, lambda search: _tools(base, writer, search), work.settings)


def _made(
    work: _Work,
    base: SharedBase,
    writer: str | None,
    name: str,
    retrieval: Retrieval,
    on_progress: Progress | None,
) -> Made:
    """All rows, from the questions that passed."""
    from lorag.training.data.making.folder import Made
    from lorag.training.data.making.questions import make_questions
    from lorag.training.data.making.rows import make_rows as rows_of
    from lorag.training.data.making.searching import IndexedCorpus

    with IndexedCorpus(work.corpus.passages.values(), retrieval, on_progress) as search:
        tools = _tools(base, writer, search)
        voters, precisions = _voters(work, tools)
        tools = replace(tools, voters=voters)
        questions = make_questions(work.spans, work.corpus, tools, work.settings, on_progress)
        if not questions.accepted:
            raise DataError(
                f"none of {questions.funnel.asked} questions passed the filters: {_worst(questions.funnel)}; let a larger base "
                "write (`generation` in lorag.yaml), or add documents with more running text"
            )
        rows = rows_of(questions, work.corpus, tools, work.settings)
    disagreeing = sum(split == "" for split in work.corpus.grouping.split.values())
    left_out = {"whose human rows are in several splits": disagreeing}
    return Made(work.corpus, questions, rows, work.human, work.settings, name, left_out, precisions)


def _voters(work: _Work, tools: Tools) -> tuple[Voters, tuple[VoterPrecision, ...]]:
    """The voters that human rows do not show to be imprecise. Test rows are not read: they would choose what they measure."""
    from lorag.training.data.making.voter_precision import precise_voters
    from lorag.training.data.rows import QuestionRow

    rows = [row for split in ("train", "dev") for row in work.human.of(split, Role.SYNTHESIZER) if isinstance(row, QuestionRow)]
    return precise_voters(rows, work.corpus.passages, tools.voters, tools.search, work.settings)


def _tools(base: SharedBase, writer: str | None, search: Any) -> Tools:
    from lorag.pipeline.stages import Judge, Synthesizer
    from lorag.training.data.making.agreement import Voters
    from lorag.training.data.making.questions import Tools
    from lorag.training.data.making.writing import Writer

    adapters = base.adapters
    reader, judge = Synthesizer(base.engine, adapters.get(Role.SYNTHESIZER)), Judge(base.engine, adapters.get(Role.JUDGE))
    return Tools(Voters(Writer(base.engine, writer), reader, judge), search, search.embed)


def _worst(funnel: Any) -> str:
    step = max(funnel.steps, key=lambda each: each.dropped)
    return f"“{step.filter.value}” alone dropped {step.dropped}"


def _planned(work: _Work, pace: Pace) -> MakingPlan:
    passages, grouping = len(work.corpus.passages), work.corpus.grouping
    splits = list(grouping.split.values())
    return MakingPlan(
        documents=len(grouping.group),
        groups=grouping.groups,
        passages=passages,
        spans=len(work.spans),
        questions=len(work.spans) * work.settings.samples,
        minutes=pace.minutes(passages, len(work.spans)),
        splits={name: splits.count(name) for name in sorted(set(splits)) if name},
    )
