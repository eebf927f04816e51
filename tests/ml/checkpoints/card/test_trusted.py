"""The card tells what a checkpoint knows of its own trustworthiness, or why it knows nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chai as published
from ml.checkpoints import saving
from ml.checkpoints.card import chai, exports, json_form, making
from ml.checkpoints.card.exports import Format
from ml.checkpoints.checkpoint import Checkpoint, shipped
from ml.statistics.figure import Figure
from ml.trust import tried
from ml.trust.evidence import Missing, OutOfFold
from ml.trust.novelty import NoveltyRecord
from ml.trust.record import Trust
from ml.trust.tried import Detections, Robustness
from tests.ml.checkpoints.test_checkpoint import META, TENSORS

KEYS = META.scheme.keys


def lesions(n: int) -> OutOfFold:
    """Scores that are three times too sure of themselves."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    logits = 3 * (1.5 * np.eye(3)[labels] + rng.standard_normal((n, 3)))
    return OutOfFold(logits, labels, np.arange(n), np.arange(n) // 3 % 3, KEYS)


@pytest.fixture(scope="module")
def calibrated() -> Checkpoint:
    return replace(META, trust=Trust.of(lesions(120), held_out_fold=2).figures)


def text_of(checkpoint: Checkpoint) -> str:
    return exports.written(making.card(checkpoint), Format.MARKDOWN).decode()


def test_a_calibrated_checkpoint_tells_its_figures_with_intervals_and_n(calibrated) -> None:
    trust = calibrated.trust
    fields = json_form.form(making.card(calibrated))["fields"]
    first = fields["calibration"]["statements"][0]
    slope = {one["of"]: one for one in first["figures"] if one["measure"] == "slope"}
    assert slope["by temperature"]["value"] == trust.calibration.after.slope.value
    assert slope["as they are"]["high"] == trust.calibration.before.slope.high
    assert first["sample"]["n_lesions"] == trust.calibration.after.n_lesions
    sets = {one["about"]: one for one in fields["prediction_sets"]["statements"]}
    ninety = next(one for one in trust.coverage if one.level == 0.9)
    rows = sets["coverage, out of fold"]["figures"]
    told = {one["measure"]: one for one in rows if one["of"] == "90 %"}
    assert told["cyst"]["value"] == ninety.by_class["cyst"].value
    assert told["cyst"]["n"] == ninety.by_class["cyst"].n
    assert "coverage by size of the set, held-out patients" in sets
    gaps = [one["about"] for one in fields["prediction_sets"]["gaps"]]
    assert "sets at 99 %, out of fold" in gaps
    text = text_of(calibrated)
    assert "not calibrated" not in text
    assert "n = " in text and "| numbers | slope |" in text


def test_what_was_not_measured_is_told_with_its_reason(calibrated) -> None:
    none = replace(META, trust=Trust.of(lesions(12)).figures)
    fields = json_form.form(making.card(none))["fields"]
    for key in ("calibration", "prediction_sets"):
        assert re.search("not measured .*: 12 out-of-fold lesions", fields[key]["empty"]), key
    assert fields["novelty"]["empty"].startswith("not measured for this checkpoint: ")
    assert "Its scores are not calibrated" in text_of(none)
    gaps = fields["discrimination"]["gaps"]
    assert [one["about"] for one in gaps] == ["a simple model beside it"]
    why = replace(calibrated.trust, opinion=Missing("the ROIs have no measurements"))
    told = text_of(replace(calibrated, trust=why))
    assert "a simple model beside it: the ROIs have no measurements" in told


def test_the_shipped_classifier_s_own_record_is_in_its_card(tmp_path) -> None:
    [folder] = [one for one in shipped() if "cnn" in one.name]
    trust = Checkpoint.load(folder).trust
    assert trust is not None and trust.beside is not None
    fields = json_form.form(making.of_folder(folder))["fields"]
    for key in ("calibration", "prediction_sets", "novelty"):
        assert fields[key]["empty"] is None
    flagged = fields["novelty"]["statements"][1]["figures"][0]
    assert flagged["value"] == trust.novelty.false_alarms.value
    words = [one["text"] for one in fields["discrimination"]["statements"]]
    assert any(trust.beside.sentence in one for one in words)
    root = chai.written(making.of_folder(folder))
    published.schema(tmp_path).validate(root)
    assert '"kind": "estimate_ci"' in root.partition("<SafetyReliability>")[2]


def test_what_it_was_tried_on_stands_in_every_form_of_the_card(calibrated, tmp_path) -> None:
    rng = np.random.default_rng(0)
    truth, names = np.arange(60) % 3, [f"{i // 2}" for i in range(60)]
    before, after = rng.dirichlet((1, 1, 1), (2, 60))
    rows = (
        tried.detection("plain", "the lesions as they are", rng.random(60) < 0.05, names),
        tried.detection("noise", "noise of all greys", np.ones(60, bool), names),
    )
    moved = tried.disturbed("mark", "the mark moved", truth, before, after, names)
    whole = tried.accuracy(truth, before, names)
    novelty = NoveltyRecord(
        "distance", 1.0, (1.0, 1.0), 80, 40, 90, Figure(0.05, 0.01, 0.1, 80, "by fold"), "HU", ()
    )
    of = replace(
        calibrated.trust,
        novelty=novelty,
        detections=Detections("phantoms of seed 9", 30, rows, untried={"nodules": "none come"}),
        robustness=Robustness(
            "phantoms of seed 9", 60, 30, whole, True, (moved,), untried={"thicker slices": "no CT"}
        ),
    )
    checkpoint = replace(calibrated, trust=of)
    fields = json_form.form(making.card(checkpoint))["fields"]
    alarms, flagged = fields["novelty"]["statements"][1:]
    assert (alarms["about"], flagged["about"]) == (
        "false alarms",
        "detection of what it was not trained on",
    )
    noise = flagged["figures"][1]
    assert (noise["of"], noise["value"], noise["n"]) == ("noise of all greys", 1.0, 60)
    assert noise["low"] < 1 and flagged["sample"]["n_patients"] == 30
    assert fields["novelty"]["gaps"] == [{"about": "nodules", "reason": "none come"}]
    told = fields["robustness"]["statements"][0]
    assert told["sample"]["n_lesions"] == 60
    changes = {one["measure"]: one for one in told["figures"]}
    assert changes["another class"]["value"] == moved.flipped.value
    assert changes["balanced accuracy by"]["low"] == moved.accuracy.low
    assert changes["probability by"]["high"] == moved.probability.high
    text = text_of(checkpoint)
    assert "| noise of all greys | 100.0 % (" in text and "thicker slices: no CT" in text
    low, high = (100 * end for end in moved.probability.ends)
    assert f"({low:.1f} to {high:.1f})" in text
    root = chai.written(making.card(checkpoint))
    published.schema(tmp_path).validate(root)
    assert "noise of all greys" in root.partition("<SafetyReliability>")[2]


def test_a_checkpoint_without_the_tables_says_so(calibrated) -> None:
    fields = json_form.form(making.card(calibrated))["fields"]
    assert "it was not tried on anything when it was trained" in fields["robustness"]["empty"]
    fields = json_form.form(making.card(replace(META, trust=None)))["fields"]
    assert "were not tried" in fields["robustness"]["empty"]
    [folder] = [one for one in shipped() if "diffusion-cyst" in one.name]
    fields = json_form.form(making.of_folder(folder))["fields"]
    assert fields["robustness"]["empty"] == "does not apply: a generator names no class"


def test_a_saved_checkpoint_s_card_has_it_too(calibrated, tmp_path: Path) -> None:
    trust = Trust.of(lesions(120), held_out_fold=2)
    saving.save(META, tmp_path, b"o", TENSORS, trust=trust)
    assert (tmp_path / "CARD.md").read_text("utf-8") == exports.written(
        making.of_folder(tmp_path), Format.MARKDOWN
    ).decode()
    assert "temperature of" in (tmp_path / "CARD.md").read_text("utf-8")
    assert json.loads((tmp_path / "checkpoint.json").read_text("utf-8"))["trust"]["version"] == 1


def test_a_reliability_plot_has_every_lesion_once_and_its_numbers_in_every_form(calibrated) -> None:
    told = calibrated.trust.calibration.after
    first = json_form.form(making.card(calibrated))["fields"]["calibration"]["statements"][0]
    curves = {one["name"]: one["points"] for one in first["curves"]}
    assert list(curves) == ["as they are", "by temperature", "by vector scaling"]
    points = curves["by temperature"]
    assert sum(one["n"] for one in points) == told.n_lesions
    assert [one["said"] for one in points] == sorted(one["said"] for one in points)
    assert all(one["low"] <= one["right"] <= one["high"] for one in points)
    gap = sum(one["n"] * abs(one["said"] - one["right"]) for one in points) / told.n_lesions
    assert gap == pytest.approx(told.error.value, abs=0.05)
    # three times too sure of themselves: what is said lies above what is right
    over = [one["n"] * (one["said"] - one["right"]) for one in curves["as they are"]]
    assert sum(over) / told.n_lesions > 0.05
    last = points[-1]
    shown = f"| {100 * last['said']:.0f} % | {100 * last['right']:.1f} % ("
    assert shown in text_of(calibrated)
