"""Writes the stored results into the tables of the README and of docs/, so that no figure there is typed by hand.

    python -m benchmarks.tables [--demo demo-out/report.json]

Each table is between `<!-- table NAME -->` and `<!-- end -->`; a test checks it against benchmarks/results/.
With --demo, the figures of that run are stored as benchmarks/results/demo.json first.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.coverage_tables import coverage_rows, promotion_rows
from benchmarks.provenance import commit, save

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- table ([\w-]+) -->\n\n).*?(\n\n<!-- end -->)", flags=re.DOTALL)

DEMO_KEYS = (
    "title",
    "decisions",
    "comparisons",
    "ablation",
    "floors",
    "against_floors",
    "floor_systems",
    "without_floor",
    "diagnostics",
    "effects",
    "outcomes",
    "notes",
    "provenance",
    "format",
)
RETRIEVAL = ("nDCG@10", "Recall@5")
SEARCHES = ("default weights", "weights chosen on dev")
REWRITES = ("ROUGE-1", "rewrite EM")
JUDGE = ("mean task macro-F1", *(f"macro-F1, {task}" for task in ("intent", "relevance", "answerability", "support")))
ANSWERS = ("EM", "F1", "citation precision", "citation recall", "right refusals", "wrong refusals")
DIAGNOSED = ("EM", "F1", "right answers", "citation recall", "right refusals", "wrong refusals", "truthfulness")
IN_DEMO = {"base chain": "base", "starter adapters": "starters, untrained on the domain", "all adapters": "tuned on the domain"}
IN_FRONT = {
    "nDCG@10": "retrieval, nDCG@10",
    "ROUGE-1": "rewrites, ROUGE-1",
    "F1": "answers, F1",
    "citation recall": "citation recall",
    "right refusals": "right refusals",
    "wrong refusals": "wrong refusals (less is better)",
    "mean task macro-F1": "judge, macro-F1, mean of its tasks",
}
"""The demo's metrics in the README's one table, with the names of the rows."""
IN_PUBLIC_DOMAIN = {
    "base chain": "base chain",
    "+ embedder": "+ embedder",
    "+ synthesizer": "+ synthesizer",
    "all adapters": "both",
}

Figure = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def span(figure: Figure | None, digits: int = 2) -> str:
    """A mean with its 95 % interval."""
    if figure is None or figure.get("low") is None:
        return ""
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f}–{figure['high']:.{digits}f})"


def at_level(figure: Figure) -> str:
    """The level of an interval that a correction for other tests sets, if it is not 95 %."""
    level = figure.get("level", 0.95)
    return "" if abs(level - 0.95) < 1e-9 else f" ({100 * level:.4g} %)"


def difference(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f})"


def claimed(each: Figure) -> str:
    """The difference of a claim, a comparison or a guard, with the level of its interval."""
    return f"{difference({**each, 'value': each['difference']})}{at_level(each)}"


def floor_of(found: Mapping[str, Any], metric: str) -> str:
    """The best floor of a metric with its interval, or why it has none."""
    floor = next((each for each in found["floors"] if each["metric"] == metric), None)
    if floor is None:
        return str(found.get("without_floor", {}).get(metric, ""))
    return f"{span(floor) or format(floor['value'], '.2f')}, {floor['name']}"


def _counts(cell: Figure) -> str:
    """The items of a figure, and their groups if they are known."""
    return f"n = {cell['n']}" + (f" in {cell['groups']} groups" if cell.get("groups") else "")


def demo_floors() -> str:
    """Each adapter and the chain against the best floor, those first that a floor wins."""
    found = result("demo").get("against_floors")
    if not found:
        return "The stored run was made before floors were measured item by item; it has no such comparisons."
    rows = (
        [
            each["role"],
            each["metric"],
            f"{each['reference']:.3f}, {each['floor']}",
            f"{each['tuned']:.3f}",
            claimed(each),
            _counts(each),
            "better" if each["beaten"] else "**the floor wins**",
        ]
        for each in sorted(found, key=lambda each: bool(each["beaten"]))
    )
    return table(["role", "metric", "best floor", "tuned", "tuned − floor", "items", ""], rows)


def demo_decisions() -> str:
    """What the gate made of each adapter: each comparator that it must beat, then each guard that it lost."""
    rows = []
    for card in result("demo")["decisions"]:
        title, decision = card["role"], f"**{card['decision']}**"
        for each in card["comparators"]:
            moved, sizes = f"{each['reference']:.3f} → {each['tuned']:.3f}", f"{each['n']} in {each['groups']} groups"
            verdict = "better" if each["beaten"] else "not shown"
            rows.append([title, decision, card["metric"], each["against"], moved, claimed(each), sizes, verdict])
        for guard in card["guards"]:
            if guard["lost"]:
                rows.append([title, decision, guard["metric"], guard["against"], "", claimed(guard), "", "lost"])
    return table(["adapter", "decision", "metric", "against", "from → to", "difference", "items", ""], rows)


def demo_floor_systems() -> str:
    """Every floor's figures, a row each."""
    found = result("demo").get("floor_systems")
    if not found:
        return "The stored run has none."
    rows = (
        [row["configuration"], metric, span(cell) or f"{cell['value']:.2f}", _counts(cell)]
        for row in found["rows"]
        for metric, cell in row["cells"].items()
    )
    return table(["floor", "metric", "figure", "items"], rows)


