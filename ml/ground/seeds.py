"""Seeds hashed from what a piece of work is: the same on every machine and in every order."""

from __future__ import annotations

import hashlib


def of_text(text: str) -> int:
    """The first 63 bits of the text's SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
