"""Synthetic ROIs that took long to draw, kept for a while by the process that drew them.

A reader study draws its images when it is composed, audited and opened; those of a diffusion model,
some tenths of a second each, are drawn once.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from ml.checkpoints.serving import Generator

ROIs = npt.NDArray[np.float32]

MOST = 1024
"""ROIs that are kept, the last ones asked for: 16 MB."""


class KeptDrawings:
    """Of every generator that computes its network several times for an image."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[uuid.UUID, int, float], ROIs] = OrderedDict()
        self._each_s: dict[uuid.UUID, float] = {}

    def draw(
        self, key: uuid.UUID, generator: Generator, seeds: Sequence[int], truncation: float
    ) -> ROIs:
        """As ``Generator.draw``, which is asked for what is not kept.

        Args:
            key: of the checkpoint.
        """
        if generator.sampler is None:
            return generator.draw(seeds, truncation)
        asked = [(key, int(seed), truncation) for seed in seeds]
        with self._lock:
            found = {one: self._kept[one] for one in asked if one in self._kept}
        missing = [one for one in dict.fromkeys(asked) if one not in found]
        if missing:
            begun = perf_counter()
            drawn = generator.draw([seed for _, seed, _ in missing], truncation)
            self._each_s[key] = (perf_counter() - begun) / len(missing)
            # copies: a part of an array would keep all of it
            found |= {one: roi.copy() for one, roi in zip(missing, drawn, strict=True)}
        with self._lock:
            for one in asked:
                self._kept[one] = found[one]
                self._kept.move_to_end(one)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return np.stack([found[one] for one in asked]) if asked else generator.draw([], truncation)

    def seconds(self, key: uuid.UUID, generator: Generator, images: int) -> float:
        """What drawing takes, about, by what it took last; 0 where it hardly takes any time.

        The first time an image is drawn to know.
        """
        if generator.sampler is None or not images:
            return 0.0
        if key not in self._each_s:
            self.draw(key, generator, [0], 1.0)
        return self._each_s[key] * images
