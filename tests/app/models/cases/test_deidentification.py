"""What is made of dates and of text in pixels on entry, and what the rebuilt objects say of it."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from app.models import Case, Image
from app.models.cases.dates import all_moved, days_of, moved
from app.models.cases.entry import Door, Entry, Term
from app.objects import rebuilt
from factories import make_dicom, make_hu
from tests.app.models.cases.test_link import KEY, receive

MOVING = Entry(Door.STOW, frozenset({Term.SHIFT_DATES}))
STRICT_ON_TEXT = Entry(Door.STOW, frozenset({Term.REFUSE_BURNED_IN}))
NO_DATES = (
    "2019", "201911", "20190230", "19000229", "00000101", "2019-11-05", "20191105+0100",
    "2019.1105", "2019110", "201911055", "abcdefgh", "\u00b20191105", "00010101",
)  # fmt: skip


def told(session, data: bytes, entry: Entry = MOVING):
    case, receipt = receive(session, data, entry=entry)
    image = session.scalars(sa.select(Image).order_by(Image.created_at.desc())).first()
    return rebuilt.header(image), receipt.accepted[0], case


def as_date(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def test_what_is_no_whole_date_is_not_moved():
    assert [text for text in NO_DATES if moved(text, 400)] == []
    assert moved("2020.03.01", 1) == moved("20200301", 1) == "20200229"
    assert moved("01000101", 3652) == "00900101"
    assert all_moved({"StudyDate": "", "SeriesDate": "2019"}, 5) == ({}, ["SeriesDate"])


def test_the_days_are_the_patients_own_and_depend_on_the_key():
    found = {days_of(f"patient {n}", KEY) for n in range(200)}
    assert len(found) > 180 and min(found) >= 1 and max(found) <= 3652
    assert days_of("patient 1", KEY) == days_of("patient 1", KEY)
    assert days_of("patient 1", KEY) != days_of("patient 1", b"another key, thirty-two characters")


def test_intervals_between_the_studies_of_a_patient_stay(session):
    dates = ("20191105", "20200228", "20200306")
    found = []
    for number, text in enumerate(dates):
        more = {"StudyDate": text, "ContentDate": text, "StudyTime": "093711"}
        found.append(told(session, make_dicom(study=f"{number}", **more)))
    shown = [as_date(head.StudyDate) for head, _, _ in found]
    true = [as_date(text) for text in dates]
    assert [b - a for a, b in pairwise(shown)] == [b - a for a, b in pairwise(true)]
    assert timedelta(days=1) <= true[0] - shown[0] <= timedelta(days=3652)
    head = found[0][0]
    assert head.ContentDate == head.StudyDate and not head.StudyTime
    assert head.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [one.CodeValue for one in head.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107"]
    other, _, _ = told(session, make_dicom(study="o", patient_id="another", StudyDate=dates[0]))
    assert other.StudyDate != head.StudyDate


def test_without_the_term_no_date_is_kept_and_that_is_said(session):
    head, _, case = told(session, make_dicom(StudyDate="20191105"), Entry(Door.STOW))
    assert not head.StudyDate and case.study_date is None
    assert head.LongitudinalTemporalInformationModified == "REMOVED"
    assert [one.CodeValue for one in head.DeidentificationMethodCodeSequence] == ["113100"]


@pytest.mark.parametrize("text", ["2019", "00010105"])
def test_a_date_that_cannot_be_moved_is_left_out_and_named_without_its_value(session, text):
    data = make_dicom(StudyDate="20191105").replace(b"20191105", text.encode().ljust(8))
    head, accepted, _ = told(session, data)
    assert not head.StudyDate
    assert [one for one in accepted.warnings if one.startswith("StudyDate: no whole date")]
    assert text not in str(accepted.warnings)


def with_text(hu: np.ndarray, words: str, value: int = 1000) -> np.ndarray:
    ink = Picture.new("1", hu.shape[::-1])
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(ink).text((4, 4), words, fill=1, font=font)
    return np.where(np.asarray(ink), value, hu).astype(np.int16)


def test_text_in_the_pixels_is_warned_of_or_refused(session):
    plain, drawn = make_hu(1), with_text(make_hu(2), "DOE^JANE 1961")
    cases = {
        "drawn": (make_dicom(drawn, number=1), True),
        "tagged": (make_dicom(make_hu(3), number=2, BurnedInAnnotation="YES"), True),
        "a side marker": (make_dicom(with_text(make_hu(4), "R"), number=3), False),
        "plain": (make_dicom(plain, number=4), False),
    }
    for what, (data, text) in cases.items():
        _, accepted, _ = told(session, data, Entry(Door.STOW))
        assert any("text" in one or "annotation" in one for one in accepted.warnings) == text, what
    session.execute(sa.delete(Image))
    session.execute(sa.delete(Case))
    for what, (data, text) in cases.items():
        try:
            receive(session, data, entry=STRICT_ON_TEXT)
        except AssertionError as error:
            assert text and "text is drawn into its pixels" in str(error), what
        else:
            assert not text, what
