"""One ROI with the map of what moves a score: all that a page shows of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ml.images.roi import Roi, to_grey
from ml.lesion import ROI_SIZE_PX
from ml.trust import randomised
from ml.trust.differentiated import Cnn
from ml.trust.randomised import Check
from ml.trust.saliency import Method, Score, maps, refuse_other

Floats = npt.NDArray[np.float64]

FOR_RGB, AGAINST_RGB = (230, 159, 0), (86, 180, 233)
"""Orange and sky blue of Okabe and Ito, which people who are colour-blind tell apart."""
OPAQUE = 0.6
"""Of the full colour: the lesion stays visible under it."""
_STRONGEST = 0.99


@dataclass(frozen=True)
class Mark:
    """How much of a map lies within the lesion's mark.

    Attributes:
        strength: share of the map's strength (values without sign), 0–1.
        area: share of the ROI that the mark covers, 0–1.
    """

    strength: float
    area: float


@dataclass(frozen=True)
class Explained:
    """What moves one score of one ROI.

    Attributes:
        roi: which.
        networks: how many answer together.
        method: how the map was made.
        values: (64, 64), as `saliency.maps` gives them.
        full: the value that is drawn in full colour: of Grad-CAM the largest, of gradient × input
            the one that 1 % of the pixels exceed without their sign; 0 of an empty map.
        mean: of the training ROIs in [−1, 1], against which gradient × input takes a grey; of
            several networks the mean of theirs.
        mark: how much of it lies within the lesion's mark; None for an image that is the ROI
            itself, which has none, and of an empty map.
        check: against networks with random weights; None: not asked for, or an empty map.
    """

    roi: Roi
    networks: int
    method: Method
    values: Floats
    full: float
    mean: float
    mark: Mark | None
    check: Check | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing moved the score."""
        return self.full == 0

    def png(self) -> bytes:
        """The ROI under the map, 64 × 64: orange for the class, blue against it."""
        grey = to_grey(self.roi.pixels).astype(np.float64)[..., None]
        part = np.clip(self.values / self.full, -1, 1) if self.full else np.zeros_like(self.values)
        colour = np.where(part[..., None] > 0, FOR_RGB, AGAINST_RGB)
        opaque = OPAQUE * np.abs(part)[..., None]
        drawn = np.rint(grey * (1 - opaque) + colour * opaque).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(drawn).save(stream, "PNG")
        return stream.getvalue()


def explain(
    networks: Sequence[Cnn],
    roi: Roi,
    served: npt.NDArray[np.floating],
    score: Score,
    method: Method,
    *,
    checked: bool,
) -> Explained:
    """What moves a score of one ROI.

    Args:
        networks: those whose mean answers.
        served: (1, classes), the logits by which the served network answers for the ROI.
        score: whose one position is the class.
        checked: compare the map with those of networks with random weights, which takes longer.

    Raises:
        SaliencyError: the networks do not answer as the served one does, or there is no such class.
    """
    pixels = roi.pixels[None]
    seen = [one.see(pixels) for one in networks]
    refuse_other(seen, served)
    (values,) = maps(seen, pixels, score, method)
    check = randomised.check(seen, pixels, score, method)[0] if checked else None
    mean = 2 * float(np.mean([one.mean for one in networks])) - 1
    return Explained(
        roi, len(networks), method, values, _full(values, method), mean, _mark(roi, values), check
    )


def _full(values: Floats, method: Method) -> float:
    strong = np.abs(values)
    if method == Method.CAM:
        return float(strong.max())
    return float(np.quantile(strong, _STRONGEST)) or float(strong.max())


def _mark(roi: Roi, values: Floats) -> Mark | None:
    strong = np.abs(values)
    if roi.box is None or not strong.any():
        return None
    at = (np.arange(ROI_SIZE_PX) + 0.5) / ROI_SIZE_PX
    x, y = roi.square.x + at * roi.square.width, roi.square.y + at * roi.square.height
    across = (x >= roi.box.x) & (x < roi.box.x + roi.box.width)
    down = (y >= roi.box.y) & (y < roi.box.y + roi.box.height)
    inside = np.outer(down, across)
    return Mark(float(strong[inside].sum() / strong.sum()), float(inside.mean()))
