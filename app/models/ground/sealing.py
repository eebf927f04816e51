"""What must be read again by nobody but this installation: AES-GCM under keys of its own.

Each purpose has a key, derived from the installation's by HKDF-SHA256 (RFC 5869) with an ``info``
that nothing else uses. A sealed text is bound to its row by the associated data (NIST SP 800-38D):
copied to another row it does not open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.errors import Damaged

_FORM = b"\x01"
_NONCE_BYTES = 12


@dataclass(frozen=True)
class Seal:
    """How texts of one purpose are sealed.

    Attributes:
        info: what no other purpose derives its key by.
        bound: begins the associated data.
        damaged: what is said of a text that does not open, with what to do.
    """

    info: bytes
    bound: bytes
    damaged: str

    def sealed(self, told: Mapping[str, str | int], row: str, key: bytes) -> bytes:
        """Values as a sealed text: a byte for its form, a random nonce, ciphertext with its tag.

        Args:
            row: which row it belongs to; it opens there alone.
            key: of the installation.
        """
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        return _FORM + nonce + self._cipher(key).encrypt(nonce, plain, self._bound(row))

    def opened(self, text: bytes, row: str, key: bytes) -> Mapping[str, str | int]:
        """The values of a sealed text.

        Raises:
            Damaged: it was sealed under another key or for another row, or it was changed.
        """
        nonce, cipher = text[1 : 1 + _NONCE_BYTES], text[1 + _NONCE_BYTES :]
        try:
            if text[:1] != _FORM:
                raise InvalidTag
            plain = self._cipher(key).decrypt(nonce, cipher, self._bound(row))
        except (InvalidTag, ValueError) as error:
            raise Damaged(self.damaged) from error
        found: Mapping[str, str | int] = json.loads(plain)
        return found

    def _cipher(self, key: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), length=32, salt=None, info=self.info).derive(key))

    def _bound(self, row: str) -> bytes:
        return self.bound + b"\0" + row.encode()
