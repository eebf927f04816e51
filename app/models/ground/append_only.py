"""Rows that are written once: changing or deleting one through the ORM is a fault.

In the database itself triggers refuse the same (migration 0009), for whoever comes by another way.
"""

from __future__ import annotations

from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, object_session

Row = TypeVar("Row", bound=type[DeclarativeBase])


KEPT: list[type[DeclarativeBase]] = []
"""The models whose rows stay."""


class Changed(RuntimeError):
    """Something tried to change or delete a row that stays as it was written."""


def append_only(model: Row) -> Row:
    """Class decorator: rows of ``model`` can be added and never changed or deleted.

    A session that tries raises ``Changed`` when it flushes.
    """

    def refuse_update(_mapper: Any, _connection: sa.Connection, row: Any) -> None:
        session = object_session(row)
        if session is not None and session.is_modified(row):
            raise Changed(f"A {model.__name__} is never changed.")

    def refuse_delete(_mapper: Any, _connection: sa.Connection, row: Any) -> None:
        raise Changed(f"A {model.__name__} is never deleted.")

    sa.event.listen(model, "before_update", refuse_update)
    sa.event.listen(model, "before_delete", refuse_delete)
    KEPT.append(model)
    return model