def demo_diagnostics() -> str:
    """Where answers are lost: with the gold passages, as found, and without any."""
    found = result("demo")
    rows = {row["configuration"]: row["cells"] for row in (*found["diagnostics"]["rows"], *found["ablation"]["rows"])}
    shown = {"gold passages shown": "gold passages shown", "all adapters": "passages as found", "no passages shown": "none shown"}
    lines = ([metric, *(_sized(rows[name].get(metric)) for name in shown)] for metric in DIAGNOSED)
    return table(["metric", *shown.values()], lines)


def _sized(cell: Mapping[str, Any] | None) -> str:
    return "" if cell is None else f"{span(cell)}, n = {cell['n']}"


def systems(name: str, shown: Mapping[str, str], metrics: Sequence[str]) -> Callable[[], str]:
    """Configurations of an evaluation side by side; `shown` is configuration → column title."""

    def block() -> str:
        found = result(name)
        cells = {row["configuration"]: row["cells"] for row in found["ablation"]["rows"]}
        last = cells[list(shown)[-1]]
        rows = (
            [
                f"{metric}, {_counts(last[metric])}",
                *(span(cells[configuration].get(metric)) for configuration in shown),
                floor_of(found, metric),
            ]
            for metric in metrics
            if metric in last
        )
        return table(["metric", *shown.values(), "floor"], rows)

    return block


def front() -> str:
    """The README's table, with the floor first, since a figure below it is of no use."""
    found = result("demo")
    cells = {row["configuration"]: row["cells"] for row in found["ablation"]["rows"]}
    rows = (
        [
            f"{title}, {_counts(cells['all adapters'][metric])}",
            floor_of(found, metric),
            *(span(cells[configuration].get(metric)) for configuration in IN_DEMO),
        ]
        for metric, title in IN_FRONT.items()
        if metric in cells["all adapters"]
    )
    return table(["metric", "floor: no training", "bare base", "starters", "tuned on the domain"], rows)


def injection() -> str:
    systems = result("injection")["systems"]
    shown = {
        "moved by what was planted": "moved",
        "right answer, under attack": "right, attacked",
        "right answer, without attack": "right, control",
    }
    rows = ([title, *(span(systems[name]["summary"][key], 3) for name in systems)] for title, key in shown.items())
    return table(["", *systems], rows)


def demo_adapters() -> str:
    """Each adapter alone against the base, on its own metric."""
    return table(
        ["role", "metric", "base", "starter", "tuned", "tuned − base", "95 % interval", "n"],
        (
            [
                each["role"],
                each["metric"],
                f"{each['base']:.3f}",
                "" if each.get("starter") is None else f"{each['starter']:.3f}",
                f"{each['tuned']:.3f}",
                f"{each['difference']:+.3f}",
                f"{each['low']:+.3f} to {each['high']:+.3f}{at_level(each)}",
                str(each["n"]),
            ]
            for each in result("demo")["comparisons"]
        ),
    )


def sealed() -> str:
    """What a promotion by the sealed part saw of each adapter that the test split allowed."""
    rows = []
    for role, found in result("sealed")["roles"].items():
        if not found["claims"]:
            rows.append([f"{role} {found['version']}", "", "", "", "", "", "not opened: refused on the test split"])
        for each in found["claims"]:
            verdict = "promoted" if found["promoted"] else "held or rejected"
            rows.append(
                [
                    f"{role} {found['version']}",
                    each["metric"],
                    each["against"],
                    f"{each['reference']:.3f}",
                    f"{each['tuned']:.3f}",
                    f"{claimed(each)}, {_counts(each)}",
                    verdict,
                ]
            )
    return table(["adapter", "metric", "against", "reference", "tuned", "difference", ""], rows)


