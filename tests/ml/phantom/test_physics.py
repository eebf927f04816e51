"""What makes the phantom physics: attenuation, point spread, partial volume, noise power."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from ml.phantom import Version, series
from ml.phantom.anatomy import Anatomy, Ellipsoid
from ml.phantom.grid import Grid, coverage, paint, refine
from ml.phantom.scanner import THICKNESS_MM, Scanner
from ml.phantom.tissues import RANGES
from ml.phantom.vessels import MURRAY, Skeleton, grow

GRID = Grid(0.75, (0.0, 8.0))


def scanner(**changes: float) -> Scanner:
    return replace(Scanner(5.0, 5.0, 0.45, 12.0, 120.0), **changes)


def test_coverage_is_half_on_the_surface_and_linear_across_one_voxel() -> None:
    distance = np.array([-5, -0.25, 0, 0.25, 5], np.float32)
    assert coverage(distance, 1.0) == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_mixture_of_two_tissues_is_linear_in_hu() -> None:
    hu = np.full((1, 1), -100.0, np.float32)
    paint(hu, np.full((1, 1), 0.25, np.float32), 100.0)
    assert hu[0, 0] == -50


def test_refined_knots_keep_constants_and_ramps() -> None:
    ramp = np.broadcast_to(np.arange(128, dtype=np.float32), (128, 128))
    fine = refine(ramp)
    assert np.allclose(np.diff(fine[0, 8:-8]), 0.25, atol=1e-3)
    assert np.allclose(refine(np.ones((64, 64), np.float32)), 1, atol=1e-5)


@pytest.mark.parametrize("tissue", ["liver", "spleen", "blood", "kidney", "muscle", "cyst"])
def test_patients_attenuations_stay_in_the_published_ranges(tissue: str) -> None:
    drawn = [Anatomy(np.random.default_rng(seed)).hu[tissue] for seed in range(25)]
    low, high, _ = RANGES[tissue]
    if tissue == "liver":
        low = RANGES["fatty_liver"].low
    assert low <= min(drawn) and max(drawn) <= high
    assert np.ptp(drawn) > 0.3 * (high - low)


@pytest.fixture(scope="module")
def healthy() -> tuple[Anatomy, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A patient's slice through the liver before the scanner, and a mask deep in the liver."""
    anatomy = Anatomy(np.random.default_rng(5))
    hu = anatomy.paint(GRID, 20.0, 2.5, scanner(thickness_mm=2.5).depths())
    x, y = np.meshgrid(GRID.x, GRID.y)
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 20.0)], axis=1)
    return anatomy, hu, anatomy.liver_distance(points).reshape(hu.shape)


