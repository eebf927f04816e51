"""``python -m ml paste``: from slices and masks to lesions, figures and a page."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ml import __main__ as commands
from ml.dataset.manifest import Manifest
from ml.experiment.tissue import asked, paste
from ml.experiment.tissue.stock import Stock
from tests.ml.experiment.tissue import livers

pytestmark = pytest.mark.long

OPTIONS = {
    "--spacing-mm": "1.5", "--hu": "-50,250", "--patient": r"case_(\d+)_", "--count": "36",
}  # fmt: skip


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    return livers.folder(tmp_path_factory.mktemp("slices") / "made")


@pytest.fixture
def few(monkeypatch):
    """Few phantoms to stand beside: they take a fifth of a second each."""
    monkeypatch.setattr(asked, "TRAINED", dict.fromkeys(asked.TRAINED, 8))
    monkeypatch.setattr(paste, "TESTED_OF_EACH", 4)


def run(root, out, **changes):
    """With other options by their names, ``_`` for ``-``."""
    places = {"--images": root / "images", "--masks": root / "masks", "--out": out}
    other = {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    options = {**OPTIONS, **places, **other}
    return commands.main(["paste", *(f"{name}={value}" for name, value in options.items())])


def test_lesions_are_pasted_asked_about_and_become_a_data_set(slices, tmp_path, few, capsys):
    out = tmp_path / "pasted"
    assert run(slices, out) == 0
    found = json.loads((out / "tissue.json").read_text())
    assert found["counts"] == {"cyst": 12, "metastasis": 12, "hemangioma": 12}
    assert found["patients"] == 12 and found["left_out"] == {}
    where = [(one["where"], one["lesions"]) for one in found["asked"]]
    assert len(where) == 9 and where.count(("real tissue", 36)) == 3
    for one in found["asked"]:
        assert one["balanced"]["low"] <= one["balanced"]["value"] <= one["balanced"]["high"]
    # an even liver is no phantom's
    assert found["compared"]["told"][0]["area"]["value"] > 0.7

    page = (out / "report.md").read_text()
    assert "phantoms" in page and "Nothing here is evidence about a patient" in page
    assert "--count 36" in page and str(tmp_path) not in page
    with (out / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    of = {}
    for row in rows:
        of.setdefault(row["patient"], set()).add(row["label"])
    assert len(of) == 12 and all(len(classes) == 1 for classes in of.values())
    assert Image.open(out / rows[0]["file"]).size == (livers.SIDE, livers.SIDE)
    assert Image.open(out / "contact-sheet.png").size[0] > 500

    data = tmp_path / "data"
    assert (
        commands.main(["prepare", "images", str(out), "--scheme", "liver", "--out", str(data)]) == 0
    )
    manifest = Manifest.load(data)
    assert sorted(line.lesion_class for line in manifest.lines) == sorted(r["label"] for r in rows)

    # an experiment takes the folder as it is: the same ROIs, in HU
    stock = Stock.load(out)
    stock.verify()
    assert stock.made.counts == found["counts"] and len(stock.patients) == 12
    ends = stock.made.greys_hu
    for line in manifest.lines[::7]:
        one = next(one for one in stock.lesions if one.file == line.file)
        assert np.abs(stock.roi(one, ends) - manifest.roi(line, ends)).max() < 1e-5

    again = tmp_path / "again"
    assert run(slices, again) == 0
    assert (again / "tissue.json").read_bytes() == (out / "tissue.json").read_bytes()
    assert (again / "images/00007.png").read_bytes() == (out / "images/00007.png").read_bytes()
    assert run(slices, again) == 1  # taken
    assert "again" in capsys.readouterr().err


def refusal(capsys, root, out, **changes):
    assert run(root, out, **changes) == 1
    assert not out.exists()
    told = capsys.readouterr().err.strip().splitlines()
    return told[-1]


def test_what_cannot_be_used_is_refused_by_name(slices, tmp_path, few, capsys):
    out = tmp_path / "out"
    for option, value, words in (
        ("patient", "case_.*_", "one pair of brackets"),
        ("patient", "(", "no regular expression"),
        ("patient", "(nobody)", "does not tell its patient"),
        ("spacing_mm", "0", "Pixels of 0 mm"),
        ("hu", "250,-50", "Greys from 250 to -50 HU"),
        ("count", "5", "give 30 to"),
        ("thickness_mm", "0", "Slices of 0 mm"),
        ("difficulty", "2", "outside 0…1"),
        ("masks", tmp_path / "nowhere", "is no folder"),
        ("checkpoint", tmp_path, "checkpoint"),
    ):
        assert words in refusal(capsys, slices, out, **{option: value}), (option, value)

    def broken(change):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(slices, copy)
        change(copy)
        return refusal(capsys, copy, out)

    mask = "masks/case_03_0.png"
    assert "has no mask" in broken(lambda root: (root / mask).unlink())
    told = broken(lambda root: Image.new("L", (9, 9), 255).save(root / mask))
    assert "case_03_0.png is 160 × 160 pixels, its mask 9 × 9" in told
    told = broken(lambda root: (root / "images/case_03_0.png").write_bytes(b"\x89PNG\r\n\x1a\nno"))
    assert "case_03_0.png" in told


def test_slices_whose_mask_is_off_are_counted_and_too_few_patients_refused(
    slices, tmp_path, few, capsys
):
    root = tmp_path / "off"
    shutil.copytree(slices, root)
    corner = np.zeros((livers.SIDE, livers.SIDE), np.uint8)
    corner[:40, :40] = 255  # black
    for path in sorted((root / "masks").iterdir())[:16]:
        Image.fromarray(corner).save(path)
    told = refusal(capsys, root, tmp_path / "out")
    assert "4 patients have a liver of use, and at least 6" in told
    assert "16 slices: more than half of its liver is black or white" in told


def test_it_runs_on_real_slices(test_data, tmp_path, few):
    real = test_data / "liver_slices" / "msd_liver"
    if not real.is_dir():
        pytest.skip("there are no real liver slices among the test data")
    root = tmp_path / "some"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for path in sorted((real / kind).iterdir())[::24]:
            shutil.copy(path, root / kind)
    out = tmp_path / "out"
    assert run(root, out, hu="0,255", patient=r"_(\d+)_", phantom_version=2) == 0
    found = json.loads((out / "tissue.json").read_text())
    assert sum(found["counts"].values()) == 36
    assert found["phantom_version"] == "2" and "--phantom-version 2" in found["command"]
    assert 60 < found["compared"]["rows"][0]["real"]["value"] < 150
