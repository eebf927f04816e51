"""Measurements of the lesions of a data set."""

from __future__ import annotations

from collections.abc import Callable

from ml.dataset.manifest import Manifest
from ml.images.ct_slice import ImageKind
from ml.images.measurements import Measured


def measured(
    manifest: Manifest, window_hu: tuple[float, float], measure: Callable[..., Measured]
) -> Measured:
    """Every lesion, in the order of the lines.

    Args:
        measure: that of ``ml.images.measurements``, or of ``ml.images.quick``, as serving does.
    """
    sizes = [line.size_mm for line in manifest.lines]
    return measure(manifest.rois(window_hu), window_of(manifest, window_hu), sizes)


def window_of(manifest: Manifest, window_hu: tuple[float, float]) -> tuple[float, float] | None:
    """What −1 and 1 of an ROI stand for; other greys have no window: all of them are seen."""
    return None if manifest.kind == ImageKind.UNCALIBRATED else window_hu
