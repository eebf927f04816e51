"""Whether a text names a thing by its id or UID."""

from __future__ import annotations

import re
from collections.abc import Collection

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+(?:\.[0-9]+){4,}")


def names_any(text: str, names: Collection[str]) -> bool:
    """Whether one of these ids (as ``str(UUID)``) or UIDs stands in it."""
    return any(found in names for found in _ID.findall(text))
