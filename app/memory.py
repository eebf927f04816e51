"""Memory that is free is given back to the system.

The C library keeps what was freed for what will be asked next: after a large upload that may be
hundreds of megabytes, which nobody asks for again before the next one.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache
from typing import Any


@cache
def _library() -> Any:
    """The C library, where it can be told (glibc); else None."""
    with suppress(OSError):
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            return library
    return None


def give_back() -> None:
    """Give back what is free, in milliseconds; nothing where the C library has no way to."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)
