"""``python -m ml``: argument parsing only; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ml.errors import HepaticaError

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """The command line of ``ml``; every subcommand sets ``run``, a function of the arguments."""
    root = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True, metavar="command")
    _phantom_arguments(commands)
    return root


def _phantom_arguments(commands: Commands) -> None:
    command = commands.add_parser(
        "phantom", help="simulate portal-phase liver CT with known truth, as DICOM series"
    )
    size = command.add_mutually_exclusive_group(required=True)
    size.add_argument("--patients", type=int, metavar="N", help="how many patients")
    size.add_argument(
        "--counts",
        type=_counts,
        metavar="CLASS=N,…",
        help="exact lesion counts instead, such as cyst=53,metastasis=64,hemangioma=65",
    )
    command.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    command.add_argument(
        "--difficulty", type=float, metavar="D", help="0 textbook … 1 heavy overlap (default 0.5)"
    )
    command.add_argument(
        "--key-slices-only", action="store_true", help="write only the slice through each lesion"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    command.set_defaults(run=_phantom)


def _counts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in text.split(","):
        key, equals, number = entry.partition("=")
        if not equals or not number.strip().isdecimal() or key.strip() in counts:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form cyst=53,metastasis=64")
        counts[key.strip()] = int(number)
    return counts


def _phantom(arguments: argparse.Namespace) -> None:
    from ml.phantom import series
    from ml.progress import drive

    difficulty = arguments.difficulty
    if difficulty is None:
        difficulty = series.DEFAULT_DIFFICULTY
    rest = (arguments.seed, arguments.out, difficulty, arguments.key_slices_only)
    if arguments.counts is not None:
        drive(series.write_cohort(arguments.counts, *rest))
    else:
        drive(series.write(arguments.patients, *rest))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 a refusal (told on stderr), 2 wrong arguments, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except HepaticaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
