"""What rows made from documents are worth beside rows that people wrote: arms of training, measured on human test rows.

    python -m benchmarks.closed_loop --domain DIR --made ROWS --work DIR [--roles embedder …] [--arms …] [--seeds 3] [--items 100]

`--domain` is a data folder with documents/ (the example, or one of `lorag data import`), `--made` what `lorag data make --human`
wrote for it. Each arm trains one role by its bundled recipe; generation roles go on from the bundled starter. All arms of a role
are measured on the same human test items. The share that made rows keep is the gain of made rows over the untuned system (of
generation roles, over the starter), divided by that of all human rows; its interval is Fieller's (1954), by groups of documents.
Each run is stored under --work; the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

import lorag
from benchmarks.own_process import progress_lines
from benchmarks.provenance import provenance, save, stored
from lorag.evaluating.measuring import run_configurations
from lorag.evaluating.run_folder import open_run
from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.adapters.starters import is_starter
from lorag.pipeline.config import Settings
from lorag.pipeline.evaluation.ablation import BASE_CHAIN, Configuration
from lorag.pipeline.evaluation.groups import cluster_error, contributions_of, group_codes, t_quantile
from lorag.pipeline.evaluation.judge_metrics import figure, task_accuracy, task_f1
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.significance import mean_interval, paired_difference
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentences import sentences
from lorag.pipeline.storage.jsonl import read_lines
from lorag.pipeline.storage.strict_json import plain
from lorag.project import Project
from lorag.starters import fitting_starters, install_starters
from lorag.training.data.making.embedder_rows import FOUND
from lorag.training.data.making.folder import ORIGIN, REJECTED
from lorag.training.data.making.records import Filter
from lorag.training.data.rows import EmbedRow, JudgeRow, PassageRow, QuestionRow, RewriteRow
from lorag.training.data.writing import write_rows
from lorag.training.dataset import PASSAGES, DataFolder
from lorag.training.recipe import changed, load_recipe
from lorag.tuning import TrainingCallbacks, TrainingSpec, train_adapter

Row = RewriteRow | QuestionRow | EmbedRow | JudgeRow
FEW = 125
"""Human rows of the small arms: about an afternoon of a person's work."""

SENTENCES, LEAST_WORDS = 3, 4
"""Sentences of a passage that stand in for questions, as many as spans are asked about; the words of the shortest."""

TASKS = ("relevance", "answerability", "support")
"""The judge's tasks: intents are a project's own, and cannot be made from documents."""

ROLES = (Role.EMBEDDER, Role.SYNTHESIZER, Role.REWRITER, Role.JUDGE)
METRICS: Mapping[Role, tuple[str, ...]] = {
    Role.EMBEDDER: ("nDCG@10", "Recall@5"),
    Role.SYNTHESIZER: ("F1", "EM", "right refusals", "wrong refusals", "citation recall"),
    Role.REWRITER: ("ROUGE-1", "rewrite EM"),
    Role.JUDGE: tuple(map(task_accuracy, TASKS)),
}

UNREAD = frozenset({Filter.WRITTEN, Filter.DUPLICATE})
"""Filters whose rows the arm without filters leaves out too: they are no questions, or are there twice."""


class Arm(StrEnum):
    UNTUNED = "untuned"
    STARTER = "starter"
    SENTENCES = "sentences as questions"
    MADE = "made rows"
    VOTED = "made rows that voters agree on"
    UNFILTERED = "made rows without filters"
    MADE_AND_FEW = "made rows and 125 human ones"
    FEW = "125 human rows"
    HUMAN = "all human rows"


