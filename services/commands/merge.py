"""`lorag adapters merge`: one adapter version and its base as a single model."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lorag.services.options import HERE, Format, Output, Project, Tuned
from lorag.services.terminal import cell, out, say, show, show_json, table


class MergePrecision(StrEnum):
    """The precisions that an adapter may be merged into."""

    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


def merge(
    role: Annotated[Tuned, typer.Argument(help="Which adapter.")],
    folder: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to make.")],
    version: Annotated[str, typer.Option("--version", help="A version or alias.")] = "production",
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Held-out rows to compare on; needed for an adapter of a quantized base."),
    ] = None,
    precision: Annotated[
        MergePrecision, typer.Option("--precision", help="Of the merged weights; an encoder stays fp32.")
    ] = MergePrecision.BF16,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Rows to compare on.")] = 32,
    allow: Annotated[
        bool, typer.Option("--allow-difference", help="Write it although it differs; the figures are recorded.")
    ] = False,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Merge an adapter into its base, check that both agree, and write a model that needs no adapter.

    It compares layers in float32, logits of canaries, then held-out replies and likelihoods with the adapter as it was trained.
    A merged model that differs is refused with the figures. merge.json and README.md in FOLDER hold them.
    """
    import lorag
    from lorag.pipeline.adapters.merged_card import figures

    with lorag.open(project) as opened:
        record = opened.merge(
            role.value,
            folder,
            version=version,
            data=data,
            precision=precision.value,
            samples=samples,
            allow_difference=allow,
            on_notice=say,
        )
    if output is Format.JSON:
        show_json({"folder": str(folder), **asdict(record)})
        return
    facts = table("", "")
    for name, text in figures(record).items():
        facts.add_row(cell(name), cell(text))
    out().print(facts)
    show(f"Merged {record.role.value} {record.version} into {folder} ({record.precision}).")
