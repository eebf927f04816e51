"""Powers that were simulated: kept under all that they depend on, so that none is made twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base, now
from app.models.reader_studies.stored import Json
from app.settings import VERSION
from ml.readers.simulation import Cell, SimulatedPower

_AT_ONCE = 200


class KeptPower(Base):
    """In how many simulated studies of one design a claim was made.

    ``key`` is over the assumptions, the rules of the analysis, and the versions of the simulator
    and of the software; ``assumptions`` are what was hashed.
    """

    __tablename__ = "simulated_power"

    key: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    assumptions: Mapped[Json]
    shown: Mapped[int]
    studies: Mapped[int]
    version: Mapped[str] = mapped_column(sa.String(40))
    made_at: Mapped[datetime] = mapped_column(default=now)

    @staticmethod
    def key_of(cell: Cell) -> str:
        """The key of a cell in this version of the software."""
        return hashlib.sha256(f"{VERSION} {cell.key}".encode()).hexdigest()

    @staticmethod
    def known(session: Session, cells: Iterable[Cell]) -> dict[str, SimulatedPower]:
        """What is kept of these cells, by the cells' own keys."""
        own = {KeptPower.key_of(cell): cell.key for cell in cells}
        wanted, found = list(own), {}
        for first in range(0, len(wanted), _AT_ONCE):
            rows = session.execute(
                sa.select(KeptPower.key, KeptPower.shown, KeptPower.studies).where(
                    KeptPower.key.in_(wanted[first : first + _AT_ONCE])
                )
            )
            for key, shown, studies in rows:
                found[own[key]] = SimulatedPower.of(shown, studies)
        return found

    @staticmethod
    def keep(session: Session, cells: Iterable[Cell], found: Mapping[str, SimulatedPower]) -> None:
        """Store what was found of these cells; where another process was first, that one stays."""
        rows = [
            {
                "key": KeptPower.key_of(cell),
                "assumptions": json.loads(cell.text),
                "shown": found[cell.key].shown,
                "studies": found[cell.key].studies,
                "version": VERSION,
                "made_at": now(),
            }
            for cell in cells
        ]
        if not rows:
            return
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        session.execute(dialect.insert(KeptPower).on_conflict_do_nothing(), rows)
