"""Whether a wheelhouse is whole: each file is what ``SHA256SUMS`` says, and no other is there.

Needs Python alone. ``sha256sum --strict -c SHA256SUMS`` does the same, but for files too many.
The sums say nothing of who made them: compare that of SHA256SUMS itself with what you were told.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

SUMS = "SHA256SUMS"


def digest(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def faults(folder: Path) -> list[str]:
    """What is changed, missing or too many, a line each; nothing where all is whole.

    Raises:
        OSError: there is no list of sums.
    """
    listed = {}
    for line in (folder / SUMS).read_text("utf-8").splitlines():
        sha256, _, name = line.partition("  ")
        listed[name] = sha256
    there = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS
    }
    changed = (name for name in listed.keys() & there.keys() if digest(there[name]) != listed[name])
    return [
        *(f"{name}: changed" for name in sorted(changed)),
        *(f"{name}: missing" for name in sorted(listed.keys() - there.keys())),
        *(f"{name}: not in {SUMS}" for name in sorted(there.keys() - listed.keys())),
    ]


def main() -> int:
    """Exit status: 0 whole, 1 not."""
    folder = Path(__file__).resolve().parent
    try:
        found = faults(folder)
    except OSError as error:
        found = [f"{SUMS} cannot be read: {error.strerror}"]
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        print(f"All is what {SUMS} says; its own SHA-256 is {digest(folder / SUMS)}.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
