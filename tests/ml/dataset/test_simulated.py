"""Which phantom a data set is of: its images say it, from the file to fresh lesions."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from ml.__main__ import main
from ml.dataset import simulated
from ml.dataset.manifest import Manifest
from ml.images.ct_slice import MADE_BY
from ml.images.dicom import read
from ml.phantom import Made, Version

FIRST, SECOND = Version


def test_what_a_file_says_is_read_as_it_was_written() -> None:
    made = Made("2", 0.05)
    assert Made.read("\\".join(made.words)) == made
    assert Made.read("phantom 1") == Made("1", None)
    for words in ("", "0.1.0", "phantom", "difficulty much", "difficulty nan", "difficulty 7"):
        assert Made.read(words) == Made("", None)


@pytest.mark.parametrize(
    ("made_by", "folder", "expected"),
    [
        ({"phantom 2\\difficulty 0.05": 3}, (None, None), (SECOND, 0.05)),
        ({"phantom 2\\difficulty 0.05": 3}, (FIRST, 0.2), (SECOND, 0.05)),
        ({"phantom 2": 3}, (FIRST, 0.2), (SECOND, None)),
        ({"phantom 1": 3}, (FIRST, 0.2), (FIRST, 0.2)),
        ({"": 3}, (SECOND, 0.05), (SECOND, 0.05)),
        ({"": 3}, (None, None), (FIRST, None)),
        ({"phantom 2\\difficulty 0.05": 3, "phantom 2\\difficulty 0.2": 1}, (None, None),
         (SECOND, None)),
    ],
)  # fmt: skip
def test_images_tell_more_surely_than_their_folder(made_by, folder, expected) -> None:
    found = simulated.of(made_by, *folder)
    assert (found.version, found.difficulty) == expected and not found.problems
    assert (simulated.ASSUMED in found.notes) == (made_by == {"": 3} and folder == (None, None))
    assert any("0.05, 0.2" in note for note in found.notes) == (len(made_by) == 2)


def test_two_phantoms_and_one_that_is_not_known_are_refused() -> None:
    both = simulated.of({"phantom 1": 2, "phantom 2\\difficulty 0.05": 3}, None, None)
    assert "here are 3 of phantom 2, 2 of phantom 1" in both.problems[0]
    silent = simulated.of({"": 2, "phantom 2": 3}, None, None)
    assert "3 of phantom 2, 2 of one that is not told" in silent.problems[0]
    later = simulated.of({"phantom 3": 2}, None, None)
    assert "2 images are of phantom 3, and this program has 1, 2." in later.problems[0]
    assert simulated.of(Counter(), SECOND, 0.05) == simulated.Simulated()


def test_files_that_left_their_folder_still_say_which_phantom_they_are_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, alone = tmp_path / "made", tmp_path / "alone"
    command = ["phantom", "--counts", "cyst=2,metastasis=2,hemangioma=2", "--key-slices-only"]
    assert main([*command, "--seed", "5", "--difficulty", "0.1", "--out", str(made)]) == 0
    shutil.copytree(made, alone)
    (alone / "phantom.json").unlink()
    assert main(["prepare", "dicom", str(alone), "--out", str(tmp_path / "data")]) == 0
    found = Manifest.load(tmp_path / "data")
    assert (found.phantom, found.difficulty) == (SECOND, 0.1)
    head = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert head["phantom"] == "2"

    path = next(alone.rglob("*.dcm"))
    file = pydicom.dcmread(path)
    file.SoftwareVersions = ["phantom 1"]
    file.save_as(path)
    capsys.readouterr()
    assert main(["prepare", "dicom", str(alone), "--out", str(tmp_path / "mixed")]) == 1
    assert "Images of two phantoms never share a data set" in capsys.readouterr().err
    assert not (tmp_path / "mixed").exists()

    for words in ("phantom 2\\Mr. Doe", "DOE^JANE", "phantom 2\\difficulty 0.05\\DOE"):
        file.SoftwareVersions = words.split("\\")
        file.save_as(path)
        [one] = read(path.read_bytes(), path.name)
        assert MADE_BY not in one.tags  # whatever names a person is not kept
