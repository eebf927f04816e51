"""What a synthetic image says of itself where it is handed out as what it is.

A picture of a blinded study bears none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ml.images.ct_slice import ImageKind
from ml.images.png_text import with_text
from ml.images.roi import to_png

_USE = "Research use only. Not a medical device."


@dataclass(frozen=True)
class Drawn:
    """What drew an image: a generator's name, SHA-256, class and seed, and its numbers' scale."""

    checkpoint: str
    digest: str
    lesion_class: str
    training_kind: str
    window_hu: tuple[float, float]
    seed: int
    truncation: float = 1.0

    @property
    def words(self) -> str:
        """How it came about, in a sentence (0008,2111)."""
        made_of = "simulated CT" if self.training_kind == ImageKind.PHANTOM else "patients' images"
        low, high = self.window_hu
        calibrated = self.training_kind != ImageKind.UNCALIBRATED
        scale = (
            f"Greys 0 to 255 stand for {low:g} to {high:g} HU, the ends for what lies beyond, too. "
            if calibrated
            else ""
        )
        nearer = f", latent scaled by {self.truncation:g}" if self.truncation != 1 else ""
        return (
            f"Synthetic: drawn by the generator {self.checkpoint} (ONNX, SHA-256 {self.digest}), "
            f"which was trained on {made_of}; class {self.lesion_class}, seed {self.seed}{nearer}. "
            f"No patient has this lesion. {scale}{_USE}"
        )

    def png(self, pixels: npt.NDArray[Any]) -> bytes:
        """An 8-bit grey PNG of a ROI in [−1, 1], with what it is in its text chunks."""
        told = {
            "SyntheticData": "YES",
            "Description": self.words,
            "Checkpoint": self.checkpoint,
            "Checkpoint SHA-256": self.digest,
            "Lesion class": self.lesion_class,
            "Seed": str(self.seed),
            **({"Truncation": f"{self.truncation:g}"} if self.truncation != 1 else {}),
            "Software": "Hepatica",
        }
        return with_text(to_png(pixels), told)
