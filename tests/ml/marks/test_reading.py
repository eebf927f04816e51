"""Objects that mark lesions: where each of their regions lies, and why one marks nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

import marks
from factories import make_dicom
from ml.images.roi import Box
from ml.marks import reading
from ml.marks.region import Form, MarkError, Marking, MarkKind, Place, Region, Seen
from stow import parsed

SLICES = [make_dicom(number=n, z=5.0 * n, spacing=(0.8, 0.5)) for n in (1, 2, 3)]
UIDS = [str(parsed(one).SOPInstanceUID) for one in SLICES]
SIZE = (128, 128)


def seen(place: Place) -> Seen:
    z = 5.0 * (UIDS.index(place.sop_uid) + 1)
    return Seen(SIZE, (0.8, 0.5), [1, 0, 0, 0, 1, 0], [0, 0, z])


def read(data: bytes) -> Marking:
    return reading.read(data, "object")


def only(data: bytes) -> tuple[Region, str, Box, float | None]:
    (region,) = read(data).regions
    (placed,) = region.placed(seen)
    return region, placed.place.sop_uid, placed.box, placed.diameter_mm


def mask(*boxes: tuple[int, slice, slice]) -> np.ndarray:
    inside = np.zeros((3, *SIZE), bool)
    for place, rows, columns in boxes:
        inside[place, rows, columns] = True
    return inside


def test_a_segment_lies_on_its_largest_slice_and_each_part_of_it_is_a_region():
    one = (0, slice(50, 60), slice(40, 50)), (1, slice(48, 62), slice(38, 53))
    data = marks.segmentation(SLICES, mask(*one, (2, slice(90, 96), slice(100, 105))))
    found = read(data)
    assert found.kind is MarkKind.SEGMENTATION and not found.ours
    placed = [one for region in found.regions for one in region.placed(seen)]
    assert [(p.place.sop_uid, p.box) for p in placed] == [
        (UIDS[1], Box(38, 48, 15, 14)),
        (UIDS[2], Box(100, 90, 5, 6)),
    ]
    assert {region.label for region in found.regions} == {"Lesion 1"}


def test_an_organ_is_no_lesion():
    data = marks.segmentation(
        SLICES, mask((0, slice(9, 90), slice(9, 90))), category=codes.SCT.AnatomicalStructure
    )
    (region,) = read(data).regions
    with pytest.raises(MarkError, match="anatomical structure"):
        region.placed(seen)


def test_a_segmentation_of_another_size_than_its_image_is_not_marked():
    (region,) = read(marks.segmentation(SLICES, mask((0, slice(9, 20), slice(9, 20))))).regions
    with pytest.raises(MarkError, match="128 × 128 pixels, the image that it marks 64 × 64"):
        region.placed(lambda place: Seen((64, 64), None, None, None))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (([-1, 0, 0, 0, -1, 0], (63.5, 101.6), (0.8, 0.5)), None),
        (([1, 0, 0, 0, 1, 0], (0, 0), (0.8, 0.8)), "column 127, row 0 of it is 47.6 pixels"),
        (([1, 0, 0, 0, 1, 0], (0.3, 0), (0.8, 0.5)), "column 0, row 0 of it is 0.6 pixels"),
        (([1, 0, 0, 0, 1, 0], (0.2, 0.3), (0.8, 0.5)), ""),
        ((None, None, (0.8, 0.5)), ""),
    ],
)
def test_a_segmentation_on_a_grid_of_its_own_is_not_marked(image, why):
    turned, corner, spacing = image
    (region,) = read(marks.segmentation(SLICES, mask((0, slice(9, 20), slice(9, 20))))).regions
    kept = Region.of_dict(json.loads(json.dumps(region.to_dict())))
    there = Seen(SIZE, spacing, turned, None if corner is None else (*corner, 5.0))
    for one in (region, kept):
        if why == "":
            assert one.placed(lambda place: there)[0].box == Box(9, 9, 11, 11)
            continue
        with pytest.raises(MarkError, match=why or "lies on another grid than the image"):
            one.placed(lambda place: there)


def test_a_label_that_names_the_patient_is_left_out():
    data = marks.segmentation(SLICES, mask((0, slice(9, 20), slice(9, 20))), "SYLVIA met 1")
    (region,) = read(data).regions
    assert "left out" in region.label and "ylvia" not in region.label.lower()


@pytest.mark.parametrize(
    ("kind", "points", "box", "diameter"),
    [
        ("POLYLINE", [(10, 20), (30, 20), (30, 50), (10, 50), (10, 20)], (10, 20, 20, 30), None),
        ("POLYLINE", [(10, 20), (30, 20), (30, 50), (10, 50)], (10, 20, 20, 30), None),
        # round to the eye: 10 columns of 0.5 mm are 6.25 rows of 0.8 mm
        ("CIRCLE", [(40, 40), (50, 40)], (30, 33.75, 20, 12.5), 10.0),
        ("ELLIPSE", [(20, 40), (60, 40), (40, 30), (40, 50)], (20, 30, 40, 20), None),
        # a distance is the diameter of a lesion
        ("POLYLINE", [(30, 40), (50, 40)], (30, 33.75, 20, 12.5), 10.0),
    ],
)
def test_what_a_report_draws_is_where_it_says(kind, points, box, diameter):
    region, uid, found, mm = only(marks.report(SLICES[0], kind, points, numbers=True))
    assert uid == UIDS[0]
    assert (found.x, found.y, found.width, found.height) == pytest.approx(box)
    assert mm == (None if diameter is None else pytest.approx(diameter))
    assert (region.label, region.tracking_id) == ("Metastasis", "Target 1")
    assert region.tracking_uid == generate_uid(entropy_srcs=["tracking"])


@pytest.mark.parametrize(
    ("kind", "points", "why"),
    [
        ("POINT", [(10, 20)], "a point, which has no size"),
        ("POLYLINE", [(10, 20), (30, 20), (20, 50)], "an open line"),
        ("CIRCLE", [(200, 200), (210, 200)], "outside the image"),
        ("CIRCLE", [(20, 20), (20, 20)], "diameter of 0 mm"),
    ],
)
def test_what_surrounds_nothing_or_misses_the_image_marks_nothing(kind, points, why):
    (region,) = read(marks.report(SLICES[0], kind, points)).regions
    with pytest.raises(ValueError, match=why):
        region.placed(seen)


def test_a_report_without_measurement_groups_is_refused():
    data = parsed(marks.report(SLICES[0], "CIRCLE", [(40, 40), (50, 40)]))
    del data.ContentSequence
    with pytest.raises(MarkError, match="no Measurement Group"):
        read(marks.part10.written(data))


def test_a_presentation_state_marks_by_closed_figures_and_not_by_arrows():
    box = [(10, 20), (30, 20), (30, 50), (10, 50), (10, 20)]
    region, uid, found, _ = only(marks.presentation(SLICES[1], "POLYLINE", box))
    assert (uid, found, region.label) == (UIDS[1], Box(10, 20, 20, 30), "here")
    (arrow,) = read(marks.presentation(SLICES[1], "POLYLINE", [(1, 1), (20, 20)])).regions
    assert "open line" in arrow.flaw


def square(x: float, y: float, z: float, side: float) -> list[tuple[float, float, float]]:
    return [(x, y, z), (x + side, y, z), (x + side, y + side, z), (x, y + side, z)]


def test_a_structure_lies_on_its_largest_slice_in_pixels_of_the_image():
    contours = [(0, square(10, 8, 5.0, 4)), (1, square(10, 8, 10.0, 8))]
    region, uid, box, _ = only(marks.structures(SLICES, contours))
    assert region.form is Form.CONTOURS and uid == UIDS[1]
    # 0.5 mm a column, 0.8 mm a row; both ends are within
    assert (box.x, box.y, box.width, box.height) == (20, 10, 17, 11)


@pytest.mark.parametrize(
    ("kind", "z", "why"), [("ORGAN", 5.0, "ORGAN, and no lesion"), ("GTV", 9.0, "4.0 mm off")]
)
def test_a_structure_that_is_no_lesion_or_off_its_image_marks_nothing(kind, z, why):
    data = marks.structures(SLICES, [(0, square(10, 8, z, 6))], kind=kind)
    (region,) = read(data).regions
    with pytest.raises(MarkError, match=why):
        region.placed(seen)


def test_a_contour_that_is_written_twice_cuts_nothing_out():
    outline = square(10, 8, 5.0, 6)
    once, hole = (0, outline), (0, square(12, 9, 5.0, 2))
    again = (0, [*outline[2:], *outline[:2]][::-1])
    (_, _, expected, _) = only(marks.structures(SLICES, [once, hole]))
    (_, _, box, _) = only(marks.structures(SLICES, [once, hole, again]))
    assert box == expected


def test_a_structure_with_a_contour_that_is_open_marks_nothing():
    whole = parsed(marks.structures(SLICES, [(0, square(10, 8, 5.0, 6))] * 2))
    whole.ROIContourSequence[0].ContourSequence[1].ContourGeometricType = "OPEN_PLANAR"
    (region,) = read(marks.part10.written(whole)).regions
    assert region.flaw == "some of its contours are closed and some open; close all of them."


def test_a_region_is_the_same_when_it_was_kept():
    for data in (
        marks.structures(SLICES, [(0, square(10, 8, 5.0, 6))]),
        marks.report(SLICES[0], "CIRCLE", [(40, 40), (50, 40)]),
    ):
        (region,) = read(data).regions
        assert Region.of_dict(region.to_dict()) == region


def test_a_damaged_or_cut_object_is_refused_in_words():
    whole = marks.segmentation(SLICES, mask((0, slice(9, 20), slice(9, 20))))
    for cut in (300, 2000, len(whole) - 100):
        with pytest.raises(ValueError, match="object"):
            read(whole[:cut])