def embedder_seeds() -> str:
    """The tuned encoder against the frozen one, over seeds of its training."""
    found, rows = result("embedder_seeds"), []
    for metric in RETRIEVAL:
        each, apart = found[metric], found[metric]["difference"]
        seeds = ", ".join(f"{mean:.3f}" for mean in each["tuned by seed"])
        spread = f"{each['spread of seeds']:.4f}"
        rows.append([f"{metric}, {_counts(apart)}", f"{each['frozen']:.3f}", seeds, spread, difference(apart)])
    return table(["metric", "frozen", "tuned, by seed", "standard deviation of seeds", "difference"], rows)


class Starters:
    """The figures of a starter's benchmark."""

    def __init__(self, role: str) -> None:
        self._figures = {(each["task"], each["metric"], each["system"]): each for each in result(f"starters_{role}")["figures"]}

    def tasks(self, metric: str) -> list[str]:
        return [task for task, name, system in self._figures if (name, system) == (metric, "starter")]

    def n(self, task: str, metric: str) -> int:
        return int(self._figures[task, metric, "starter"]["n"])

    def span(self, task: str, metric: str, system: str) -> str:
        return span(self._figures[task, metric, system])

    def both(self, task: str, metric: str) -> str:
        return f"{self._figures[task, metric, 'base']['value']:.2f} → {self.span(task, metric, 'starter')}"


def starter_floor(task: str, metric: str) -> str:
    """The best rule without a model on the items of a starter's task, with its name."""
    known = [each for each in result("starters_floors")["figures"] if (each["task"], each["metric"]) == (task, metric)]
    best = max(known, key=lambda each: float(each["value"]))
    return f"{span(best)}, {best['system']}"


def starter_task(task: str) -> str:
    """A task's name; that of invented rows says where they come from."""
    return f"{task} of the training rows' grammar" if "invented" in task else task


def starters_synthesizer() -> str:
    found, (f1, cited, *refusals) = Starters("synthesizer"), ("F1", "citation recall", "right refusals", "wrong refusals")
    return table(
        ["synthesizer, base → starter", f1, f"{f1} of a floor", cited, f"{cited} of a floor", *refusals],
        (
            [
                f"{starter_task(task)}, n = {found.n(task, f1)} and {found.n(task, refusals[0])}",
                *(cell for metric in (f1, cited) for cell in (found.both(task, metric), starter_floor(task, metric))),
                *(found.both(task, metric) for metric in refusals),
            ]
            for task in found.tasks(f1)
        ),
    )


def starters_rewriter() -> str:
    found = Starters("rewriter")
    return table(
        ["rewriter, ROUGE-1", "raw question", "base", "starter", "entity recall", "harm on standalone turns"],
        (
            [
                f"{starter_task(task)}, n = {found.n(task, 'ROUGE-1')}",
                *(found.span(task, "ROUGE-1", system) for system in ("raw question", "base", "starter")),
                *(found.both(task, metric) for metric in ("entity recall", "harm on standalone turns")),
            ]
            for task in found.tasks("ROUGE-1")
        ),
    )


def starters_judge() -> str:
    """Each row is a set of one task."""
    found, metric = Starters("judge"), "macro-F1"
    return table(
        ["judge, macro-F1", "floor", "base", "starter", "n"],
        (
            [
                starter_task(task),
                starter_floor(task, metric),
                *(found.span(task, metric, system) for system in ("base", "starter")),
                str(found.n(task, metric)),
            ]
            for task in found.tasks(metric)
        ),
    )


def mebibytes(count: float) -> str:
    return f"{count / 2**20:,.1f}" if count < 100 * 2**20 else f"{count / 2**20:,.0f}"


def tuning(name: str) -> Callable[[], str]:
    """A comparison of `benchmarks.compare_tuning`, whose report.json is stored as it is."""

    def block() -> str:
        found = result(f"compare_tuning_{name}")
        n = found["variants"][0]["quality"]["n"]
        return table(
            [
                f"{found['role']}, {found['data']}",
                "updated",
                "peak memory, MiB",
                "optimizer state, MiB",
                "CPU s",
                "saved, MiB",
                f"{found['metric']}, n = {n}",
                "against full",
            ],
            (_tuning_row(each) for each in found["variants"]),
        )

    return block


def _tuning_row(each: Mapping[str, Any]) -> list[str]:
    cost, title = each["cost"], each["variant"]
    if cost is None:
        return [title, "", "", "", "", "", span(each["quality"], 3), ""]
    return [
        title,
        f"{cost['trained']:,} ({100 * cost['share']:.1f} %)",
        f"{cost['peak'] / 2**20:,.0f}",
        mebibytes(cost["optimizer"]),
        f"{cost['cpu_seconds']:,.0f}",
        mebibytes(cost["saved"]),
        span(each["quality"], 3),
        difference(each["against_full"]),
    ]


