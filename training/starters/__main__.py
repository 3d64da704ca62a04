"""`python -m training.starters ROLE --data DIR --out RUN`: trains a starter from the public sets in DIR; checkpoints in RUN."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.records import Role
from training.starters.build import train_starter


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.starters", description=__doc__)
    parser.add_argument("role", choices=["rewriter", "synthesizer", "judge"])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the public sets named in training/starters/README.md"
    )
    parser.add_argument("--out", type=Path, required=True, help="run folder: checkpoints, loss curve, and the adapter at the end")
    parser.add_argument("--recipe", type=Path, help="another recipe than the bundled one")
    parser.add_argument("--resume", action="store_true", help="go on from the newest complete checkpoint")
    chosen = parser.parse_args()
    train_starter(Role(chosen.role), chosen.data, chosen.out, recipe=chosen.recipe, resume=chosen.resume)


if __name__ == "__main__":
    main()
