"""What one pasting made, told in ``tissue.json`` and wherever its lesions are trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.ground.records import to_json


@dataclass(frozen=True)
class Made:
    """Phantom lesions in slices of real liver.

    Attributes:
        counts: pasted lesions of each class.
        slices, patients: in which they are.
        shrunk: of them, lesions that found no room at the size that was drawn.
        left_out: slices without use, by the reason.
        spacing_mm: of a pixel; ``greys_hu``: of black and white, of which a picture has 256 greys.
        phantom_version: of the phantom that drew lesions and liver.
        digest: SHA-256 over all of the above and the table of lesions, which has the pictures'.
    """

    counts: Mapping[str, int]
    slices: int
    patients: int
    shrunk: int
    left_out: Mapping[str, int]
    difficulty: float
    seed: int
    spacing_mm: float
    greys_hu: tuple[float, float]
    thickness_mm: float
    phantom_version: str
    digest: str

    @property
    def step_hu(self) -> float:
        """HU from one grey of a picture to the next."""
        low, high = self.greys_hu
        return (high - low) / 255

    def sealed(self, table: bytes) -> Made:
        """The same with the digest that it has over this ``labels.csv``."""
        told = json.dumps(to_json(replace(self, digest="")), sort_keys=True)
        return replace(self, digest=hashlib.sha256(told.encode() + b"\n" + table).hexdigest())
