"""UIDs of senders: how they are known here, and what stands for them where they leave.

Neither lets anybody learn the original without the installation's key, and the same one always
gives the same: studies that come in parts, and references from one to another, still meet.

What is rebuilt from kept pixels is no longer the object that was sent, so it needs UIDs of its own
(PS3.3 C.7.6.1.1.2, PS3.15 E.1.1): ``mapped``. What is kept to know an object again is ``kept``,
which is no UID and cannot be taken for one.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid

_MAPPED = b"hepatica: uid of a rebuilt object\0"
_KEPT = b"hepatica: uid of a sender\0"
KEPT = "hmac:"
"""How every kept digest begins."""
_DIGITS = 58
"""Of 64 in hex: with its mark it has room in the columns, and 232 bits tell all objects apart."""


def mapped(uid: str, key: bytes) -> str:
    """The UID that stands for ``uid``: 2.25 and 122 bits of HMAC-SHA256 (PS3.5 B.2).

    The bits stand in a UUID of version 8 (RFC 9562), as that form of UID wants one.
    """
    digest = hmac.new(key, _MAPPED + uid.encode(), hashlib.sha256).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{uuid.UUID(int=number).int}"


def kept(uid: str, key: bytes) -> str:
    """By what a sender's UID is known again: ``hmac:`` and 232 bits of HMAC-SHA256 in hex."""
    return KEPT + hmac.new(key, _KEPT + uid.encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def is_mapped(uid: str) -> bool:
    """Whether this has the form of what ``mapped`` gives, which hardly any sender's UID has."""
    number = uid.removeprefix("2.25.")
    if number == uid or not number.isdecimal() or int(number) >> 128:
        return False
    return uuid.UUID(int=int(number)).version == 8
