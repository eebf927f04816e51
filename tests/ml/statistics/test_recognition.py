"""A known picture is found again whatever was done to it, and others are not taken for it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ml.statistics.recognition import Recognition

BICUBIC = Image.Resampling.BICUBIC


def lesion(seed: int) -> np.ndarray:
    """A dark disc in the texture of CT, grey values (64, 64): all alike in outline."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 32.0
    disc = np.where(np.hypot(x, y) < 15 + 2 * rng.random(), 90, 150)
    texture = gaussian_filter(rng.standard_normal((64, 64)), 1.5)
    return np.clip(disc + 20 * texture / texture.std(), 0, 255).astype(np.uint8)


def resized(grey: np.ndarray, side: int = 64) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(grey)).resize((side, side), BICUBIC))


def padded(grey: np.ndarray, by: int) -> np.ndarray:
    wide = np.full((64 + 2 * by,) * 2, 128, np.uint8)
    wide[by:-by, by:-by] = grey
    return resized(wide)


def as_jpeg(grey: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


CHANGED = {
    "as it is": lambda grey: grey,
    "brightened": lambda grey: (0.7 * grey + 60).astype(np.uint8),
    "as JPEG": lambda grey: as_jpeg(grey, 30),
    "mirrored": lambda grey: grey[:, ::-1],
    "turned": np.rot90,
    "cropped": lambda grey: resized(grey[10:54, 8:52]),
    "padded": lambda grey: padded(grey, 14),
    "as a screenshot": lambda grey: resized(resized(grey, 512)),
    "shifted": lambda grey: np.roll(grey, (4, -3), (0, 1)),
    "tilted": lambda grey: np.asarray(Image.fromarray(grey).rotate(4, BICUBIC)),
    "all at once": lambda grey: as_jpeg(
        (0.8 * resized(grey[6:58, 5:57])[::-1]).astype(np.uint8), 50
    ),
}


@pytest.fixture(scope="module")
def known() -> Recognition:
    return Recognition([lesion(seed) for seed in range(30)])


@pytest.mark.parametrize("how", CHANGED)
def test_a_known_picture_is_found_again(known, how):
    assert known.knows(CHANGED[how](lesion(7)))


def test_another_lesion_of_the_same_outline_is_not_taken_for_it(known):
    assert len(known) == 30
    assert max(known.alike(lesion(seed)) for seed in range(100, 105)) < 0.85


def test_where_nothing_is_known_or_shown_nothing_is_recognised(known):
    assert not Recognition(()).knows(lesion(1))
    assert known.alike(np.full((64, 64), 7.0)) == 0.0
