"""Coverage of the analysis' intervals over simulated studies: nominal 95 %, counted."""

from __future__ import annotations

from collections.abc import Iterator

from ml.readers.rehearsal import CORRECT, FIXED, OWN, RECOMMENDED, Design, Rehearsal
from ml.readers.tables import rehearsal_text

STUDIES = 500
LOW, HIGH = 0.92, 0.98
"""Where the coverage of the recommended analysis has to lie, at 5 readers × 120 images."""


def intervals() -> Iterator[str]:
    """500 studies of 5 readers × 120 images through the real analysis (a minute or two)."""
    rehearsal = Rehearsal(Design(readers=5, images=120), STUDIES, seed=0)
    for _ in rehearsal.run():
        pass
    result = rehearsal.outcome()
    yield from rehearsal_text(result).splitlines()
    found = {row.name: row.coverage for row in result.coverage}
    for name in (RECOMMENDED, CORRECT, OWN, FIXED):
        held = found[name]
        said = "within" if LOW <= held <= HIGH else "OUTSIDE"
        yield f"{held:.3f} is {said} {LOW:.2f} to {HIGH:.2f}: {name}"
