"""Series as scanners send them, through STOW: their order, what is said of them, and marks in mm.

Where a mark must lie is worked out here from the header alone (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import io
from math import cos, radians, sin

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image as Picture
from pydicom.dataset import Dataset

import marks
from app.models import Case, Lesion
from factories import make_dicom, make_hu
from stow import store

SPACING = (0.5, 1.25)
"""mm between rows (down a column), and between columns (along a row)."""
ALONG, DOWN = 30.0, 20.0
"""Degrees by which the image is turned about the patient's two axes: no plane of the body."""


def turned() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row and down a column of an oblique image."""
    a, b = radians(ALONG), radians(DOWN)
    row = np.array([cos(a), 0.0, sin(a)])
    column = np.array([-sin(a) * sin(b), cos(b), cos(a) * sin(b)])
    return row, column


def oblique(number: int, step_mm: float = 4.0, **more: object) -> bytes:
    row, column = turned()
    at = np.array([-60.0, 15.0, 300.0]) + number * step_mm * np.cross(row, column)
    told = {"series": "oblique", "number": number, "spacing": SPACING, **more}
    return make_dicom(
        make_hu(number),
        ImageOrientationPatient=[round(float(one), 8) for one in (*row, *column)],
        ImagePositionPatient=[round(float(one), 6) for one in at],
        **told,
    )


def in_mm(number: int, x: float, y: float) -> tuple[float, float, float]:
    """Where the centre of the pixel of column x and row y lies in the patient."""
    row, column = turned()
    at = np.array([-60.0, 15.0, 300.0]) + number * 4.0 * np.cross(row, column)
    point = at + row * x * SPACING[1] + column * y * SPACING[0]
    return float(point[0]), float(point[1]), float(point[2])


@pytest.fixture
def send(client, token, session):
    """``send(file, …)``: the case they are in, and what was said of them."""

    def sent(*files: bytes) -> tuple[Case, str]:
        reply = store(client, token, *files)
        assert reply.status_code == 200, reply.text
        session.expire_all()
        return session.scalars(sa.select(Case)).one(), reply.text

    return sent


def stacks(case: Case) -> list[list[int | None]]:
    """The stacks of all series by instance numbers, each in reading order."""
    found = [stack for series in case.series for stack in series.stacks]
    return [[image.instance_number for image in stack.images] for stack in found]


def test_a_contour_in_mm_lies_on_its_pixels_of_an_oblique_slice_with_oblong_pixels(
    send, client, token, session
):
    slices = [oblique(n) for n in (3, 1, 2)]
    corners = [(40, 30), (59, 30), (59, 77), (40, 77)]  # centres of the outermost pixels
    contour = [in_mm(2, x, y) for x, y in corners]
    case, _ = send(*slices, marks.structures(slices, [(2, contour)]))
    assert stacks(case) == [[3, 2, 1]]
    [lesion] = session.scalars(sa.select(Lesion)).all()
    assert lesion.image.instance_number == 2
    box = lesion.box
    assert (box.x, box.y, box.width, box.height) == (40, 30, 20, 48)
    # 20 columns of 1.25 mm and 48 rows of 0.5 mm: what the network sees is square in mm
    asked = {"instance": lesion.image.uid, "box": [40, 30, 20, 48]}
    headers = {"authorization": f"Bearer {token}"}
    path = "/api/v1/classifications"
    [told] = client.post(path, json={"lesions": [asked]}, headers=headers).json()["lesions"]
    x, y, width, height = told["roi"]["square"]
    assert (width * SPACING[1], height * SPACING[0]) == pytest.approx((39, 39), abs=0.01)
    assert (x + width / 2, y + height / 2) == pytest.approx((50, 54), abs=0.01)
    # a circle in mm is wider in rows than in columns
    circle = {"instance": lesion.image.uid, "center": [50, 54], "diameter_mm": 20.0}
    [told] = client.post(path, json={"lesions": [circle]}, headers=headers).json()["lesions"]
    assert told["roi"]["box"] == pytest.approx([50 - 8, 54 - 20, 16, 40])


@pytest.mark.parametrize(("shift", "columns"), [(0.4, (40, 20)), (0.6, (41, 20))])
def test_a_contour_between_pixels_lies_on_the_nearest_ones(send, session, shift, columns):
    slices = [oblique(n) for n in (1, 2)]
    corners = [(40 + shift, 30), (59 + shift, 30), (59 + shift, 77), (40 + shift, 77)]
    send(*slices, marks.structures(slices, [(1, [in_mm(2, x, y) for x, y in corners])]))
    [lesion] = session.scalars(sa.select(Lesion)).all()
    assert (lesion.box.x, lesion.box.width) == columns


def test_a_contour_off_its_slice_marks_nothing_and_says_how_far(send, session):
    slices = [oblique(n) for n in (1, 2, 3)]
    off = np.cross(*turned()) * 1.9
    corners = [(40, 30), (59, 30), (59, 77)]
    contour = [tuple(np.array(in_mm(2, x, y)) + off) for x, y in corners]
    _, told = send(*slices, marks.structures(slices, [(1, contour)]))
    assert session.scalars(sa.select(Lesion)).all() == []
    assert "1.9 mm off the image" in told


def test_a_study_as_it_comes_is_in_order_and_what_is_odd_in_it_is_said(
    send, signed_in_as, client, token
):
    z = {1: 0.0, 2: 4.0, 3: 8.0, 4: 20.0, 5: 24.0}  # between 3 and 4 two are missing
    axial = {n: make_dicom(number=n, z=z[n], series="axial", SliceThickness=9) for n in z}
    leans = [
        make_dicom(
            number=n,
            series="tilted",
            GantryDetectorTilt=15,
            ImageOrientationPatient=[1, 0, 0, 0, cos(radians(15)), sin(radians(15))],
            ImagePositionPatient=[0, 0, 5.0 * n],
        )
        for n in (11, 12, 13)
    ]
    silent = [make_dicom(number=n, z=5.0 * n, series="s", GantryDetectorTilt=20) for n in (31, 32)]
    side = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "series": "axial", "number": 99}
    scout = make_dicom(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **side)
    files = [axial[4], leans[2], axial[1], oblique(21), axial[5], leans[0], axial[3], axial[1],
             oblique(22), leans[1], axial[2], *silent]  # fmt: skip
    case, _ = send(*files)
    assert stacks(case) == [[5, 4, 3, 2, 1], [13, 12, 11], [22, 21], [32, 31]]
    refused = store(client, token, scout, axial[2])
    assert refused.status_code == 202 and "localizer" in refused.text
    assert len(stacks(case)[0]) == 5
    page = signed_in_as("reader").get(f"/cases/{case.id}").text
    for words in (
        "1 gap between slices: up to 12.0 mm where 4.0 mm",  # of positions, not of thickness
        "The slice is tilted by 15° against the axial plane.",
        "The gantry was tilted by 20° (GantryDetectorTilt), and the orientation",
        "oblique, not axial",
    ):
        assert words in page, words


def test_a_file_that_names_a_table_is_drawn_by_it(send, signed_in_as, client, token):
    entries = np.array([250, 5, 120])
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [3, 40, 8])
    table.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    hu = np.full((64, 64), 39, np.int16)
    hu[:, 20:40], hu[:, 40:] = 41, 1000
    case, told = send(make_dicom(hu, VOILUTSequence=[table]))
    assert "table" not in told
    image = case.series[0].images[0]
    at = f"/dicomweb/studies/{case.uid}/series/{case.series[0].uid}/instances/{image.uid}/rendered"
    headers = {"authorization": f"Bearer {token}", "accept": "image/png"}
    drawn = np.asarray(Picture.open(io.BytesIO(client.get(at, headers=headers).content)))
    assert (drawn[0, [0, 30, 60]] == entries).all()
    page = signed_in_as("reader").get(f"/cases/{case.id}").text
    assert "By the table of the file" in page
    assert '"steps":[[40,250],[41,5],[42,120]]' in page.replace(" ", "")
