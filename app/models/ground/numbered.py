"""Numbers of rows in their order: which came last is said by no clock.

A clock can be set back, and those of two servers differ; the newest row of a lesion, a reader or a
study is the one with the highest number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa


def next_number(within: str) -> Callable[[Any], int]:
    """The default of a column ``number``: one more than the highest with the same ``within``.

    Two that are written at once may get the same; a unique constraint refuses the second.
    """

    def default(context: Any) -> int:
        table: sa.Table = context.compiled.statement.table
        same = table.c[within] == context.get_current_parameters()[within]
        query = sa.select(sa.func.coalesce(sa.func.max(table.c.number), 0) + 1).where(same)
        return int(context.connection.scalar(query))

    return default