TRAINED = tuple(arm for arm in Arm if arm not in (Arm.UNTUNED, Arm.STARTER))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where rows come from: the human rows of a domain, and those made from its documents."""

    human: DataFolder
    made: DataFolder

    def rows(self, arm: Arm, role: Role, seed: int) -> list[Row]:
        """The training rows of an arm, drawn with `seed`; without filters, as many as with them."""
        human = [row for row in self.human.rows("train", role) if not _is_intent(row)]
        made = [row for row in self.made.rows("train", role) if row.origin is DataOrigin.MADE]
        few = random.Random(f"{role} {seed}").sample(human, min(FEW, len(human)))
        match arm:
            case Arm.SENTENCES:
                return list(sentences_as_questions(self.human.training_passages().values(), seed))
            case Arm.VOTED:
                found = found_alone(self.made)
                return [row for row in made if not (isinstance(row, EmbedRow) and row.query_id in found)]
            case Arm.HUMAN:
                return human
            case Arm.FEW:
                return few
            case Arm.MADE:
                return made
            case Arm.MADE_AND_FEW:
                return [*made, *few]
        return self._unfiltered(role, made, seed)

    def _unfiltered(self, role: Role, made: Sequence[Row], seed: int) -> list[Row]:
        dropped = list(dropped_rows(self.made, role))
        every = [*made, *dropped]
        return random.Random(f"unfiltered {seed}").sample(every, min(len(made), len(every)))

    def lay(self, folder: Path, arm: Arm, role: Role, seed: int) -> Path:
        """Write the arm's data folder: its own training rows, dev rows of the same origin, and the human test rows."""
        (folder / "train").mkdir(parents=True, exist_ok=True)
        write_rows(self.human.passages().values(), folder / PASSAGES)
        write_rows(self.rows(arm, role, seed), folder / "train" / f"{role.value}.jsonl")
        dev = self.human if arm in (Arm.HUMAN, Arm.FEW, Arm.SENTENCES) else self.made
        kept = [row for row in dev.rows("dev", role) if not _is_intent(row)]
        write_rows(kept, folder / "dev" / f"{role.value}.jsonl")
        for other in ROLES:
            if self.human.has("test", other):
                write_rows(self.human.rows("test", other), folder / "test" / f"{other.value}.jsonl")
        return folder


def sentences_as_questions(passages: Iterable[PassageRow], seed: int) -> Iterator[EmbedRow]:
    """The cheapest rows of an embedder, for which no model writes: up to `SENTENCES` sentences of a passage find it."""
    for passage in passages:
        found = [passage.text[start:end] for start, end in sentences(passage.text)]
        said = [text for text in found if len(text.split()) >= LEAST_WORDS]
        drawn = random.Random(f"{passage.id} {seed}").sample(said, min(SENTENCES, len(said)))
        yield from (EmbedRow(f"s-{passage.id}-{at}", text, (passage.id,)) for at, text in enumerate(drawn))


def found_alone(made: DataFolder) -> frozenset[str]:
    """The ids of an embedder's rows on which the voters did not agree."""
    origins = (line.fields for line in read_lines(made.folder / ORIGIN))
    return frozenset(str(each["id"]) for each in origins if each["role"] == Role.EMBEDDER and each["how"] == FOUND)


def dropped_rows(made: DataFolder, role: Role) -> list[Row]:
    """What filters dropped, as training rows of embedder or synthesizer, of documents that training may show."""
    if role not in (Role.EMBEDDER, Role.SYNTHESIZER):
        return []
    shown, found = made.training_passages(), list[Row]()
    for line in read_lines(made.folder / REJECTED):
        each: Mapping[str, Any] = line.fields
        if each["filter"] in UNREAD or each["passage"] not in shown or not each["question"]:
            continue
        id_, gold = f"dropped-{each['id']}", (each["passage"],)
        if role is Role.EMBEDDER:
            found.append(EmbedRow(id_, each["question"], gold, origin=DataOrigin.MADE))
        else:
            found.append(QuestionRow(id_, each["question"], (each["span"],), True, passage_ids=gold, origin=DataOrigin.MADE))
    return found


def _is_intent(row: Row) -> bool:
    return isinstance(row, JudgeRow) and row.task not in TASKS


def share_kept(
    made: Sequence[float], human: Sequence[float], groups: Sequence[str], level: float = 0.95
) -> dict[str, float | None]:
    """Fieller's interval of Σ made / Σ human, paired gains of the same items: the shares s whose made − s · human is not shown to
    differ from zero by the cluster-robust t. A bound is None if the human gain itself is not shown: then the share has none.
    """
    x, y = np.asarray(made, dtype=np.float64), np.asarray(human, dtype=np.float64)
    codes = group_codes(groups, len(x))

    def inside(share: float) -> bool:
        of = contributions_of(x - share * y, codes)
        error = cluster_error(of)
        return bool(abs(of.value) <= t_quantile(level, error.freedom) * error.error)

    value = float(x.sum() / y.sum()) if y.sum() else None
    whole = contributions_of(y, codes)
    error = cluster_error(whole)
    if abs(whole.value) <= t_quantile(level, error.freedom) * error.error:
        return {"value": value, "low": None, "high": None}
    grid = [place for place in np.arange(-2.0, 4.0, 0.005).tolist() if inside(place)]
    return {"value": value, "low": min(grid, default=None), "high": max(grid, default=None)}


