"""Two percentiles of an image: those of ``numpy.percentile``, which costs most on small ones.

Every picture and every ROI is asked whether there is anything to see in it, and a request to score
one has few thousand pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def span(pixels: npt.NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """The percentiles ``low`` and ``high``, each in [0, 100], of an image that is not empty.

    Between two values it is interpolated linearly, as numpy does by default. The values must be
    numbers: where one is not, what is told means nothing.
    """
    flat = pixels.reshape(-1)
    places = [(flat.size - 1) * (percent / 100) for percent in (low, high)]
    below = [int(place) for place in places]
    above = [min(place + 1, flat.size - 1) for place in below]
    ranked = np.partition(flat, sorted({*below, *above}))
    first, last = (
        float(ranked[under]) + (float(ranked[over]) - float(ranked[under])) * (place - under)
        for place, under, over in zip(places, below, above, strict=True)
    )
    return first, last
