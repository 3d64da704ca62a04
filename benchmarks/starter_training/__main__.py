"""Starter adapters: train one from the public sets, bundle a finished run. `benchmarks.starters --cards` measures it.

python -m benchmarks.starter_training train ROLE --data DIR --out RUN          checkpoints in RUN; --resume after a stop
python -m benchmarks.starter_training bundle ROLE --data DIR --run RUN         the finished run becomes the bundled starter
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.starter_training.build import train_starter
from benchmarks.starter_training.bundle import bundle_starter
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Role

ROLES = ("rewriter", "synthesizer", "judge", "questioner")


def main() -> None:
    chosen = _parser().parse_args()
    role = Role(chosen.role)
    try:
        if chosen.command == "train":
            questioner = {"without": chosen.without, "begin": chosen.begin}
            train_starter(role, chosen.data, chosen.out, recipe=chosen.recipe, resume=chosen.resume, **questioner)
        else:
            card = bundle_starter(role, chosen.run, chosen.data, recipe=chosen.recipe, practised=chosen.practised)
            print(f"bundled the {role.value}: weights {card.identity.weights_digest[:16]}, {len(card.evidence)} comparisons kept")
    except LoragError as error:
        sys.exit(f"benchmarks.starter_training: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.starter_training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train, bundle = (commands.add_parser(name) for name in ("train", "bundle"))
    for command in (train, bundle):
        command.add_argument("role", choices=ROLES)
        command.add_argument("--data", type=Path, required=True, help="folder with the public sets (see README.md here)")
        command.add_argument("--recipe", type=Path, help="another recipe than the bundled one")
    train.add_argument("--out", type=Path, required=True, help="run folder: checkpoints, loss curve, and the adapter at the end")
    train.add_argument("--resume", action="store_true", help="go on from the newest complete checkpoint")
    train.add_argument("--without", nargs="*", default=[], help="sets that the questioner is not to learn from")
    train.add_argument("--begin", type=Path, help="a trained questioner, which goes on with what it practises last")
    bundle.add_argument("--run", type=Path, required=True, help="run folder of a finished training")
    bundle.add_argument("--practised", action="store_true", help="the run went on with what a questioner practises last")
    return parser


if __name__ == "__main__":
    main()