def run_once(project: Project, sources: Sources, arm: Arm, role: Role, seed: int, items: int, work: Path) -> dict[str, Any]:
    """Train an arm and measure it, or read the stored result: the scores of each item."""
    folder = work / role.value / f"{arm.name.lower()}-{seed}"
    if (known := stored(folder / "result.json")) is not None:
        return known
    version = _version(project, sources, arm, role, seed, folder)
    tests = read_tests(sources.human, _sizes(items), roles=(role,))
    configuration = (
        Configuration(BASE_CHAIN, frozenset()) if version is None else Configuration(f"+ {role.value}", frozenset({role}))
    )
    ways = {"served": project.settings}
    if role is Role.EMBEDDER:
        alone = project.settings.retrieval.model_copy(update={"hybrid": False})
        ways["vectors alone"] = project.settings.model_copy(update={"retrieval": alone})
    found: dict[str, Any] = {"arm": arm.value, "role": role.value, "seed": seed, "rows": 0, "items": {}}
    if arm in TRAINED:
        found["rows"] = len(sources.rows(arm, role, seed))
    for way, settings in ways.items():
        items_of_way = found["items"][way] = _measured(
            settings, tests, version, role, configuration, folder / way.replace(" ", "-")
        )
        found["macro-F1"] = macro_f1(items_of_way)
    save(folder / "result.json", found)
    return found