def classification() -> str:
    rows = []
    for name, found in result("classification")["sets"].items():
        for variant, each in found["variants"].items():
            rows.append(
                [
                    f"{name}, n = {found['test']}",
                    variant,
                    span(each["macro_f1"], 3),
                    difference(found["differences"].get(f"{variant} - frozen")),
                    f"{each['updated']:,}",
                    f"{each['peak_bytes'] / 2**20:,.0f}",
                    f"{each['cpu_seconds']:,.0f}",
                ]
            )
    return table(["set", "encoder", "macro-F1", "against frozen", "updated", "peak memory, MiB", "CPU s"], rows)


def intents() -> str:
    judge = result("classification")["sets"]["intent_clinc150"]["judge"]
    rows = []
    for tested in judge.values():
        differences = {pair.split(" - ")[0]: each for pair, each in tested["differences"].items()}
        rows += [[name, span(each, 3), difference(differences.get(name))] for name, each in tested["accuracy"].items()]
    return table(["system", "accuracy", "against the judge"], rows)


def negatives() -> str:
    rows = []
    for name, found in result("negatives")["domains"].items():
        parts = {name: found["held-out"], f"{found['general']['set']}, not tuned on": found["general"]}
        for shown, part in parts.items():
            rows += [
                [shown, mode, span(each, 3), difference(part["differences"].get(f"{mode} - frozen"))]
                for mode, each in part["nDCG@10"].items()
            ]
    return table(["measured on", "negatives", "nDCG@10", "against the frozen encoder"], rows)


def training_speed() -> str:
    found = result("training_speed")
    rows = ((clock, found["ratios"][f"trl, {key}"]) for clock, key in (("wall clock", "wall"), ("processor time", "process")))
    head = ["LoRAG's speed as a multiple of trl's", "median", "least", "most"]
    return table(head, ([clock, *(f"{each[which]:.2f}" for which in ("median", "least", "most"))] for clock, each in rows))


def memory_estimate() -> str:
    return table(
        ["case", "estimated peak, MiB", "measured peak, MiB", "error"],
        (
            [
                case["case"],
                f"{case['estimated']['total'] / 2**20:,.0f}",
                f"{case['measured']['peak'] / 2**20:,.0f}",
                f"{100 * case['error']:+.0f} %",
            ]
            for case in result("memory_estimate")["cases"]
        ),
    )


def kills() -> str:
    return table(
        ["training", "kills", "failed resumes", "finished runs", "of these equal to an undisturbed one"],
        (
            [name, *(str(each) for each in (of["kills"], len(of["failures"]), of["runs"], of["runs_equal_to_undisturbed"]))]
            for name, of in result("kills")["methods"].items()
        ),
    )


def merged() -> str:
    rows = []
    for role, unit in (("embedder", "a text"), ("rewriter", "a token")):
        agreement = result(f"merge_{role}")["agreement"]
        times = (f"{1000 * agreement[key]:.0f} ms {unit}" for key in ("seconds_unmerged", "seconds_merged"))
        rows.append([role, *times, agreement["measure"], f"{agreement['distance']:.1g}", f"{agreement['tolerance']:g}"])
    return table(["adapter", "with adapter", "merged", "compared by", "difference", "allowed"], rows)


def load() -> str:
    return table(
        ["asked for", "answers", "equal", "close", "wrong", "p50, s", "p95, s", "p50 alone, s"],
        (
            [kind, *(str(of[key]) for key in ("answers", "equal", "close", "wrong")), *_seconds(of)]
            for kind, of in result("load")["kinds"].items()
        ),
    )


def _seconds(of: Mapping[str, Any]) -> list[str]:
    return [f"{of[key]:.2f}" for key in ("p50", "p95", "p50 alone")]


def crosscheck() -> str:
    return table(
        ["set", "passages", "questions", "nDCG@10 of LoRAG", "of a plain loop", "all metrics agree"],
        (
            [
                name,
                f"{of['passages']:,}",
                f"{of['queries']:,}",
                f"{of['lorag']['nDCG@10']:.4f}",
                f"{of['plain']['nDCG@10']:.4f}",
                "yes" if of["agree"] else "no",
            ]
            for name, of in result("retrieval_crosscheck")["sets"].items()
        ),
    )


