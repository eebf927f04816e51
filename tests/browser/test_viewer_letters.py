"""Which side is which: the letters on the picture's edges, and the slice's place on the scanner."""

from __future__ import annotations

import re

import pytest

from factories import make_dicom
from tests.browser.test_upload import drop, settled

SIDES = ("left", "right", "top", "bottom")


@pytest.mark.parametrize(
    ("cosines", "position", "letters", "place"),
    [
        ([1, 0, 0, 0, 1, 0], [-100.0, -100.0, -42.5], "RLAP", "instance 103, z −42.5 mm"),
        ([-1, 0, 0, 0, -1, 0], [100.0, 100.0, 17.0], "LRPA", "instance 103, z 17.0 mm"),
        ([1, 0, 0, 0, 0, -1], [-100.0, 12.0, 90.0], "RLHF", "instance 103, y 12.0 mm"),
        (None, None, "", "instance 103"),
    ],
    ids=["axial", "turned", "coronal", "silent"],
)
def test_the_letters_come_from_the_files_cosines_and_none_from_a_file_without(
    open_as, request, cosines, position, letters, place
):
    page = open_as("reader")
    name = request.node.callspec.id
    tags = {"ImageOrientationPatient": cosines, "ImagePositionPatient": position}
    file = make_dicom(
        study=f"letters {name}",
        number=103,
        patient_id=f"letters {name}",
        without=() if cosines else tuple(tags),
        **(tags if cosines else {}),
    )
    drop(page, {"slice.dcm": file})
    settled(page, "1 file accepted")
    page.click("[data-lines] a:has-text('open')")
    page.wait_for_url(re.compile("/cases/[0-9a-f-]{36}"))
    page.locator("[data-hud=scanner]", has_text="instance").wait_for()
    assert page.inner_text("[data-hud=scanner]") == place
    assert [page.inner_text(f"[data-edge={side}]") for side in SIDES] == (list(letters) or [""] * 4)
    heard = page.get_attribute("#slice", "aria-label") or ""
    assert ("edges left" in heard) == (cosines is not None)
