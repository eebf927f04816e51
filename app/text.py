"""Text that can be kept: UTF-8 without control characters and without halves of surrogate pairs.

PostgreSQL keeps no NUL and no database keeps a lone surrogate; the other C0 control characters are
written by no keyboard. Every door refuses them (``app.doors``, ``app.bodies``), and ``guard`` is
the last line, at the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_UNFIT_IN_A_LINE = re.compile("[\x00-\x1f\ud800-\udfff]")
_PERHAPS_UNFIT_JSON = re.compile(r"\\u(00[01]|d[89a-f])")
_LARGEST = 2**63 - 1


class Unfit(ValueError, sa.exc.DontWrapMixin):
    """A value that no database of ours can keep; its message names the fault, never the value."""


def unfit(text: str, *, lines: bool = True) -> str | None:
    """What is wrong with a text, in words; None when it can be kept.

    Args:
        lines: allow tab, line feed and carriage return, as a text area sends them.
    """
    found = (_UNFIT if lines else _UNFIT_IN_A_LINE).search(text)
    if found is None:
        return None
    point = ord(found[0])
    what = "half of a surrogate pair" if point >= 0xD800 else "a control character"
    return f"it holds {what} (U+{point:04X})"


def read(raw: bytes, *, lines: bool = True) -> str:
    """Bytes as text.

    Raises:
        Unfit: not UTF-8, or text that cannot be kept.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Unfit("it is not UTF-8") from None
    fault = unfit(text, lines=lines)
    if fault is not None:
        raise Unfit(fault)
    return text


def check_json(value: Any) -> None:
    """Look through all keys and strings of what JSON can hold, however deep.

    Raises:
        Unfit: one of them cannot be kept.
    """
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            fault = unfit(one)
            if fault is not None:
                raise Unfit(fault)
        elif isinstance(one, dict):
            waiting += one.keys()
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one


def dumps(value: Any) -> str:
    """JSON for a column; Unfit as ``check_json``."""
    written = json.dumps(value)
    if _PERHAPS_UNFIT_JSON.search(written):
        check_json(value)
    return written


def guard(engine: sa.Engine) -> None:
    """Let the engine refuse, on every database alike, what one of them cannot keep.

    Raises (at each statement):
        Unfit: a text as above, or a whole number beyond 64 bits.
    """

    @sa.event.listens_for(engine, "before_cursor_execute")
    def look(
        _connection: Any, _cursor: Any, _statement: str, parameters: Any, _context: Any, _many: bool
    ) -> None:
        for row in parameters if isinstance(parameters, list) else (parameters,):
            _check_row(row.values() if isinstance(row, dict) else row)


def _check_row(values: Iterable[Any]) -> None:
    for value in values or ():
        if isinstance(value, str):
            if _UNFIT.search(value):
                raise Unfit(str(unfit(value)))
        elif isinstance(value, int) and not -_LARGEST - 1 <= value <= _LARGEST:
            raise Unfit("a whole number is too large to be kept")
