"""A picture of a data set's ROIs, class by class, for eyes: what was cut is what was meant."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ml.images.roi import to_grey
from ml.lesion import ROI_SIZE_PX

MOST_OF_A_CLASS = 240
"""ROIs of a class that are shown; of more, evenly spread ones."""
_COLUMNS = 16
_STEP = ROI_SIZE_PX + 2
_HEAD = 20


def render(rois: Mapping[str, Sequence[npt.NDArray[np.float32]]]) -> bytes:
    """PNG (8-bit grey) of ROIs (64, 64) in [−1, 1], by class and in the data set's order."""
    shown = {key: _spread(of) for key, of in rois.items()}
    heights = {key: _HEAD + _STEP * -(-len(of) // _COLUMNS) for key, of in shown.items()}
    sheet = Image.new("L", (_COLUMNS * _STEP + 2, sum(heights.values()) + 2), 255)
    pen = ImageDraw.Draw(sheet)
    top = 2
    for key, of in shown.items():
        number = len(rois[key])
        some = f", {len(of)} of them shown" if len(of) < number else ""
        pen.text((4, top + 3), f"{key}: {number}{some}", fill=0)
        for i, roi in enumerate(of):
            grey = to_grey(roi)
            place = (2 + i % _COLUMNS * _STEP, top + _HEAD + i // _COLUMNS * _STEP)
            sheet.paste(Image.fromarray(grey), place)
        top += heights[key]
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _spread(of: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    count = min(len(of), MOST_OF_A_CLASS)
    return [of[i * len(of) // count] for i in range(count)]
