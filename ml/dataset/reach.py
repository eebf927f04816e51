"""How far the views of a data set look beyond its images, where tissue is invented by mirroring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.config import Augment
from ml.dataset.augment import views_of
from ml.dataset.manifest import Line
from ml.images import roi
from ml.images.roi import View

_NOTICED = 0.01
"""Share of a view under which nobody would see that it was mirrored."""
_STEPS = 16
_VIEWS = 480
"""Most views of a lesion that are looked at: the paper's number."""


@dataclass(frozen=True)
class Reach:
    """Views of some lesions that look beyond their images.

    Attributes:
        views: how many were looked at.
        beyond: how many of them have at least 1 % of their area outside the image.
        mean: share of the area of those that lies outside, 0…1; 0 where there are none.
        most: the largest share.
        lesions: how many lesions have such views.
        unknown: lesions of data sets that did not keep their images' size.
    """

    views: int
    beyond: int
    mean: float
    most: float
    lesions: int
    unknown: int

    @property
    def words(self) -> str:
        """One sentence, empty where no view looks beyond."""
        told = []
        if self.beyond:
            told.append(
                f"{self.beyond:,} of {self.views:,} augmented views ({self.beyond / self.views:.0%}"
                f"; of {self.lesions} lesions) look beyond the edge of their image, by "
                f"{self.mean:.0%} of their area on average and {self.most:.0%} at most; there the "
                "image is mirrored, so that no black is invented."
            )
        if self.unknown:
            told.append(
                f"Of {self.unknown} lesions it is not known how far their images went: the data "
                "set was prepared before this was kept."
            )
        return " ".join(told)


def outside(line: Line, views: Sequence[View]) -> npt.NDArray[np.float64]:
    """Share of the area of each view that lies beyond the line's image, 0…1, by 16 × 16 points.

    Raises:
        ValueError: the line does not know its image's size.
    """
    if line.image_size is None:
        raise ValueError(f"Line {line.id} does not know its image's size.")
    rows, columns = line.image_size
    row, column = (line.spacing_mm if line.surroundings else None) or (1.0, 1.0)
    tissue = np.array([view.tissue for view in views])
    side = max(line.box.width * column, line.box.height * row) * (1 + 2 * (roi.MARGIN + tissue))
    shifts = np.array([view.shift_px for view in views]).reshape(-1, 2)
    angles = np.deg2rad([view.angle_deg for view in views])
    steps = (np.arange(_STEPS) + 0.5) / _STEPS - 0.5
    across, down = (part.ravel() * side[:, None] for part in np.meshgrid(steps, steps))
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = (
        middle + shifts[:, [axis]] + offset / step
        for axis, (middle, offset, step) in enumerate(
            (
                (line.box.center[0], cos * across - sin * down, column),
                (line.box.center[1], sin * across + cos * down, row),
            )
        )
    )
    beyond = (x < 0) | (y < 0) | (x > columns) | (y > rows)
    share: npt.NDArray[np.float64] = beyond.mean(axis=1)
    return share


def of(lines: Iterable[Line], settings: Augment, seed: int = 0) -> Reach:
    """How far the views of lines look: all of them, or 480 a lesion."""
    views = lesions = unknown = 0
    far: list[float] = []
    for line in lines:
        if line.image_size is None:
            unknown += 1
            continue
        looked = views_of(line, settings, seed)[:_VIEWS]
        views += len(looked)
        # a slice that ends in air goes on as air: nothing is invented there
        safe = line.room is None or _well_inside(line)
        shares = [] if safe else outside(line, looked).tolist()
        noticed = [share for share in shares if share >= _NOTICED]
        lesions += bool(noticed)
        far += noticed
    mean = float(np.mean(far)) if far else 0.0
    return Reach(views, len(far), mean, max(far, default=0.0), lesions, unknown)


def _well_inside(line: Line) -> bool:
    """Whether not even the widest view, turned and moved, comes near an edge of the image."""
    rows, columns = line.image_size or (0, 0)
    widest = roi.square(line.box, line.spacing_mm, View(tissue=roi.MAX_TISSUE))
    row, column = line.spacing_mm or (1.0, 1.0)
    corner = math.hypot(widest.width * column, widest.height * row) / 2
    wide, high = (corner / step + roi.MAX_SHIFT_PX for step in (column, row))
    x, y = line.box.center
    return wide <= x <= columns - wide and high <= y <= rows - high