def test_liver_lies_on_the_left_of_the_picture(
    healthy: tuple[Anatomy, npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> None:
    _, _, distance = healthy
    inside = distance < 0
    assert inside[:, :256].sum() > 2 * inside[:, 256:].sum()


def test_painted_organs_have_the_patients_attenuation(
    healthy: tuple[Anatomy, npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> None:
    anatomy, hu, distance = healthy
    liver = hu[distance < -8]
    assert np.median(liver) == pytest.approx(anatomy.hu["liver"], abs=3)
    # vessels stand above the parenchyma
    assert np.percentile(liver, 99.9) > anatomy.hu["liver"] + 15
    assert hu[:20].max() == -1000
    u, v = anatomy.patient(np.asarray(13.6), np.asarray(16.4))
    row = int((v - GRID.centre_mm[1]) / GRID.spacing_mm + 256)
    column = int((u - GRID.centre_mm[0]) / GRID.spacing_mm + 256)
    aorta = hu[row - 3 : row + 4, column - 3 : column + 4]
    assert aorta.mean() == pytest.approx(anatomy.hu["blood"], abs=12)


def test_bone_fat_gas_and_air_are_all_there() -> None:
    anatomy = Anatomy(np.random.default_rng(2))
    seen = [anatomy.paint(GRID, z, 2.5, scanner().depths()) for z in (60.0, 5.0, -30.0)]
    hu = np.concatenate([image[40:440].ravel() for image in seen])
    assert (hu > 300).mean() > 0.003
    assert ((hu > -125) & (hu < -85)).mean() > 0.05
    lung = RANGES["lung"]
    assert ((hu > lung.low - 60) & (hu < lung.high + 60)).mean() > 0.005


def test_anatomy_is_continuous_through_z() -> None:
    anatomy = Anatomy(np.random.default_rng(3))
    depths = scanner(thickness_mm=2.5).depths()
    here, near, far = (anatomy.paint(GRID, z, 2.5, depths) for z in (10.0, 11.0, 35.0))
    assert np.abs(here - near).mean() < 0.25 * np.abs(here - far).mean()


def test_standard_torso_and_patient_are_inverse_to_each_other() -> None:
    anatomy = Anatomy(np.random.default_rng(4))
    x, y = np.meshgrid(np.linspace(-120, 120, 9), np.linspace(-80, 80, 9))
    back_x, back_y = anatomy.patient(*anatomy.standard(x, y))
    assert np.hypot(back_x - x, back_y - y).max() < 1.5


def test_thicker_slices_soften_an_oblique_edge() -> None:
    ball = Ellipsoid((0, 0, 0), (40, 40, 40))
    x, y = np.meshgrid(GRID.x, GRID.y)
    partial = []
    for thickness in (1.25, 5.0):
        distance, width = ball.distance(x, y, 28.0, GRID.spacing_mm, thickness)
        cover = coverage(distance, width)
        partial.append(((cover > 0.02) & (cover < 0.98)).sum())
    assert partial[1] > 2 * partial[0]


def test_thicker_slices_soften_the_poles_of_a_lesion() -> None:
    one = series.patient(9, 0.0, lesion_class="cyst", lesions=1)
    lesion = one._drawn[0]
    cap = lesion.shape.centre_mm[2] + 0.8 * lesion.shape.height_mm
    blurred = []
    for thickness in (1.25, 5.0):
        hu = np.full((512, 512), 100.0, np.float32)
        lesion.paint(hu, one.grid, cap, scanner(thickness_mm=thickness).depths())
        low, high = hu.min(), 100.0
        blurred.append(((hu > low + 0.1 * (high - low)) & (hu < high - 0.1 * (high - low))).sum())
    assert blurred[1] > 1.3 * blurred[0]


@pytest.mark.parametrize("thickness", THICKNESS_MM)
def test_slice_is_the_mean_of_planes_inside_its_thickness(thickness: float) -> None:
    depths = scanner(thickness_mm=thickness).depths()
    assert len(depths) >= 2
    assert depths.mean() == pytest.approx(0, abs=1e-6)
    assert np.abs(depths).max() < thickness / 2


def test_point_spread_keeps_the_mean_and_widens_an_edge() -> None:
    edge = np.zeros((512, 512), np.float32)
    edge[:, 256:] = 100
    soft = scanner().blur(edge, 0.75)
    assert soft.mean() == pytest.approx(50, abs=0.1)
    rise = np.flatnonzero((soft[256, 200:300] > 10) & (soft[256, 200:300] < 90))
    sharp = scanner(cutoff_per_mm=0.8).blur(edge, 0.75)
    crisp = np.flatnonzero((sharp[256, 200:300] > 10) & (sharp[256, 200:300] < 90))
    assert len(rise) > len(crisp)


def test_noise_has_its_sd_and_the_power_spectrum_of_filtered_backprojection() -> None:
    kernel = scanner()
    rng = np.random.default_rng(0)
    power = np.zeros((512, 512))
    for _ in range(4):
        noise = kernel.noise(rng, 0.75)
        assert noise.std() == pytest.approx(12.0, rel=0.02)
        power += np.abs(np.fft.fft2(noise)) ** 2
    f = np.hypot(np.fft.fftfreq(512, 0.75)[:, None], np.fft.fftfreq(512, 0.75)[None, :])
    edges = np.linspace(0, 0.66, 34)
    radial = np.array([power[(f >= a) & (f < b)].mean() for a, b in pairwise(edges)])
    radial /= radial.max()
    peak = (edges[int(radial.argmax())] + edges[int(radial.argmax()) + 1]) / 2
    # not white: depressed at low frequencies, a peak at half the cut-off, falling with the kernel
    assert radial[0] < 0.25
    assert peak == pytest.approx(kernel.cutoff_per_mm / 2, abs=0.05)
    assert radial[-3:].max() < 0.15


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_noise_of_drawn_protocols_is_realistic_and_falls_with_thickness(difficulty: float) -> None:
    drawn = [
        Scanner.draw(np.random.default_rng(seed), difficulty, Version.FIRST) for seed in range(80)
    ]
    assert all(8 <= one.noise_hu <= 18 for one in drawn)
    assert {one.thickness_mm for one in drawn} == set(THICKNESS_MM)
    thin = np.mean([one.noise_hu for one in drawn if one.thickness_mm == 1.25])
    thick = np.mean([one.noise_hu for one in drawn if one.thickness_mm == 5.0])
    assert thin > thick + 2


def test_parent_vessel_carries_what_its_branches_carry() -> None:
    rng = np.random.default_rng(1)
    leaves = rng.uniform(-50, 50, (40, 3))
    trunk = Skeleton.line(np.array([(0, 0, -70.0), (0, 0, -60.0)]))
    tree = grow(rng, trunk, leaves, 1.0)
    assert tree.radius[0, 1] ** MURRAY == pytest.approx(
        sum(tree.radius[i, 1] ** MURRAY for i in range(len(tree)) if _is_leaf(tree, i)), rel=1e-6
    )
    assert tree.radius[0, 1] == tree.radius.max()


def _is_leaf(tree: object, i: int) -> bool:
    starts, ends = tree.start, tree.end  # type: ignore[attr-defined]
    return not (np.linalg.norm(starts - ends[i], axis=1) < 1e-9).any()
