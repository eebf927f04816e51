"""The three classes look as published, and overlap as the difficulty says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from ml.phantom import VERSION, Version, series
from ml.phantom.lesions import (
    CLASSES,
    DIAMETER_MM,
    Shape,
    atypical_share,
    draw_appearance,
    draw_diameter,
    textbook,
)
from ml.phantom.patient import PhantomPatient
from ml.phantom.tissues import RANGES

HU = {"liver": 105.0, "blood": 155.0}


def test_stated_proportion_grows_from_5_to_50_percent() -> None:
    assert atypical_share(0) == pytest.approx(0.05)
    assert atypical_share(1) == pytest.approx(0.5)


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_atypical_lesions_come_in_the_stated_proportion(difficulty: float) -> None:
    rng = np.random.default_rng(6)
    flags = [draw_appearance("hemangioma", rng, HU, difficulty)[1] for _ in range(2000)]
    share = atypical_share(difficulty)
    assert np.mean(flags) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))


def test_diameters_fill_the_papers_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_diameter(rng) for _ in range(2000)]
    assert DIAMETER_MM[0] <= min(drawn) < 11
    assert 70 < max(drawn) <= DIAMETER_MM[1]


def test_textbook_classes_differ_as_published() -> None:
    rng = np.random.default_rng(1)
    looks = {key: [textbook(key, rng, HU) for _ in range(200)] for key in CLASSES}
    for cyst in looks["cyst"]:
        assert RANGES["cyst"].low <= cyst.hu <= 20
        assert cyst.edge_mm <= 1 and cyst.texture_hu <= 1 and cyst.nodules == 0
    for spread in looks["metastasis"]:
        assert spread.edge_mm >= 3 and spread.texture_hu >= 6 and 20 < spread.hu < HU["liver"] - 25
        assert spread.nodules == 0
    for blood in looks["hemangioma"]:
        assert blood.nodules > 0.8 and blood.nodule_hu > HU["liver"] + 20
        assert blood.rim_hu == blood.necrosis == 0
    necrotic = np.mean([look.necrosis > 0 for look in looks["metastasis"]])
    rimmed = np.mean([look.rim_hu > 0 for look in looks["metastasis"]])
    assert necrotic == pytest.approx(0.45, abs=0.12)
    assert rimmed == pytest.approx(0.40, abs=0.12)


def test_one_seed_changes_smoothly_with_difficulty() -> None:
    for seed in range(12):
        last = None
        for difficulty in np.linspace(0, 1, 21):
            rng = np.random.default_rng(seed)
            look, atypical = draw_appearance("metastasis", rng, HU, float(difficulty))
            if last is not None and last[1] == atypical:
                assert abs(look.hu - last[0].hu) < 4
            assert last is None or atypical >= last[1]
            last = look, atypical


def test_longest_diameter_of_the_outline_is_the_diameter_asked_for() -> None:
    for seed in range(10):
        shape = Shape.draw(np.random.default_rng(seed), 40.0, 0.1)
        angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        r = shape.outline(angle) * shape.radius_mm
        points = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
        longest = np.linalg.norm(points[:, None] - points[None], axis=2).max()
        assert longest == pytest.approx(40.0, rel=0.01)


def _core(one: PhantomPatient) -> npt.NDArray[np.float64]:
    """HU in the inner half of the first lesion."""
    image, lesion = one.key_slice(1), one.lesions[0]
    x, y = np.meshgrid(one.grid.x, one.grid.y)
    near = np.hypot(x - lesion.center_mm[0], y - lesion.center_mm[1]) < 0.25 * lesion.diameter_mm
    return image.hu[near].astype(float)


def _typical(lesion_class: str, number: int, version: Version = VERSION) -> list[PhantomPatient]:
    found: list[PhantomPatient] = []
    index = 0
    while len(found) < number:
        one = series.patient(17, 0.0, index, lesion_class, 1, version)
        if not one.lesions[0].atypical and one.lesions[0].diameter_mm > 16:
            found.append(one)
        index += 1
    return found


def test_typical_cyst_is_near_water_and_as_homogeneous_as_the_noise() -> None:
    for one in _typical("cyst", 5):
        core = _core(one)
        assert -6 < core.mean() < 24
        assert core.std() < 1.25 * one.scanner.noise_hu


def test_typical_metastasis_lies_between_water_and_liver() -> None:
    for one in _typical("metastasis", 5):
        assert 10 < _core(one).mean() < one._anatomy.hu["liver"] - 12


@pytest.mark.parametrize(("version", "above"), [(Version.FIRST, 10), (Version.SECOND, 2)])
def test_typical_hemangioma_has_parts_near_vessels_and_parts_like_unenhanced_blood(
    version: Version, above: float
) -> None:
    for one in _typical("hemangioma", 5, version):
        lesion = one._drawn[0]
        hu = np.full((512, 512), one._anatomy.hu["liver"], np.float32)
        lesion.paint(hu, one.grid, lesion.shape.centre_mm[2], one.scanner.depths())
        inside = hu[one.key_slice(1).mask == 1]
        assert np.percentile(inside, 3) < one._anatomy.hu["liver"] - 10
        assert np.percentile(inside, 97) > one._anatomy.hu["liver"] + above


def _separation(difficulty: float) -> float:
    """Share of lesions nearest to their own class's mean in (core HU, spread, edge) of the look."""
    rows, labels = [], []
    for label, key in enumerate(CLASSES):
        for seed in range(150):
            rng = np.random.default_rng((label, seed))
            look, _ = draw_appearance(key, rng, HU, difficulty)
            rows.append((look.hu / 20, look.texture_hu / 3, look.edge_mm, 3 * look.nodules))
            labels.append(label)
    x, y = np.array(rows), np.array(labels)
    means = np.array([x[y == label].mean(axis=0) for label in range(len(CLASSES))])
    nearest = np.linalg.norm(x[:, None] - means[None], axis=2).argmin(axis=1)
    return float((nearest == y).mean())


def test_classes_overlap_more_as_difficulty_grows() -> None:
    right = [_separation(difficulty) for difficulty in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert all(a > b for a, b in pairwise(right))
    assert right[0] > 0.9
    assert right[-1] < 0.75