def _sizes(items: int) -> Sizes:
    return Sizes(questions=items, unanswerable=items // 3, turns=items, judgments=max(20, items // 2))


def _version(project: Project, sources: Sources, arm: Arm, role: Role, seed: int, folder: Path) -> Version | None:
    starters = {each.role: each for each in project.registry.list() if is_starter(project.registry.show(each.role, each.id))}
    if arm is Arm.UNTUNED:
        return None
    if arm is Arm.STARTER:
        return starters.get(role)
    data = sources.lay(folder / "rows", arm, role, seed)
    begin = starters[role].id if role in starters else None
    spec = TrainingSpec(role, data, changed(load_recipe(role), seed=seed), begin, measured=False)
    callbacks = TrainingCallbacks(on_progress=progress_lines(f"{role.value}, {arm.value}, seed {seed}"))
    return train_adapter(project.settings, project.registry, spec, folder / "run", resume=True, callbacks=callbacks)


def _measured(
    settings: Settings, tests: Any, version: Version | None, role: Role, configuration: Configuration, folder: Path
) -> dict[str, dict[str, Any]]:
    """Item → its group and scores; of judgments, whether the label is right, with the labels."""
    versions = {} if version is None else {role: version}
    with open_run(folder, {"version": "" if version is None else version.id}) as run_folder:
        run_configurations(settings, tests, versions, (configuration,), run_folder=run_folder)
    found = {}
    for line in read_lines(folder / "items.jsonl"):
        row: Mapping[str, Any] = line.fields
        if row.get("configuration") == configuration.name:
            each = {key: row[key] for key in ("group", "scores", "gold", "label") if key in row}
            if "gold" in each:
                task = str(each["gold"]).partition(": ")[0]
                each["scores"] = {task_accuracy(task): float(each["label"] == each["gold"])}
            found[f"{row['kind']} {row['id']}"] = each
    return found


def macro_f1(items: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The judge's macro-F1 of each task."""
    labelled = {name: each for name, each in items.items() if "gold" in each}
    judged = [Judged(name, each["gold"], each["label"], group=each["group"]) for name, each in labelled.items()]
    found = {task: figure(task_f1(task), judged) for task in TASKS}
    return {task_f1(task): value for task, value in found.items() if value is not None}


def report(runs: Sequence[Mapping[str, Any]], role: Role) -> dict[str, Any]:
    """By search and metric: each arm's mean over items, each the mean of its seeds, the difference to the floor (untuned; of a
    generation role, its starter), and the share of the human gain that the other arms keep."""
    floor_arm = Arm.UNTUNED if role is Role.EMBEDDER else Arm.STARTER
    found: dict[str, Any] = {}
    for way in sorted({way for run in runs for way in run["items"]}):
        for metric in METRICS[role]:
            arms = {arm: _means(runs, arm, way, metric) for arm in Arm if any(run["arm"] == arm for run in runs)}
            found[f"{metric}, {way}"] = _compared(arms, floor_arm) | {"rows": {run["arm"]: run["rows"] for run in runs}}
    if role is Role.JUDGE:
        found["macro-F1"] = {run["arm"]: run["macro-F1"] for run in runs}
    return found


def _compared(arms: Mapping[Arm, Mapping[str, Any]], floor_arm: Arm) -> dict[str, Any]:
    found: dict[str, Any] = {"arms": {}, "differences": {}, "share of the human gain": {}}
    for arm, each in arms.items():
        found["arms"][arm.value] = plain(mean_interval(each["values"], groups=each["groups"]))
    if floor_arm not in arms:
        return found
    floor = arms[floor_arm]
    gains = {arm: np.subtract(each["values"], floor["values"]).tolist() for arm, each in arms.items() if arm is not floor_arm}
    for arm in gains:
        found["differences"][arm.value] = plain(paired_difference(floor["values"], arms[arm]["values"], groups=floor["groups"]))
        if arm is not Arm.HUMAN and Arm.HUMAN in gains:
            found["share of the human gain"][arm.value] = share_kept(gains[arm], gains[Arm.HUMAN], floor["groups"])
    return found


def _means(runs: Sequence[Mapping[str, Any]], arm: str, way: str, metric: str) -> dict[str, Any]:
    """An item's mean over the arm's seeds, in the order of the items' names, for items that have the metric."""
    chosen = [run["items"][way] for run in runs if run["arm"] == arm]
    names = sorted(name for name, each in chosen[0].items() if metric in each.get("scores", {}))
    values = [statistics.fmean(run[name]["scores"][metric] for run in chosen) for name in names]
    return {"values": values, "groups": [chosen[0][name]["group"] for name in names]}


def open_domain(domain: Path, work: Path) -> Project:
    """A project of the domain's documents in `work`, with the bundled starters and its documents ingested."""
    place = work / "project"
    if not (place / "lorag.yaml").is_file():
        lorag.init(place, domain / "documents", starters=False).close()
    project = lorag.open(place)
    install_starters(project.settings, fitting_starters(project.settings)[0], lambda _: None)
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=Path, required=True)
    parser.add_argument("--made", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--roles", nargs="+", choices=[role.value for role in ROLES], default=[role.value for role in ROLES])
    parser.add_argument("--arms", nargs="+", choices=[arm.name.lower() for arm in Arm], default=[arm.name.lower() for arm in Arm])
    parser.add_argument("--seeds", type=int, default=3, help="of the embedder; the others have one")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    sources = Sources(DataFolder(given.domain, {}), DataFolder(given.made, {}))
    reports = {}
    with open_domain(given.domain, given.work) as project:
        for role in map(Role, given.roles):
            runs = []
            for arm in (arm for arm in Arm if arm.name.lower() in given.arms and fits(arm, role)):
                seeds = given.seeds if role is Role.EMBEDDER and arm in TRAINED else 1
                runs += [run_once(project, sources, arm, role, seed, given.items, given.work) for seed in range(seeds)]
                show(role, runs, arm)
            reports[role.value] = report(runs, role)
    print(json.dumps(reports, indent=1))
    if given.out is not None:
        files = [given.domain / split / f"{name}.jsonl" for split in ("train", "test") for name in given.roles]
        save(given.out, {"domain": given.domain.name, "roles": reports, **provenance([p for p in files if p.is_file()])})


def fits(arm: Arm, role: Role) -> bool:
    """Whether an arm is one of the role: sentences, and questions that only find their passage, are for an embedder alone."""
    return arm not in (Arm.SENTENCES, Arm.VOTED) or role is Role.EMBEDDER


def show(role: Role, runs: Sequence[Mapping[str, Any]], arm: Arm) -> None:
    own = [run for run in runs if run["arm"] == arm]
    for way in own[0]["items"]:
        figures = ", ".join(f"{m} {statistics.fmean(_means(own, arm, way, m)['values']):.3f}" for m in METRICS[role])
        print(f"{role.value}, {arm.value} ({own[0]['rows']} rows), {way}: {figures}", flush=True)


if __name__ == "__main__":
    main()
