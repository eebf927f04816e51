"""The pictures that a classifier is asked about though it was not trained on their like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.dataset.manifest import Manifest
from ml.phantom.lesions import CLASSES
from ml.training import unlike
from ml.trust import cloud
from tests.ml.training.test_trying import data_set

HAS_LESION = {unlike.PLAIN, *unlike.SCANS, *unlike.PROCESSED, *unlike.VIEWS}
EVERY = HAS_LESION | {*unlike.UNLIKE}


def _checked(pictures: list[unlike.Picture]) -> dict[str, np.ndarray]:
    for one in pictures:
        assert one.pixels.shape == (64, 64) and one.pixels.dtype == np.float32
        assert -1 <= one.pixels.min() <= one.pixels.max() <= 1
        assert (one.lesion_class in CLASSES) == (one.name in HAS_LESION), one.name
    found = {one.name: one.pixels for one in pictures}
    assert len(found) == len(pictures)
    plain = found[unlike.PLAIN]
    assert (found["upside-down"] == plain[::-1]).all()
    assert (found["inverted"] == -plain).all()
    assert found["level up"].mean() < plain.mean() < found["level down"].mean()
    assert found["wider"].std() < plain.std() < found["narrower"].std()
    return found


def test_a_phantom_is_seen_in_every_way_that_has_a_name() -> None:
    pictures = unlike.of_patient(0)
    found = _checked(pictures)
    assert set(found) == EVERY - {*unlike.PROCESSED}
    assert len({(one.patient, one.lesion) for one in pictures}) == 1
    rough = [np.diff(found[name]).std() for name in ("noise x2", unlike.PLAIN)]
    assert rough[0] > 1.1 * rough[1]


def test_test_patients_are_none_by_which_anything_was_chosen() -> None:
    told = Path(cloud.__file__).read_text("utf-8")
    assert "770000 and 910000" in told
    assert unlike.SEED not in (770_000, 910_000)
    assert str(unlike.SEED) not in told


def test_a_lesion_of_a_data_set_is_seen_in_the_ways_that_its_roi_allows(tmp_path: Path) -> None:
    manifest = data_set(tmp_path)
    line = manifest.lines[0]
    pictures = unlike.of_line(manifest, line, (-150, 250))
    found = _checked(pictures)
    left = EVERY - {*found}
    assert left == {"no-lesion", "native", *unlike.elsewhere.ORGANS, *unlike.SCANS}
    assert {(one.patient, one.lesion, one.diameter_mm) for one in pictures} == {
        (line.patient, line.id, line.size_mm)
    }
    sharp = [np.diff(found[name]).std() for name in ("blurred", unlike.PLAIN, "sharpened")]
    assert sharp[0] < sharp[1] < sharp[2]
    moved = [np.abs(found[f"mark off {by} %"] - found[unlike.PLAIN]).mean() for by in (10, 20)]
    assert 0 < moved[0] < moved[1]
    again = unlike.of_line(manifest, line, (-150, 250))
    assert all((one.pixels == two.pixels).all() for one, two in zip(pictures, again, strict=True))


@pytest.mark.parametrize("change", [{"surroundings": False}, {"image_size": (0, 0)}])
def test_no_mark_is_moved_where_there_is_no_image_for_it(tmp_path: Path, change: dict) -> None:
    manifest: Manifest = data_set(tmp_path)
    line = replace(manifest.lines[0], **change)
    if "image_size" in change:  # the image ends right behind the lesion
        box = line.box
        size = (int(box.y + box.height) + 1, int(box.x + box.width) + 1)
        line = replace(line, image_size=size)
    names = {one.name for one in unlike.of_line(manifest, line, (-150, 250))}
    assert "off-whole" not in names and "blurred" in names
