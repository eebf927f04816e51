"""UIDs as they leave this installation: mapped under its key, the same one always to the same.

What is rebuilt from kept pixels is no longer the object that was sent, so it needs UIDs of its own
(PS3.3 C.7.6.1.1.2, PS3.15 E.1.1). An HMAC gives them: studies that come in parts, and references
from one to another, still meet; and nobody learns the original from them without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid

_PURPOSE = b"hepatica: uid of a rebuilt object\0"


def mapped(uid: str, key: bytes) -> str:
    """The UID that stands for ``uid``: 2.25 and 122 bits of HMAC-SHA256 (PS3.5 B.2).

    The bits stand in a UUID of version 8 (RFC 9562), as that form of UID wants one.
    """
    digest = hmac.new(key, _PURPOSE + uid.encode(), hashlib.sha256).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{uuid.UUID(int=number).int}"
