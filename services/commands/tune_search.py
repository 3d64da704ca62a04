"""`lorag tune-search`: chooses the weights of the search on dev questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorag.services.options import HERE, DataFolder, Format, Output, Project
from lorag.services.terminal import out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from lorag.pipeline.evaluation.search_weights import ChosenWeights


def tune_search(data: DataFolder, project: Project = HERE, output: Output = Format.TEXT) -> None:
    """Choose how much words, vectors and token vectors count, on FOLDER/dev/embedder.jsonl. They serve from the next question on.

    Run it again after a new embedder adapter serves.
    """
    import lorag
    from lorag.search_tuning import as_json

    with lorag.open(project) as opened, progress_bars() as bars:
        bars.begin("questions")
        chosen = opened.tune_search(data, on_progress=lambda done, total: bars.update("questions", done, total))
    if output is Format.JSON:
        show_json(as_json(chosen))
    else:
        _print(chosen)


def _print(chosen: ChosenWeights) -> None:
    shown = table(">words", ">vectors", ">tokens", ">document", ">nDCG@10", ">against the default", ">standard error")
    for each in sorted(chosen.tried, key=lambda each: -each.mean):
        figures = (f"{each.mean:.3f}", f"{each.difference:+.3f}", f"{each.error:.3f}")
        tried = (each.weights.words, each.weights.vectors, each.weights.tokens, each.weights.document)
        shown.add_row(*(f"{weight:g}" for weight in tried), *figures)
    out().print(shown)
    weights = ", ".join(f"{name} {weight:g}" for name, weight in chosen.weights.to_dict().items())
    kept = "the default stays" if chosen.weights == chosen.tried[0].weights else "chosen"
    show(f"{kept}: {weights} ({chosen.questions} questions in {chosen.groups} groups)")
