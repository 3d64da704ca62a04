"""A miniature of the public sets: the same files and keys, a few invented rows each."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

TOWNS = ["Arvik", "Belmo", "Corda", "Dunst", "Elgar", "Fanno", "Gorvi", "Halde", "Irsel", "Jutra", "Kvern", "Lomse"]


def write(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def reading(folder: Path, name: str, titled: bool, label: str = "") -> None:
    passages, questions = [], []
    for n, town in enumerate(TOWNS * 3):
        id_ = f"{name}-p{n}"
        text = (
            f"In the set {name} the mill of {town} with the number {n} was built in {1700 + n} by the guild. "
            f"Its wheel is {n + 3} metres wide. A miller named {town}son runs it."
        )
        passages.append({"id": id_, "title": town if titled else "", "text": text})
        extra = {"label": label} if label else {}
        for part, (question, answer) in enumerate(
            ((f"When was mill {n} of {town} built?", str(1700 + n)), (f"How wide is the wheel of mill {n}?", f"{n + 3} metres"))
        ):
            questions.append(
                {
                    "id": f"{name}-q{n}-{part}",
                    "question": question,
                    "answers": [answer],
                    "passage_id": id_,
                    "answerable": True,
                    **extra,
                }
            )
    write(folder, f"{name}.passages", passages)
    write(folder, f"{name}.train", questions)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    for name, titled in (
        ("squad_newwiki", True),
        ("squad_reddit", False),
        ("qed_nq", True),
        ("pacific_finance", False),
        ("medquad", True),
    ):
        reading(folder, name, titled)
    reading(folder, "pubmedqa", False, label="maybe")
    ids = {
        "rewrite_canard": "canard-C_{n}-1",
        "rewrite_cast": "cast19-{n}_2",
        "rewrite_ikat23": "ikat23tr-{n}-1_2",
        "rewrite_gecor": "gecor-{n}-1-ellipsis",
        "rewrite_alexa_cqr": "cqr-dev-{n}-3",
        "rewrite_pacific": "pacific-{n}",
    }
    for name, form in ids.items():
        rows = [
            {
                "id": form.format(n=n),
                "history": [f"Topic: {town} {n} - History", f"User: Who built {town} {n}?", "Assistant: The guild."],
                "question": "When did they build it?",
                "rewrite": f"When did the guild of the town of {town} build the mill {n} of {name} at last?",
            }
            for n, town in enumerate(TOWNS * 5)
        ]
        write(folder, f"{name}.train", [*rows, {"id": form.format(n=999), "history": [], "question": "Hi?", "rewrite": "Hi?"}])
    for split in ("train", "val", "test"):
        labels = ("weather", "timer", "translate", "oos")
        write(
            folder,
            f"intent_clinc150.{split}",
            [{"id": f"{split}-{n}", "text": f"{split} text {n}", "label": labels[n % 4]} for n in range(80)],
        )
    return folder
