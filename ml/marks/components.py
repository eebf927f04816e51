"""The lesions in a mask of several slices: connected regions, each on the slice where it is
largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are loaded when they are used: serving starts without them

from ml.images.roi import MIN_LESION_PX, Box


@dataclass(frozen=True)
class Component:
    """One region of a mask.

    Attributes:
        place: the slice on which its area is largest, from 0; of equal ones the first.
        box: of the region on that slice, in pixels.
        voxels: of the whole region.
    """

    place: int
    box: Box
    voxels: int


def largest(mask: npt.NDArray[Any]) -> tuple[list[Component], int]:
    """The regions of a mask, and how many were left out because their boxes are under 2 pixels.

    Regions touch by faces, edges or corners (26 neighbours).

    Args:
        mask: (slices, rows, columns); what is not 0 is lesion.
    """
    regions, count = scipy.ndimage.label(mask != 0, np.ones((3, 3, 3)))
    found: list[Component] = []
    for number, around in enumerate(scipy.ndimage.find_objects(regions), 1):
        inside = regions[around] == number
        areas = inside.sum(axis=(1, 2))
        place = int(areas.argmax())
        rows, columns = (np.flatnonzero(inside[place].any(axis=axis)) for axis in (1, 0))
        width, height = (float(ends[-1] - ends[0] + 1) for ends in (columns, rows))
        if max(width, height) < MIN_LESION_PX:
            continue
        top, left = around[1].start + float(rows[0]), around[2].start + float(columns[0])
        box = Box(left, top, width, height)
        found.append(Component(around[0].start + place, box, int(inside.sum())))
    return found, count - len(found)


def gaps_filled(masks: Sequence[npt.NDArray[Any]], positions: Sequence[float]) -> list[int]:
    """Places of masks in a stack that has an empty slice wherever one is missing between them.

    Args:
        masks: (rows, columns) each, in the order of their positions.
        positions: along the normal, in mm, rising.
    """
    if len(masks) < 2:
        return list(range(len(masks)))
    steps = np.diff(positions)
    usual = float(np.median(steps))
    places, at = [0], 0
    for step in steps:
        at += 1 if usual <= 0 or step < 1.5 * usual else 2
        places.append(at)
    return places
