"""Simulations of plans: a few at a time in one process, what they find kept as it is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator

from app.db import Database
from app.errors import Unavailable, Unreadable
from app.models.study_plans.power import KeptPower
from ml.progress import Progress, spoken
from ml.readers.simulation import Cell, Simulation

AT_ONCE = 2
"""Simulations under way in one process: each keeps a thread and a core busy."""
_KEEP_EVERY_S = 1.0
_ASK_EVERY_S = 0.5
_LONGEST_S = 5.0
WAITS = "waits for other simulations"


class Simulations:
    """The places for simulations in one process, and where their powers are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def steps(self, simulation: Simulation) -> Iterator[Progress]:
        """Simulate to the end, with progress; closed early, what is done is kept all the same."""
        while not self._places.acquire(timeout=_ASK_EVERY_S):
            yield Progress(0, 0, WAITS)
        try:
            yield from self._kept(simulation)
        finally:
            self._places.release()

    def for_a_moment(self, simulation: Simulation, seconds: float = 1.0) -> None:
        """Simulate for about so long, and one design at least.

        Raises:
            Unreadable: one design alone takes longer than anybody waits for an answer.
            Unavailable: others are under way.
        """
        longest = max((Simulation([cell]).seconds for cell in simulation.missing), default=0.0)
        if longest > _LONGEST_S:
            raise Unreadable(
                f"One of these designs alone takes about {spoken(longest)}. Take fewer simulated "
                "studies, readers or images, or run `python -m ml readers plan`."
            )
        if not self._places.acquire(blocking=False):
            raise Unavailable("Other simulations are under way. Try again in a moment.")
        try:
            until, before = time.monotonic() + seconds, len(simulation.missing)
            steps = self._kept(simulation)
            for _ in steps:
                if time.monotonic() > until and len(simulation.missing) < before:
                    break
            steps.close()
        finally:
            self._places.release()

    def _kept(self, simulation: Simulation) -> Generator[Progress]:
        left = {cell.key: cell for cell in simulation.missing}
        at = time.monotonic()
        try:
            for step in simulation.run():
                yield step
                if time.monotonic() - at > _KEEP_EVERY_S:
                    self._keep(simulation, left)
                    at = time.monotonic()
        finally:
            self._keep(simulation, left)

    def _keep(self, simulation: Simulation, left: dict[str, Cell]) -> None:
        """Store what was found since; what cannot be stored is found again another time."""
        done = [cell for key, cell in left.items() if key in simulation.found]
        if not done:
            return
        with self._database.transaction() as session:
            KeptPower.keep(session, done, simulation.found)
        for cell in done:
            del left[cell.key]
