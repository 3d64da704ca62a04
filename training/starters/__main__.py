"""Starter adapters: train one from the public sets, bundle a finished run, measure a bundled starter.

python -m lorag.training.starters train ROLE --data DIR --out RUN          checkpoints in RUN; --resume after a stop
python -m lorag.training.starters bundle ROLE --data DIR --run RUN         the finished run becomes the bundled starter
python -m lorag.training.starters measure ROLE [--data DIR] [--items N]    against the base on held-out items; onto its card
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Role
from lorag.training.starters.build import train_starter
from lorag.training.starters.bundle import bundle_starter, measure_starter
from lorag.training.starters.measuring import ITEMS

ROLES = ("rewriter", "synthesizer", "judge")


def main() -> None:
    chosen = _parser().parse_args()
    role = Role(chosen.role)
    try:
        if chosen.command == "train":
            train_starter(role, chosen.data, chosen.out, recipe=chosen.recipe, resume=chosen.resume)
        elif chosen.command == "bundle":
            card = bundle_starter(role, chosen.run, chosen.data, recipe=chosen.recipe)
            print(f"bundled the {role.value}: weights {card.identity.weights_digest[:16]}, {len(card.evidence)} comparisons kept")
        else:
            _measure(role, chosen.data, chosen.items)
    except LoragError as error:
        sys.exit(f"lorag.training.starters: {error}")


def _measure(role: Role, public: Path | None, items: int) -> None:
    def show_progress(done: int, total: int) -> None:
        print(f"{done} of {total} requests", file=sys.stderr)

    for each in measure_starter(role, public, items=items, on_progress=show_progress).evidence:
        interval = f"{each.difference:+.3f} ({each.interval})"
        print(f"{each.data.name:36} {each.metric:36} {each.reference:.3f} → {each.tuned:.3f}  {interval}  n = {each.n}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lorag.training.starters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train, bundle, measure = (commands.add_parser(name) for name in ("train", "bundle", "measure"))
    for command in (train, bundle, measure):
        command.add_argument("role", choices=ROLES)
    for command in (train, bundle):
        command.add_argument("--data", type=Path, required=True, help="folder with the public sets (training/starters/README.md)")
        command.add_argument("--recipe", type=Path, help="another recipe than the bundled one")
    train.add_argument("--out", type=Path, required=True, help="run folder: checkpoints, loss curve, and the adapter at the end")
    train.add_argument("--resume", action="store_true", help="go on from the newest complete checkpoint")
    bundle.add_argument("--run", type=Path, required=True, help="run folder of a finished training")
    measure.add_argument("--data", type=Path, help="folder with the public sets; without it, invented items alone")
    measure.add_argument("--items", type=int, default=ITEMS, help="items a task")
    return parser


if __name__ == "__main__":
    main()
