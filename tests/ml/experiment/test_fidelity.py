"""Fidelity that can tell: a set that is plainly false comes out far off, a real one does not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import planted_copies
import pytest

from ml.dataset.entries import Options
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Line, Manifest
from ml.dataset.prepare import images
from ml.experiment import measured_lesions, measuring
from ml.statistics import classification, nearness
from ml.statistics.bootstrap import percentiles
from ml.statistics.nearness import APART, RADIOMICS, Side
from tests.ml.discs import data_set

_WINDOW = (-150.0, 250.0)
_MEASURES = (f"{RADIOMICS}kid", f"{RADIOMICS}fid", f"{RADIOMICS}density", f"{RADIOMICS}coverage")


def _manifest(source: str, folder: Path) -> Manifest:
    if source == "made":
        return data_set(folder, patients=60, each=1)
    given = Path(os.environ.get("HEPATICA_TEST_DATA", "/nowhere")) / "nodules_ct64"
    if not given.exists():
        pytest.skip("HEPATICA_TEST_DATA names no folder with the nodules")
    list(images(given, None, folder, Options(whole=True)))
    return Manifest.load(folder)


@pytest.mark.parametrize("source", ["made", "nodules"])
def test_black_discs_drawn_on_real_lesions_come_out_far_off(source: str, tmp_path: Path) -> None:
    manifest = _manifest(source, tmp_path / "data")
    fold = patient_folds(manifest, 3, 0)[0]
    net, rng = measuring.network(), np.random.default_rng(0)

    def side(lines: list[Line], discs: bool = False) -> Side:
        rois = np.stack([manifest.roi(line, _WINDOW) for line in lines])
        if discs:
            y, x = np.mgrid[:64, :64]
            for roi in rois:
                centre, radius = rng.uniform(16, 48, 2), rng.uniform(4, 9)
                roi[np.hypot(x - centre[0], y - centre[1]) < radius] = -1
        owners = tuple(line.patient for line in lines)
        return Side(
            features=measuring.features_of(net, rois).astype(np.float64),
            radiomics=measured_lesions.of_rois(rois, manifest, _WINDOW),
            kinds=np.asarray([manifest.scheme.index(line.lesion_class) for line in lines]),
            owners=owners,
            weights=classification.patient_resamples(owners, 200, 1),
        )

    train, held = list(fold.train), side(list(fold.test))
    real = side(train)
    honest, false = (
        nearness.draws(one, held, real.radiomics, 0) for one in (real, side(train, discs=True))
    )
    assert honest.keys() == false.keys() == {*nearness.MEASURES, *_MEASURES, APART}
    for name in (*_MEASURES, APART):
        ours, theirs = (percentiles(of[1:]) or (of[0], of[0]) for of in (false[name], honest[name]))
        if name.endswith(("density", "coverage")):
            assert ours[1] < theirs[0], name
        else:
            assert ours[0] > theirs[1], name
    # and what is real is as chance has it
    apart = percentiles(honest[APART][1:])
    assert apart is not None and apart[0] < 0.5 < apart[1]
    assert false[APART][0] > 0.9


def test_a_copy_that_is_turned_or_moved_is_found_in_features_too(tmp_path: Path) -> None:
    """A network's features change with turns and shifts; a copy is first laid on its original."""
    manifest = data_set(tmp_path / "data", patients=40, each=1)
    rois = np.stack([manifest.roi(line, _WINDOW) for line in manifest.lines])
    own = np.asarray([line.lesion_class == "ring" for line in manifest.lines])
    training, unseen = rois[own][:10], rois[own][10:]
    views = np.repeat(training, 3, axis=0)  # each lesion with two views
    net = measuring.network()
    limit = measuring.by_features(net, unseen)(views, 3).gap.min()
    for name in ("turn of 37°", "turn of 205°", "shift of 4 px"):
        planted = planted_copies.planted(name, training, np.random.default_rng(1))
        found = measuring.by_features(net, planted)(views, 3)
        assert (found.gap < limit).mean() >= 0.9, name
        assert (found.where // 3 == np.arange(10)).mean() >= 0.9, name
        one, other = found.both(0)
        assert np.corrcoef(one[16:48, 16:48].ravel(), other[16:48, 16:48].ravel())[0, 1] > 0.8


def test_density_and_coverage_are_of_as_many_on_either_side() -> None:
    """Coverage grows with what is drawn: ten times as much of the same would pass for better."""
    rng = np.random.default_rng(0)

    def side(count: int, letter: str) -> Side:
        values = rng.normal(size=(count, 4))
        owners = tuple(f"{letter}{i}" for i in range(count))
        return Side(values, values, np.arange(count) % 2, owners, np.ones((1, count)))

    held, training = side(40, "h"), rng.normal(size=(50, 4))
    few, many = (
        np.mean(
            [
                nearness.draws(side(count, "s"), held, training, seed)[f"{RADIOMICS}coverage"][0]
                for seed in range(5)
            ]
        )
        for count in (40, 400)
    )
    assert few == pytest.approx(many, abs=0.1) and few < 0.999
