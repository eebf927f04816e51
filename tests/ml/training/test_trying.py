"""A classifier tried on fresh phantoms, or on its own lesions out of fold."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ml.checkpoints.members import Ensemble
from ml.checkpoints.serving import Outputs
from ml.dataset.folds import patient_folds
from ml.dataset.manifest import Finding, Manifest
from ml.dataset.measured import measured
from ml.dataset.writing import write
from ml.ground.records import to_json
from ml.images import quick
from ml.images.ct_slice import ImageKind
from ml.images.roi import Box
from ml.lesion import LIVER
from ml.phantom import VERSION, series
from ml.phantom.patient import slice_uids
from ml.progress import Progress
from ml.statistics import multinomial
from ml.training import trying, unlike
from ml.trust.evidence import Missing, OutOfFold, numbered
from ml.trust.novelty import Reference
from ml.trust.record import Looks, Trust, read_figures
from ml.trust.together import Gain, Together
from ml.trust.tried import Detections, Robustness

pytestmark = pytest.mark.long

WINDOW = (-150.0, 250.0)
_LEVEL = (10, 70, 130)


def data_set(folder: Path, patients: int = 36, kind: ImageKind = ImageKind.CALIBRATED) -> Manifest:
    """Discs of three levels in noise, two a patient, on slices with room about them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:160, :160]
    found = []
    for i in range(patients):
        for _ in range(2):
            centre, radius = rng.uniform(75, 85, 2), rng.uniform(8, 14)
            inside = np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]) < radius
            level = _LEVEL[i % 3] + rng.normal(0, 25)
            patches = np.kron(rng.normal(100, 20, (8, 8)), np.ones((20, 20)))  # no two are copies
            hu = np.where(inside, level, patches) + rng.normal(0, 12, x.shape)
            found.append(
                Finding(
                    pixels=hu.astype(np.int16),
                    kind=kind,
                    lesion_class=LIVER.keys[i % 3],
                    patient=f"p{i:02}",
                    file=f"{i}.dcm",
                    box=Box(*(centre - radius), 2 * radius, 2 * radius),
                    spacing_mm=(0.7, 0.7),
                )
            )
    for _ in write(found, len(found), LIVER, folder / "data"):
        pass
    return Manifest.load(folder / "data")


class Network:
    """Names the level that the middle is nearest to; sees how grainy a picture is."""

    def __init__(self, manifest: Manifest) -> None:
        self.meta = SimpleNamespace(
            training_kind=manifest.kind,
            window_hu=WINDOW,
            measured_hu=WINDOW,
            scheme=manifest.scheme,
            ensemble=None,
        )
        self.asked: list[np.ndarray] = []

    def outputs(self, rois: np.ndarray) -> Outputs:
        self.asked.append(rois)
        middle = rois[:, 24:40, 24:40].mean(axis=(1, 2)) * 200 + 50
        logits = -(((middle[:, None] - np.asarray(_LEVEL)) / 40) ** 2)
        grain = np.diff(rois, axis=2).std(axis=(1, 2))
        features = np.stack([middle / 100, grain, rois.mean(axis=(1, 2)), rois.std(axis=(1, 2))], 1)
        return Outputs(multinomial.softmax(logits), logits, features)


def trained(manifest: Manifest) -> tuple[list, dict, Trust]:
    """Three folds with a network each, and what the first one's is trusted by."""
    folds = list(patient_folds(manifest, 3, 0))
    rois, rows = manifest.rois(WINDOW), {line.id: i for i, line in enumerate(manifest.lines)}
    labels = np.asarray([LIVER.index(line.lesion_class) for line in manifest.lines])
    values, held_out = measured(manifest, WINDOW, quick.measure), np.zeros(len(rois), int)
    networks, distances = {}, np.zeros((len(rois), 2))
    for fold in folds:
        own, out = ([rows[line.id] for line in part] for part in (fold.train, fold.test))
        network = Network(manifest)
        reference = Reference.fit(
            network.outputs(rois[own]).features, values.rows(own), labels[own], LIVER.keys
        )
        networks[fold.index] = network, reference
        distances[out] = reference.scores(network.outputs(rois[out]).features, values.values[out])
        held_out[out] = fold.index
    logits = Network(manifest).outputs(rois).logits.astype(float)
    lesions = OutOfFold(
        logits, labels, numbered([line.patient for line in manifest.lines]), held_out, LIVER.keys
    )
    looks = Looks(values, distances, networks[0][1], tuple(c.display for c in LIVER.classes))
    for network, _ in networks.values():
        network.asked.clear()
    return folds, networks, Trust.of(lesions, 0, looks)


def ended(steps: Generator[Progress, None, Trust]) -> tuple[list[Progress], Trust]:
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return told, end.value


def tables(trust: Trust) -> tuple[Detections, Robustness]:
    figures = trust.figures
    assert isinstance(figures.detections, Detections)
    assert isinstance(figures.robustness, Robustness)
    return figures.detections, figures.robustness


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return data_set(tmp_path_factory.mktemp("data"))


