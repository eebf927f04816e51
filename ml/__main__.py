"""``python -m ml``: argument parsing only; each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import sys

from ml.errors import HepaticaError


def parser() -> argparse.ArgumentParser:
    """The command line of ``ml``; every subcommand sets ``run``, a function of the arguments."""
    root = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    root.add_subparsers(dest="command", required=True, metavar="command")
    return root


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
