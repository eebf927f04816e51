"""An ROI under its map: what is drawn, how strong, and how much of it lies within the mark."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ml.checkpoints import serving
from ml.checkpoints.checkpoint import shipped
from ml.checkpoints.members import parted
from ml.images.roi import Box, Roi, to_grey
from ml.trust.differentiated import Cnn, SaliencyError
from ml.trust.explained import AGAINST_RGB, FOR_RGB, Explained, explain
from ml.trust.saliency import Method, Score, networks


@pytest.fixture(scope="module")
def served() -> serving.Classifier:
    (folder,) = [one for one in shipped() if one.name == "phantom-cnn"]
    found = serving.load(folder)
    assert isinstance(found, serving.Classifier)
    return found


MARK = Box(118, 118, 41, 41)


def _roi(box: Box | None = MARK) -> Roi:
    pixels = np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)
    return Roi(pixels, True, box, Box(106.5, 106.5, 64, 64), 40.0)


def _explained(values: np.ndarray, full: float, roi: Roi | None = None) -> Explained:
    return Explained(roi or _roi(), 1, Method.GRADIENT, values, full, 0.0, None, None)


def _drawn(found: Explained) -> np.ndarray:
    with Image.open(io.BytesIO(found.png())) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture).astype(int)


def test_an_roi_is_explained_of_the_network_that_serves(served: serving.Classifier) -> None:
    own, roi = networks(parted(served.meta.weights())), _roi()
    logits = served.outputs(roi.pixels[None]).logits
    for method in Method:
        found = explain(own, roi, logits, Score([1]), method, checked=True)
        assert found.values.shape == (64, 64)
        assert found.check is not None and found.mark is not None
        assert found.mean == pytest.approx(2 * np.mean([one.mean for one in own]) - 1)
        quick = explain(own, roi, logits, Score([1]), method, checked=False)
        assert quick.check is None and (quick.values == found.values).all()
    with pytest.raises(SaliencyError, match="a map would be of another one"):
        explain(own, roi, logits[:, ::-1], Score([1]), Method.CAM, checked=False)


def test_full_colour_is_the_strongest_place_or_what_few_pixels_exceed(
    served: serving.Classifier,
) -> None:
    own, roi = networks(parted(served.meta.weights())), _roi()
    logits = served.outputs(roi.pixels[None]).logits
    cam, gradient = (
        explain(own, roi, logits, Score([1]), method, checked=False)
        for method in (Method.CAM, Method.GRADIENT)
    )
    assert cam.full == cam.values.max()
    assert (np.abs(gradient.values) > gradient.full).mean() == pytest.approx(0.01, abs=0.001)


def test_what_speaks_for_the_class_is_orange_and_what_speaks_against_it_blue() -> None:
    values = np.zeros((64, 64))
    values[0, 0], values[0, 1], values[0, 2] = 2.0, -2.0, 5.0  # 5 is beyond full colour
    found = _explained(values, 2.0)
    grey = to_grey(found.roi.pixels).astype(int)
    drawn = _drawn(found)
    for place, colour in ((0, FOR_RGB), (1, AGAINST_RGB), (2, FOR_RGB)):
        expected = np.rint(0.4 * grey[0, place] + 0.6 * np.asarray(colour))
        assert np.abs(drawn[0, place] - expected).max() <= 1
    assert (drawn[1:] == grey[1:, :, None]).all()  # and the ROI alone where nothing speaks


def test_the_lesion_stays_visible_under_the_strongest_map() -> None:
    edge = np.where(np.arange(64) < 32, -0.2, 0.2).astype(np.float32)
    roi = replace(_roi(), pixels=np.tile(edge, (64, 1)))
    drawn = _drawn(_explained(np.ones((64, 64)), 1.0, roi))
    plain = to_grey(roi.pixels).astype(int)
    assert (drawn[:, 40] - drawn[:, 20]).min() >= 0.39 * (plain[0, 40] - plain[0, 20])


def _speaks_against(network: Cnn) -> Cnn:
    """The last layer has no weights: nothing moves any score."""
    output = network.layers["output"]
    layers = {**network.layers, "output": replace(output, weight=np.zeros_like(output.weight))}
    return Cnn(layers, network.mean)


def test_an_empty_map_is_the_roi_alone_and_says_that_it_is_empty(
    served: serving.Classifier,
) -> None:
    own, roi = [_speaks_against(networks(parted(served.meta.weights()))[0])], _roi()
    logits = own[0].see(roi.pixels[None]).logits
    for method in Method:
        found = explain(own, roi, logits, Score([0]), method, checked=True)
        assert found.is_empty and found.mark is None and found.check is None
        assert (_drawn(found) == to_grey(roi.pixels)[..., None]).all()


def test_a_map_within_the_mark_is_told_so(served: serving.Classifier) -> None:
    own = networks(parted(served.meta.weights()))
    logits = served.outputs(_roi().pixels[None]).logits

    def mark(roi: Roi) -> tuple[float, float] | None:
        found = explain(own, roi, logits, Score([0]), Method.GRADIENT, checked=False).mark
        return None if found is None else (found.strength, found.area)

    found = mark(_roi())
    values = np.abs(explain(own, _roi(), logits, Score([0]), Method.GRADIENT, checked=False).values)
    # pixel (r, c) lies at 107 + c of the slice; the mark covers 118 to 159
    assert found == (
        pytest.approx(values[11:52, 11:52].sum() / values.sum()), pytest.approx((41 / 64) ** 2),
    )  # fmt: skip
    assert mark(_roi(Box(106.5, 106.5, 64, 64))) == (1, 1)
    wide = mark(_roi(Box(106.5, 130, 64, 16)))
    assert wide is not None and wide[1] == 0.25
    assert wide[0] == pytest.approx(values[23:39].sum() / values.sum())
    assert mark(_roi(None)) is None  # the image is the ROI itself