def test_real_lesions_are_asked_of_the_network_that_had_not_seen_them(manifest: Manifest) -> None:
    folds, networks, trust = trained(manifest)
    steps, made = ended(trying.tables(manifest, networks[0][0], trust, folds, networks, 100, 0))
    assert [step.done for step in steps] == [1, 2, 3]
    for fold in folds:
        network, _ = networks[fold.index]
        plain = np.stack([asked[0] for asked in network.asked])
        test = np.stack([manifest.roi(line, WINDOW) for line in fold.test])
        assert (plain == test).all()
    flagged, robust = tables(made)
    assert robust.n_lesions == 72 and robust.n_patients == flagged.n_patients == 36
    assert "36 patients" in robust.tried_on and "held it out" in robust.tried_on
    rates = {row.name: row.rate for row in flagged.rows}
    assert rates["noise"].value == 1 and rates["noise"].n == 72
    assert rates["upside-down"].value < 0.3
    why = {*flagged.untried.values()}
    assert why == {
        "no such images come with the software",
        "this needs images of another part or another scan of the same patients",
    }
    assert len(flagged.rows) + len(flagged.untried) == len(unlike.UNLIKE) + 1
    assert set(robust.untried) == set(unlike.SCANS.values())
    changed = {row.name: row for row in robust.rows}
    assert set(changed) == {*unlike.PROCESSED, *unlike.VIEWS}
    # 20 HU are a third of the way to the next class; the middle of a disc stays its middle
    assert changed["level up"].flipped.value > 0.1 > changed["mark off 10 %"].flipped.value
    assert made.figures.calibration == trust.figures.calibration


def test_of_many_patients_only_some_are_asked(manifest: Manifest) -> None:
    folds, networks, trust = trained(manifest)
    _, made = ended(trying.tables(manifest, networks[0][0], trust, folds, networks, 4, 0))
    _, robust = tables(made)
    assert robust.n_patients == 12 and "12 of 36 patients" in robust.tried_on


def test_phantom_classifiers_are_tried_on_patients_that_no_training_saw(manifest: Manifest) -> None:
    _, _, trust = trained(manifest)
    phantoms = replace(manifest, kind=ImageKind.PHANTOM, phantom=VERSION, difficulty=0.3)
    assert trying.of_phantoms(phantoms) and not trying.of_phantoms(manifest)
    network = Network(phantoms)
    steps, made = ended(trying.tables(phantoms, network, trust, [], {}, 2, 0))
    assert [(step.done, step.total) for step in steps] == [(1, 2), (2, 2)]
    flagged, robust = tables(made)
    assert f"seed {unlike.SEED}, difficulty 0.3" in flagged.tried_on == robust.tried_on
    assert next(row.name for row in flagged.rows) == unlike.PLAIN
    assert set(flagged.untried) == {"lung nodules, or real images of anything else"}
    assert [row.name for row in robust.rows] == [*unlike.SCANS, *unlike.VIEWS]
    assert not robust.untried and robust.calibrated
    assert all(row.flipped.n == 2 for row in robust.rows)


def test_a_patient_of_the_data_set_is_no_fresh_one(manifest: Manifest) -> None:
    _, _, trust = trained(manifest)
    uid = slice_uids(series.patient(unlike.SEED, 0.3, 1))[0]
    first, *rest = manifest.lines
    phantoms = replace(
        manifest,
        kind=ImageKind.PHANTOM,
        phantom=VERSION,
        difficulty=0.3,
        lines=(replace(first, phantom_uid=uid), *rest),
    )
    _, made = ended(trying.on_phantoms(phantoms, Network(phantoms), trust, 2))
    for table in (made.figures.detections, made.figures.robustness):
        assert isinstance(table, Missing) and "are in its data set" in table.missing


def test_what_cannot_be_flagged_is_told_with_its_reason(manifest: Manifest) -> None:
    folds, networks, trust = trained(manifest)
    lacking = Missing("3 training ROIs are too few")
    trust = replace(trust, novelty=None, figures=replace(trust.figures, novelty=lacking))
    _, made = ended(trying.tables(manifest, networks[0][0], trust, folds, networks, 4, 0))
    assert made.figures.detections == lacking
    assert isinstance(made.figures.robustness, Robustness)


class Several(Network):
    """Three that see the same with noise of their own; their mean answers."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.meta.ensemble = Ensemble(3, 3)

    def outputs(self, rois: np.ndarray) -> Outputs:
        found = super().outputs(rois)
        noise = np.random.default_rng(len(rois)).normal(0, 2, (len(rois), 3, 3))
        members = found.logits[:, None] + noise
        mean = members.mean(axis=1)
        return replace(found, logits=mean, probabilities=multinomial.softmax(mean), members=members)


def test_networks_of_every_fold_are_told_together_on_patients_that_none_saw(
    manifest: Manifest,
) -> None:
    _, _, trust = trained(manifest)
    phantoms = replace(manifest, kind=ImageKind.PHANTOM, phantom=VERSION)
    _, made = ended(trying.on_phantoms(phantoms, Several(phantoms), trust, 12))
    found = made.figures.together_elsewhere
    assert isinstance(found, Together)
    assert (found.networks, found.before.n_lesions, found.before.n_patients) == (3, 12, 12)
    assert "phantom patients that no training saw" in found.tried_on
    # Hölder, whatever they say
    assert found.before.log_loss.difference.known <= 0
    heat = trust.temperature
    assert heat != pytest.approx(1, abs=0.01)
    assert isinstance(found.after, Gain)
    assert found.after.log_loss.ensemble != found.before.log_loss.ensemble
    again = read_figures(json.loads(json.dumps(to_json(made.figures))))
    assert again.together_elsewhere == found
    _, one = ended(trying.on_phantoms(phantoms, Network(phantoms), trust, 2))
    assert one.figures.together_elsewhere is None


def test_without_a_temperature_networks_together_are_told_as_they_are(manifest: Manifest) -> None:
    _, _, trust = trained(manifest)
    lacking = Missing("3 lesions: a temperature needs 30")
    trust = replace(trust, sets=None, figures=replace(trust.figures, calibration=lacking))
    phantoms = replace(manifest, kind=ImageKind.PHANTOM, phantom=VERSION)
    _, made = ended(trying.on_phantoms(phantoms, Several(phantoms), trust, 4))
    assert made.figures.together_elsewhere.after == lacking