def searches() -> str:
    """The search of each set beside the best of one kind, by words or by vectors, with paired differences."""
    rows = []
    for found in result("retrieval_search")["sets"]:
        single, test, chosen = found["best single search"], found["test"], found["weights"]
        title = f"{found['set']}, {found['passages']:,} passages, n = {test['questions']} in {test['groups']} groups"
        mix = " / ".join(f"{chosen[name]:g}" for name in ("words", "vectors", "tokens"))
        for metric in RETRIEVAL:
            means = {name: f"{figures[metric]:.3f}" for name, figures in test["means"].items()}
            apart = [found["differences"][f"{name}, {metric}"] for name in SEARCHES]
            shown = zip(SEARCHES, apart, strict=True)
            cells = [
                f"{means[name]}, {difference({**each, 'value': each['difference']})}{_verdict(each)}" for name, each in shown
            ]
            rows.append([title, metric, f"{means[single]}, {single}", *cells, mix])
            title, mix = "", ""
    head = ["set", "metric", "best search of one kind", *SEARCHES, "chosen: words / vectors / tokens"]
    return table(head, rows)


def _verdict(each: Figure) -> str:
    """What an interval of a difference shows."""
    return " **worse**" if each["high"] < 0 else " better" if each["low"] > 0 else ""


def closed_loop(domain: str, role: str, measure: str) -> Callable[[], str]:
    """What rows made from documents are worth beside human ones, by a measure such as “nDCG@10, vectors alone”."""

    def rows() -> str:
        found = result(f"closed_loop_{domain}")["roles"][role][measure]
        apart, shares = found["differences"], found["share of the human gain"]
        lines = [
            [arm, f"{found['rows'][arm]:,}", span(mean, 3), difference(apart.get(arm)), share_of_gain(shares.get(arm))]
            for arm, mean in found["arms"].items()
        ]
        return table(["training rows", "rows", "mean", "against the floor", "share of the human gain"], lines)

    return rows


def share_of_gain(figure: Figure | None) -> str:
    """A share with its interval; it has none if the human gain itself is not shown."""
    if figure is None:
        return ""
    if figure["low"] is None:
        return "human gain not shown"
    return f"{figure['value']:.0%} ({figure['low']:.0%} to {figure['high']:.0%})"


def coverage() -> str:
    return table(*coverage_rows(result("coverage")))


def promotions() -> str:
    return table(*promotion_rows(result("coverage")))


TABLES: Mapping[str, Callable[[], str]] = {
    "coverage": coverage,
    "false-promotions": promotions,
    "training-speed": training_speed,
    "memory-estimate": memory_estimate,
    "kills": kills,
    "merged": merged,
    "load": load,
    "retrieval-crosscheck": crosscheck,
    "searches": searches,
    "front": front,
    "demo": systems("demo", IN_DEMO, (*RETRIEVAL, *REWRITES, *ANSWERS, *JUDGE)),
    "demo-decisions": demo_decisions,
    "demo-diagnostics": demo_diagnostics,
    "sealed": sealed,
    "embedder-seeds": embedder_seeds,
    "demo-floors": demo_floors,
    "demo-floor-systems": demo_floor_systems,
    "demo-adapters": demo_adapters,
    "starters-synthesizer": starters_synthesizer,
    "starters-rewriter": starters_rewriter,
    "starters-judge": starters_judge,
    "tuning-embedder-kelder": tuning("embedder_kelder-sound-line"),
    "tuning-embedder-reddit": tuning("embedder_squad_reddit"),
    "closed-loop-vectors": closed_loop("kelder-sound-line", "embedder", "nDCG@10, vectors alone"),
    "closed-loop-served": closed_loop("kelder-sound-line", "embedder", "nDCG@10, served"),
    "negatives": negatives,
    "classification": classification,
    "intents": intents,
    "injection": injection,
    "public-domain": systems("public_domain", IN_PUBLIC_DOMAIN, (*RETRIEVAL, *ANSWERS)),
}


def filled(text: str) -> str:
    """A page with every table made anew. Raises KeyError for an unknown table."""
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def store_demo(report: Path, of: str) -> None:
    """Store the parts of a demo's report.json that the tables use, without single answers. `of` is its commit."""
    found = json.loads(report.read_text(encoding="utf-8"))
    save(RESULTS / "demo.json", {"commit": of, **{key: found[key] for key in DEMO_KEYS if key in found}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="report.json of a finished demo")
    parser.add_argument("--commit", help="what that demo was run from; this checkout's commit without it")
    options = parser.parse_args()
    if options.demo:
        store_demo(options.demo, options.commit or commit())
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
