"""How far until the class flips: each disturbance against a scorer whose flip is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ml.images.roi import BoxError
from ml.trust.stability import GRIDS, Disturbance, Stability, StabilityError, flips

WINDOW = (-150.0, 250.0)
CLASSES = ("low", "high")
_AT = np.arange(64) - 31.5
INSIDE = np.hypot(*np.meshgrid(_AT, _AT)) < 32 / 1.56


def _disc(inside_hu: float = 20, outside_hu: float = 110) -> np.ndarray:
    return ((np.where(INSIDE, inside_hu, outside_hu) + 150) / 200 - 1).astype(np.float32)


def _by(value: Callable[[np.ndarray], np.ndarray], limit: float) -> Callable[..., np.ndarray]:
    """High where a number of each ROI is above a limit."""

    def score(rois: np.ndarray) -> np.ndarray:
        high = 1 / (1 + np.exp(-np.clip(50 * (value(rois) - limit), -50, 50)))
        return np.stack([1 - high, high], axis=1)

    return score


def _core(rois: np.ndarray) -> np.ndarray:
    return rois[:, 28:36, 28:36].mean(axis=(1, 2))


def _moved(dx: float, dy: float, scale: float) -> np.ndarray:
    """A disc of 40 px on an endless slice, its mark moved and scaled."""
    y, x = np.meshgrid(_AT, _AT, indexing="ij")
    step = 40 * scale * 1.56 / 64
    inside = np.hypot(x * step + dx, y * step + dy) < 20
    return ((np.where(inside, 20.0, 110.0) + 150) / 200 - 1).astype(np.float32)


def _flips(score: Callable[..., np.ndarray], **more: object) -> Stability:
    told: dict[str, object] = {
        "cut": _moved, "roi": _disc(), "classes": CLASSES, "window_hu": WINDOW, "diameter_px": 40.0,
    }  # fmt: skip
    return flips(score, **(told | more))  # type: ignore[arg-type]


def _bars(found: Stability) -> dict[Disturbance, object]:
    return {bar.disturbance: bar.flips_at for bar in found.bars}


def test_a_shift_of_all_values_flips_at_the_first_step_beyond_the_limit() -> None:
    found = _flips(_by(_core, (45 + 150) / 200 - 1))  # 20 HU inside, the limit at 45
    bars = {bar.disturbance: bar for bar in found.bars}
    level = bars[Disturbance.LEVEL]
    assert (found.named, level.flips_at, level.way, level.to) == ("low", 30, "up", "high")
    assert level.sentence(str.upper) == "values up by 30 HU: HIGH"
    assert level.reach == 30 / 40
    others = {kind: at for kind, at in _bars(found).items() if kind != Disturbance.LEVEL}
    assert others.pop(Disturbance.THICKNESS) is None
    assert others.pop(Disturbance.WIDTH) is None
    assert set(others.values()) == {None}
    assert bars[Disturbance.MARK].sentence() == (
        "mark moved: no other class within 20 % of the diameter"
    )


def test_a_moved_and_a_resized_mark_are_cut_anew() -> None:
    corner = _by(
        lambda rois: -rois[:, 31, 49], -0.1
    )  # a place that lies in the disc, 17 px from its centre
    bars = {bar.disturbance: bar for bar in _flips(corner).bars}
    mark, size = bars[Disturbance.MARK], bars[Disturbance.SIZE]
    assert (mark.flips_at, mark.to) == (10, "low")
    assert "right" in mark.way
    assert (size.flips_at, size.way) == (20, "larger")


def test_noise_flips_only_where_most_draws_do() -> None:
    spread = _by(lambda rois: rois[:, INSIDE].std(axis=1), 17 / 200)
    bars = {bar.disturbance: bar for bar in _flips(spread).bars}
    assert bars[Disturbance.NOISE].flips_at == 20
    calls = []

    def once(rois: np.ndarray) -> np.ndarray:
        answers = _by(_core, 0.9)(rois)
        calls.append(len(rois))
        answers[40:45] = (0, 1)  # a few of a batch
        return answers

    _flips(once)
    assert len(calls) == 1  # all at once


def test_softer_and_sharper_kernels_are_told_apart() -> None:
    def steep(rois: np.ndarray) -> np.ndarray:
        return np.abs(np.diff(rois, axis=2)).max(axis=(1, 2))

    plain = steep(_disc()[None])[0]
    softer = {b.disturbance: b for b in _flips(_by(lambda r: -steep(r), -plain * 0.7)).bars}
    sharper = {b.disturbance: b for b in _flips(_by(steep, plain * 1.2)).bars}
    assert softer[Disturbance.KERNEL].way == "softer"
    assert sharper[Disturbance.KERNEL].way == "sharper"


def test_a_thicker_slice_brings_in_what_lies_above_and_below() -> None:
    ring = (np.hypot(*np.meshgrid(_AT, _AT)) < 20) & (np.hypot(*np.meshgrid(_AT, _AT)) > 17)
    score = _by(lambda rois: rois[:, ring].mean(axis=1), (65 + 150) / 200 - 1)
    for cut, diameter in ((_moved, 40.0), (None, None)):
        bars = {b.disturbance: b for b in _flips(score, cut=cut, diameter_px=diameter).bars}
        assert bars[Disturbance.THICKNESS].flips_at == 100
        assert bars[Disturbance.THICKNESS].to == "high"


def test_an_image_that_is_the_roi_itself_says_that_its_mark_was_not_moved() -> None:
    found = _flips(_by(_core, 0.9), cut=None, diameter_px=None)
    mark = found.bars[0]
    assert mark.tried == () and mark.flips_at is None
    assert mark.sentence() == "mark moved: not tried (the image is the ROI itself)"


def test_marks_that_leave_the_image_are_left_out_and_named() -> None:
    def refusing(dx: float, dy: float, scale: float) -> np.ndarray:
        if dx > 5 or scale > 1.15:
            raise BoxError("outside")
        return _moved(dx, dy, scale)

    bars = {b.disturbance: b for b in _flips(_by(_core, 0.9), cut=refusing).bars}
    assert bars[Disturbance.SIZE].tried == (5, 10, 20, 30)  # smaller ones could be cut
    assert bars[Disturbance.MARK].note.startswith("not all could be tried")
    slab = bars[Disturbance.THICKNESS]
    assert slab.tried == (25, 50) and slab.reach == 0.5
    # no word of a flip is no word that it would not have come: what was left out is said
    for bar in (bars[Disturbance.MARK], bars[Disturbance.SIZE], slab):
        assert "no other class within" in bar.sentence() and bar.note in bar.sentence()


def test_greys_without_units_are_told_in_percent() -> None:
    found = _flips(_by(_core, 0.9), window_hu=None)
    assert {bar.unit for bar in found.bars} == {
        "% of the diameter",
        "% of grey",
        "px",
        "% of its width",
    }


def test_the_same_seed_gives_the_same_and_what_is_no_answer_is_refused() -> None:
    score = _by(lambda rois: rois[:, INSIDE].std(axis=1), 17 / 200)
    assert _flips(score) == _flips(score)
    with pytest.raises(StabilityError, match="not finite"):
        _flips(lambda rois: np.full((len(rois), 2), np.nan))
    with pytest.raises(StabilityError, match=r"the answers are \(\d+, 3\)"):
        _flips(lambda rois: np.zeros((len(rois), 3)))
    with pytest.raises(StabilityError, match="finite numbers, not"):
        _flips(score, roi=np.zeros((32, 32), np.float32))


def test_there_is_a_bar_for_every_disturbance_and_all_fit_one_batch() -> None:
    found = _flips(_by(_core, 0.9))
    assert [bar.disturbance for bar in found.bars] == list(Disturbance) == list(GRIDS)
    assert found.views < 128
