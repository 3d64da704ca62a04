"""Measures a project's adapters on held-out data: the table of configurations, the paired evidence and the floors.

The composition root of evaluation: settings and a data folder in, plain figures out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lorag.assembly import open_registry
from lorag.evaluating.claimed_figures import comparisons_as_claimed, floors_as_claimed
from lorag.evaluating.claims import (
    SPLIT,
    Candidate,
    Comparator,
    comparators,
    further_claims,
    held_out_data,
    items_asked,
    leading_claims,
)
from lorag.evaluating.decisions import decision_card
from lorag.evaluating.details import Details, usage_json
from lorag.evaluating.figures import compare, metrics_of, shown_metrics, table
from lorag.evaluating.floor_figures import FloorFigures, floor_figures, floor_table, lost_notes
from lorag.evaluating.measuring import (
    NO_VERSIONS,
    ROLES,
    Documents,
    Measurements,
    Progress,
    run_configurations,
    with_adapters,
)
from lorag.evaluating.run_folder import RunFolder, identity, open_run
from lorag.evaluating.starter_figures import against_starters, with_starter
from lorag.evaluating.testset import Sizes, read_examples, read_tests, roles_tested, rows_of
from lorag.evaluating.versions import chosen_versions, serving_beside
from lorag.pipeline.adapters.evidence import BARE_BASE, Evidence, EvidenceData, EvidenceKind
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.ablation import (
    BASE_CHAIN,
    LOWER_IS_BETTER,
    Configuration,
    Measured,
    TestSet,
    TooFew,
    full_factorial,
    one_at_a_time,
)
from lorag.pipeline.evaluation.factorial import Factorial, factorial_effects
from lorag.pipeline.evaluation.journal import Usage
from lorag.pipeline.evaluation.report.decision import DecisionCard, decision_json
from lorag.pipeline.evaluation.report.records import Ablation, Comparison
from lorag.pipeline.records import Role
from lorag.training.dataset import HELD_OUT, DataFolder

__all__ = ["ROLES", "Evaluation", "Progress", "evaluate", "evaluate_adapter", "evaluate_chain", "with_adapters"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of an evaluation. `measured` holds every item; the rest is for tables.

    `ablation` has the base chain, each adapter alone and all of them. `floors` compare these with `measured_floors`, the systems
    without training. `runs` has every configuration and `factorial` their effects, if all of them were measured. `usage` counts
    requests and tokens. `notes` say what was left out; `floors` have their own. If starters were measured, `ablation` and
    `comparisons` show them too. `diagnostics` show where answers are lost, if they were asked for. `claims` are for each
    adapter's card, as `evaluate_adapter` makes them, and `decisions` say what the gate makes of them.
    """

    tests: TestSet
    measured: tuple[Measured, ...]
    ablation: Ablation
    comparisons: tuple[Comparison, ...]
    floors: FloorFigures = FloorFigures()
    runs: Ablation = Ablation((), ())
    factorial: Factorial = Factorial(())
    usage: tuple[Usage, ...] = ()
    details: Details | None = None
    notes: tuple[str, ...] = ()
    starters: Measured | None = None
    measured_floors: tuple[Measured, ...] = ()
    diagnostics: Ablation = Ablation((), ())
    claims: Mapping[Role, tuple[Evidence, ...]] = field(default_factory=dict)
    decisions: tuple[DecisionCard, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The figures without the items."""
        rows = {row.configuration: {m: asdict(cell) for m, cell in row.cells.items()} for row in self.ablation.rows}
        return {
            "decisions": [decision_json(each) for each in self.decisions],
            "configurations": rows,
            "comparisons": [asdict(each) for each in self.comparisons],
            "floors": [asdict(each) for each in self.floors.best],
            "diagnostics": [asdict(each) for each in self.diagnostics.rows],
            "against_floors": [asdict(each) for each in self.floors.comparisons],
            "notes": [*self.floors.wins, *self.notes],
            **({} if self.details is None else self.details.to_json()),
        }


def evaluate_chain(
    settings: Settings,
    data: Path,
    limit: int | None = None,
    on_progress: Progress | None = None,
    *,
    conversations: int = 0,
    out: Path | None = None,
    on_documents: Documents | None = None,
    diagnose: bool = False,
) -> Evaluation:
    """Measure the base chain, each adapter alone and all of them on `data`/test, with all details.

    `limit` bounds the items of each kind that the model answers. The turns of `conversations` conversations, drawn at random, are
    answered too. The adapters are those that the settings name, or else the candidates. `out` and `diagnose` are as for
    `evaluate`. Raises InputError if there is no adapter at all.
    """
    chosen, sizes = chosen_versions(settings), Sizes.at_most(limit, settings.seed, conversations)
    return evaluate(
        settings,
        DataFolder(data, settings.judge.intents),
        chosen,
        sizes,
        on_progress,
        with_details=True,
        out=out,
        on_documents=on_documents,
        diagnose=diagnose,
        serving=serving_beside(settings, chosen),
    )


def evaluate(
    settings: Settings,
    data: DataFolder,
    versions: Mapping[Role, Version],
    sizes: Sizes,
    on_progress: Progress | None = None,
    *,
    full: bool = False,
    with_details: bool = False,
    out: Path | None = None,
    on_documents: Documents | None = None,
    starters: Mapping[Role, Version] = NO_VERSIONS,
    serving: Mapping[Role, Version] = NO_VERSIONS,
    diagnose: bool = False,
) -> Evaluation:
    """As `evaluate_chain`, with everything resolved. With `full`, every set of adapters is measured, and their effects.

    `starters` are adapters to compare with, measured together and with the frozen encoder. Each version of `serving` is measured
    alone, and `claims` compare the new adapter of its role with it. `with_details` measures the details too. With
    `diagnose`, all adapters answer with the gold passages shown too, and the bare base without passages.

    Adapters without test rows are left out, and `notes` say so. Replies are saved in the folder `out` as they come, and a killed
    run continues there. Raises InputError if `out` holds a run of other settings, DataError if no adapter has test rows.
    """
    for role in versions:
        data.check_leaks(role)
    tests = read_tests(data, sizes, roles=[role for role in ROLES if data.has("test", rows_of(role))])
    roles, without_rows = _measurable(tests, versions)
    if not roles:
        raise DataError(
            f"no rows in {data.folder}/test that an adapter of this project is measured on; docs/reference/rows.md shows them"
        )
    configurations = full_factorial(roles) if full else one_at_a_time(roles)
    with _open_run_folder(out, settings, data, versions, sizes, configurations) as run_folder:
        if run_folder is not None:
            run_folder.keep(tests)
        run = run_configurations(
            settings,
            tests,
            versions,
            configurations,
            on_progress,
            run_folder=run_folder,
            with_details=with_details,
            on_documents=on_documents,
            starters=starters,
            serving={role: each for role, each in serving.items() if role in roles and each.id != versions[role].id},
            examples=read_examples(data),
            diagnose=diagnose,
        )
        in_table = {each.name for each in one_at_a_time(roles)}
        comparisons, too_few = compare(run.measured, roles)
        figures = floor_figures(run.floors, run.measured, roles, shown_metrics(tests), LOWER_IS_BETTER, run.starters)
        shown = [each for each in run.measured if each.configuration.name in in_table]
        starter_notes: tuple[str, ...] = ()
        if run.starters is not None:
            shown.insert(1, run.starters)
            comparisons = tuple(with_starter(each, run.starters) for each in comparisons)
            starter_notes = against_starters(run.starters, run.measured, roles)
        claims = _claims(settings, data, roles, versions, serving, run)
        comparisons, figures = comparisons_as_claimed(comparisons, claims), floors_as_claimed(figures, claims)
        found = Evaluation(
            tests=tests,
            measured=run.measured,
            ablation=table(shown, tests, run.reach),
            comparisons=comparisons,
            floors=figures,
            usage=run.usage,
            starters=run.starters,
            details=run.details,
            measured_floors=run.floors,
            diagnostics=floor_table(run.diagnostics, shown_metrics(tests)),
            notes=(*figures.notes, *lost_notes(run.diagnostics, run.measured), *without_rows, *too_few, *starter_notes),
            claims=claims,
            decisions=_decisions(settings, versions, claims, run),
        )
        if full:
            factorial = factorial_effects(run.measured, tests, roles, metrics_of(tests), run.reach)
            found = replace(found, runs=table(run.measured, tests, run.reach), factorial=factorial)
        if run_folder is not None:
            run_folder.finish(found.to_json(), usage_json(run.usage))
    return found


def _measurable(tests: TestSet, versions: Mapping[Role, Version]) -> tuple[list[Role], list[str]]:
    """The adapters that have test items, and notes on the others."""
    tested = roles_tested(tests)
    notes = [f"The {role.value} adapter is left out: there are no test rows for it." for role in versions if role not in tested]
    return [role for role in ROLES if role in versions and role in tested], notes


@contextmanager
def _open_run_folder(
    out: Path | None,
    settings: Settings,
    data: DataFolder,
    versions: Mapping[Role, Version],
    sizes: Sizes,
    configurations: Sequence[Configuration],
) -> Iterator[RunFolder | None]:
    if out is None:
        yield None
        return
    with open_run(out, identity(settings, data, versions, sizes, configurations)) as run_folder:
        yield run_folder


@dataclass(frozen=True, slots=True)
class MeasuredAdapter:
    """A measured version, the claims that are on its card now, and what the measurement took."""

    version: Version
    claims: tuple[Evidence, ...]
    usage: tuple[Usage, ...]


def evaluate_adapter(
    settings: Settings,
    role: Role,
    version: str,
    data: Path,
    on_progress: Progress | None = None,
    *,
    sizes: Sizes | None = None,
    on_documents: Documents | None = None,
    split: str = SPLIT,
) -> MeasuredAdapter:
    """Measure one adapter on `data`/`split` against what serves now, the bare base, the no-op of its role and the best floor.

    The claims on its own metric go on its card and are returned, first the one against what serves; then those of its guards.
    The look at the test set is written to the registry's ledger.
    """
    registry = open_registry(settings)
    found, production = registry.resolve(role, version), registry.serving(role)
    folder = DataFolder(data, settings.judge.intents)
    folder.check_leaks(role, HELD_OUT if split == SPLIT else (split,))
    tests = read_tests(folder, sizes or Sizes(), split, roles=(role,))
    both = (Configuration(BASE_CHAIN, frozenset()), Configuration(f"+ {role.value}", frozenset({role})))
    serving = {role: production} if production is not None and production.id != found.id else {}
    run = run_configurations(
        settings,
        tests,
        {role: found},
        both,
        on_progress,
        on_documents=on_documents,
        serving=serving,
        examples=read_examples(folder),
    )
    kind = EvidenceKind.HELD_OUT if split == SPLIT else EvidenceKind.SEALED
    data_of, items = held_out_data(folder, role, (role,), split), items_asked(folder, role, (role,), split)
    claims = _claims_of(registry, found, data_of, items, serving, run, kind)
    return MeasuredAdapter(registry.attach_evidence(role, found.id, claims), claims, run.usage)


def _claims_of(
    registry: Registry,
    version: Version,
    data: EvidenceData,
    items: tuple[str, ...],
    serving: Mapping[Role, Version],
    run: Measurements,
    kind: EvidenceKind = EvidenceKind.HELD_OUT,
) -> tuple[Evidence, ...]:
    """The claims of one adapter: its own metric against the version that serves, if it was measured, the bare base, the no-op and
    the best floor, then its guards. Raises TooFew."""
    role = version.role
    by_name = {each.configuration.name: each for each in run.measured}
    weights = registry.show(role, version.id).identity.weights_digest
    candidate = Candidate(role, version.id, weights, by_name[f"+ {role.value}"], kind)
    serves = [Comparator(registry.as_reference(serving[role]), run.serving[role])] if role in run.serving else []
    compared = comparators(role, run.floors, [*serves, Comparator(BARE_BASE, by_name[BASE_CHAIN])])
    claims = leading_claims(registry, candidate, data, items, compared)
    look = claims[0].look or 0
    raw = run.raw_searches if role is Role.REWRITER else ()
    return *claims, *further_claims(candidate, data, compared[0], run.floors, raw, look)


def _claims(
    settings: Settings,
    data: DataFolder,
    roles: Sequence[Role],
    versions: Mapping[Role, Version],
    serving: Mapping[Role, Version],
    run: Measurements,
) -> Mapping[Role, tuple[Evidence, ...]]:
    """The claims of each role that has enough items."""
    registry, found = open_registry(settings), dict[Role, tuple[Evidence, ...]]()
    for role in roles:
        with suppress(TooFew):  # `compare` reports it
            held_out, items = held_out_data(data, role, roles), items_asked(data, role, roles)
            found[role] = _claims_of(registry, versions[role], held_out, items, serving, run)
    return found


def _decisions(
    settings: Settings, versions: Mapping[Role, Version], claims: Mapping[Role, tuple[Evidence, ...]], run: Measurements
) -> tuple[DecisionCard, ...]:
    """The card of each role that has claims."""
    registry = open_registry(settings)
    return tuple(decision_card(registry, versions[role], found, run.usage) for role, found in claims.items())
