"""What must be read again by nobody but this installation: AES-GCM under a key of its own.

The key is derived from the installation's by HKDF-SHA256 (RFC 5869) with an ``info`` that nothing
else uses. A sealed text is bound to its row by the associated data (NIST SP 800-38D): copied to
another row it does not open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.errors import Damaged

_INFO = b"hepatica: link back to the PACS"
_FORM = b"\x01"
_NONCE_BYTES = 12


def sealed(told: Mapping[str, str | int], row: str, key: bytes) -> bytes:
    """Values as a sealed text: a byte for its form, a random nonce, ciphertext with its tag.

    Args:
        row: which row it belongs to; it opens there alone.
        key: of the installation.
    """
    nonce = os.urandom(_NONCE_BYTES)
    plain = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    return _FORM + nonce + _cipher(key).encrypt(nonce, plain, _bound(row))


def opened(text: bytes, row: str, key: bytes) -> Mapping[str, str | int]:
    """The values of a sealed text.

    Raises:
        Damaged: it was sealed under another key or for another row, or it was changed.
    """
    nonce, cipher = text[1 : 1 + _NONCE_BYTES], text[1 + _NONCE_BYTES :]
    try:
        if text[:1] != _FORM:
            raise InvalidTag
        plain = _cipher(key).decrypt(nonce, cipher, _bound(row))
    except (InvalidTag, ValueError) as error:
        raise Damaged(
            "The encrypted link back to the PACS cannot be opened: it was sealed under another "
            "installation key, or it was changed in the database. Nothing is sent back from it. "
            "Restore the key that this database was filled under, or send the study again."
        ) from error
    found: Mapping[str, str | int] = json.loads(plain)
    return found


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=_INFO).derive(key))


def _bound(row: str) -> bytes:
    return b"hepatica link 1\0" + row.encode()
