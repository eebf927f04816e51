"""Slices that take lesions, of which few are in memory: the others lie in a folder meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml.experiment.tissue.pasting import Background

KEPT = 16
"""Slices in memory at a time."""
NO_PIXELS = np.zeros((0, 0), np.float32)
_NO_LIVER = np.zeros((0, 0), np.bool_)


class Shelf:
    """Backgrounds by number, in the order in which they were put there.

    Args:
        folder: of its own, for their pixels; it must last as long as they are asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._light: list[Background] = []
        self._whole: OrderedDict[int, Background] = OrderedDict()

    def put(self, background: Background) -> int:
        """Its number."""
        number = len(self._light)
        one = background.one
        np.savez(self._file(number), hu=one.hu, liver=one.liver, shown=background.shown)
        one = replace(one, hu=NO_PIXELS, liver=_NO_LIVER)
        self._light.append(replace(background, one=one, shown=NO_PIXELS))
        return number

    def __getitem__(self, number: int) -> Background:
        if number not in self._whole:
            with np.load(self._file(number)) as stored:
                light = self._light[number]
                one = replace(light.one, hu=stored["hu"], liver=stored["liver"])
                self._whole[number] = replace(light, one=one, shown=stored["shown"])
            if len(self._whole) > KEPT:
                self._whole.popitem(last=False)
        self._whole.move_to_end(number)
        return self._whole[number]

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.npz"
