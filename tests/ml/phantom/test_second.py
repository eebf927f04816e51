"""The second phantom: another patient from the same seed, mended where real liver differed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ml.__main__ import main
from ml.config import EXPERIMENTS
from ml.dataset import prepare
from ml.dataset.entries import Told
from ml.dataset.manifest import Manifest, ManifestError
from ml.dataset.prepare import PrepareError
from ml.experiment import fresh_phantoms
from ml.experiment.findings import phantom_note
from ml.lesion import LIVER
from ml.phantom import Version, series
from ml.phantom.anatomy import Anatomy
from ml.phantom.dicomfile import encode
from ml.phantom.grid import Grid
from ml.phantom.lesions import CALIBRATION, DIFFICULTY, Lesion
from ml.phantom.parenchyma import MOTTLE_HU, Mottle, hepatic_skeleton, portal_skeleton
from ml.phantom.scanner import Scanner
from ml.phantom.vessels import grow
from ml.progress import drive

SECOND = Version.SECOND


@pytest.fixture(scope="module")
def patients() -> dict[Version, series.PhantomPatient]:
    return {one: series.patient(31, index=2, version=one) for one in Version}


def test_a_seed_gives_each_phantom_its_own_patient_and_each_always_the_same(patients) -> None:
    first, second = (patients[one].key_slice(1) for one in Version)
    assert (first.hu != second.hu).mean() > 0.3
    assert first.sop_uid != second.sop_uid
    again = series.patient(31, index=2, version=SECOND).key_slice(1)
    assert (again.hu == second.hu).all() and again.sop_uid == second.sop_uid
    told = pydicom.dcmread(io.BytesIO(encode(patients[SECOND], second)))
    assert told.SoftwareVersions == ["phantom 2", "difficulty 0.05"]
    assert told.SOPInstanceUID == second.sop_uid


def test_the_liver_has_a_mottle_that_belongs_to_the_patient_and_goes_on_through_z() -> None:
    mottles = [Mottle(np.random.default_rng(seed)) for seed in range(12)]
    strengths = [one.at(3.0).std() for one in mottles]
    low, high = MOTTLE_HU
    assert 0.8 * low < min(strengths) and max(strengths) < 1.2 * high
    assert np.ptp(strengths) > 0.4 * (high - low)

    def alike(mm: float) -> float:
        pairs = ((one.at(3).ravel(), one.at(3 + mm).ravel()) for one in mottles)
        return float(np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs]))

    assert alike(0.5) > 0.95 > alike(4.0) > 0.3 > abs(alike(40.0)) + 0.2


def test_even_liver_of_the_second_is_mottled_and_of_the_first_is_not() -> None:
    grid = Grid(0.75, (0.0, 8.0))
    spread = []
    for version in Version:
        anatomy = Anatomy(np.random.default_rng(5), version=version)
        hu = anatomy.paint(grid, 20.0, 2.5, np.float32([-0.6, 0.6]))
        x, y = np.meshgrid(grid.x, grid.y)
        deep = anatomy.liver_distance(np.stack([x.ravel(), y.ravel(), 20 + 0 * x.ravel()], 1))
        inside = hu[(deep < -12).reshape(x.shape)]
        # vessels stand out on one side alone
        spread.append(np.median(inside) - np.percentile(inside, 16))
    assert spread[0] < 2.5 < spread[1]


@pytest.mark.parametrize("tree", ["portal", "hepatic"])
def test_every_vessel_begins_where_another_one_passes(tree: str) -> None:
    vessels = getattr(Anatomy(np.random.default_rng(8), version=SECOND), tree)
    ends = {tuple(point) for point in vessels.end} | {tuple(vessels.start[0])}
    assert all(tuple(point) in ends for point in vessels.start)
    assert vessels.radius.max() < 12 and vessels.radius.min() > 0.4


def test_veins_fork_as_a_livers_do_and_carry_what_their_branches_do() -> None:
    rng = np.random.default_rng(0)
    for skeleton in (portal_skeleton(rng), hepatic_skeleton(rng, 95.0)):
        parents = np.asarray(skeleton.parents)
        assert parents[0] == -1 and (parents[1:] < np.arange(1, len(parents))).all()
        children = np.bincount(parents[1:], minlength=len(parents))
        assert (children > 1).sum() == 2 and children.max() == 2
        grown = grow(rng, skeleton, skeleton.points[children == 0] + 9, 1.0)
        trunk = grown.radius[0].max()
        assert trunk >= grown.radius.max() - 1e-9


def test_scanners_are_of_more_kinds() -> None:
    first, second = (
        [Scanner.draw(np.random.default_rng(seed), 0.2, one) for seed in range(120)]
        for one in Version
    )
    assert np.ptp([one.cutoff_per_mm for one in second]) > 1.6 * np.ptp(
        [one.cutoff_per_mm for one in first]
    )
    noise = np.asarray([one.noise_hu for one in second])
    assert 9 <= noise.min() < 12 and 20 < noise.max() <= 30


def test_what_a_lesions_edge_is_made_of_has_no_corners(patients) -> None:
    lesion: Lesion = patients[SECOND]._drawn[0]
    line = np.linspace(-8, 8, 1601, dtype=np.float32)[None, None]
    zero = np.zeros_like(line)

    def bend(one: Lesion) -> float:
        noise = one._texture(np.random.default_rng(1), line, zero, zero)[0, 0]
        return float(np.abs(np.diff(noise[::8], 2)).max())

    assert bend(lesion) < 0.5 * bend(replace(lesion, version=Version.FIRST))


def test_nodules_reach_the_rim(patients) -> None:
    look = replace(
        patients[SECOND]._drawn[0].look,
        hu=50.0, nodule_hu=160.0, nodules=1.0, fill=0.0, texture_hu=0.0, necrosis=0.0, rim_hu=0.0,
        nodule_size=0.3,
    )  # fmt: skip
    angle = np.linspace(-np.pi, np.pi, 721, dtype=np.float32)[None, None]
    p, q, k = 0.98 * np.cos(angle), 0.98 * np.sin(angle), np.zeros_like(angle)
    level, grain = np.hypot(p, q), np.zeros_like(angle)
    lit = []
    for version in Version:
        lesion = replace(patients[SECOND]._drawn[0], look=look, version=version)
        shares = []
        for seed in range(20):
            value = lesion._inside(
                np.random.default_rng(seed), p, q, k, level, grain, np.float32(10)
            )
            shares.append((value > 140).mean())
        lit.append(np.mean(shares))
    assert lit[1] > 1.3 * lit[0] > 0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("second")
    command = ["phantom", "--counts", "cyst=2,metastasis=2,hemangioma=2", "--seed", "4"]
    more = ["--key-slices-only", "--phantom-version", "2", "--out", str(root / "dicom")]
    assert main([*command, *more]) == 0
    assert main(["prepare", "dicom", str(root / "dicom"), "--out", str(root / "data")]) == 0
    return root


def test_a_data_set_knows_which_phantom_it_is_of_and_how_it_was_calibrated(prepared) -> None:
    assert json.loads((prepared / "dicom" / "phantom.json").read_text())["version"] == "2"
    manifest = Manifest.load(prepared / "data")
    assert manifest.phantom is SECOND and manifest.difficulty == DIFFICULTY[SECOND]
    assert f"of phantom 2. {CALIBRATION[SECOND]}" in (phantom_note(manifest) or "")
    assert CALIBRATION[SECOND] != CALIBRATION[Version.FIRST]
    other = phantom_note(replace(manifest, difficulty=DIFFICULTY[Version.FIRST])) or ""
    assert "of phantom 2. Their difficulty, 0.2, is not the calibrated one." in other
    head = json.loads((prepared / "data" / "manifest.json").read_text())
    (prepared / "data" / "manifest.json").write_text(json.dumps({**head, "phantom": "7"}))
    with pytest.raises(ManifestError, match="damaged"):
        Manifest.load(prepared / "data")
    (prepared / "data" / "manifest.json").write_text(json.dumps(head))


def test_fresh_patients_are_of_the_same_phantom(prepared) -> None:
    settings = EXPERIMENTS["quick"]
    first, second = (fresh_phantoms.chunks(settings, 20, 2, one) for one in Version)
    assert {one.phantom for one in second} == {SECOND}
    assert not {one.file for one in first} & {one.file for one in second}


def test_phantoms_of_another_program_or_of_two_versions_are_refused(prepared, tmp_path) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    for file in (prepared / "dicom").iterdir():
        (folder / file.name).symlink_to(file)
    told = json.loads((folder / "phantom.json").read_text())
    (folder / "phantom.json").unlink()
    (folder / "phantom.json").write_text(json.dumps({**told, "version": "9"}))
    with pytest.raises(PrepareError, match="phantoms of version 9, and this program has 1, 2"):
        drive(prepare.dicom(folder, LIVER, tmp_path / "data"))
    assert not (tmp_path / "data").exists()
    with pytest.raises(PrepareError, match="of phantom 2 and --test of phantom 1"):
        Told([], phantom=SECOND).tested_on(Told([], phantom=Version.FIRST), folder)
