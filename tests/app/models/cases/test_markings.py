"""DICOM objects that mark lesions in a case: once, at the right place, whatever comes first."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sqlalchemy as sa

import marks
import studies
from app.db import Database
from app.models import Case, Event, Image, Lesion, Mark, Marking
from app.models.cases.case import Receipt
from app.objects import part10
from app.uploads import opening
from app.uploads.parcel import Limits, RefusalCode
from factories import hidden_fields, make_dicom
from ml.images.roi import Box
from stow import parsed, store, told

KEY = b"a key for tests, thirty-two characters or more"
SLICES = [make_dicom(number=n, z=5.0 * n) for n in (1, 2, 3)]
CIRCLE = [(64, 64), (79, 64)]
"""Of the disc of 30 pixels in the middle of each slice; 24 mm."""


def mask() -> np.ndarray:
    inside = np.zeros((3, 128, 128), bool)
    inside[0, 54:70, 55:70] = True
    inside[1, 49:79, 50:78] = True
    return inside


SEG = marks.segmentation(SLICES, mask())
SR = marks.report(SLICES[0], "CIRCLE", CIRCLE)


def send(database, *files: bytes, pseudonym: str = "") -> Receipt:
    parcel = opening.opened(
        [(f"file {n}", one) for n, one in enumerate(files, 1)], Limits(100, 10**9, 10**9)
    )
    with database.transaction() as session:
        return Case.receive(
            session,
            parcel,
            None,
            contrast_phase="portal",
            pseudonym=pseudonym,
            key=KEY,
            actor="my-pacs",
        )


def lesions(session) -> list[tuple[int, Box]]:
    """The slice and box of each lesion that stands."""
    session.expire_all()
    query = sa.select(Lesion).where(Lesion.withdrawn_at.is_(None)).order_by(Lesion.number)
    return [(one.image.instance_number, one.box) for one in session.scalars(query)]


ON_TWO = (2, Box(50, 49, 28, 30))


@pytest.mark.parametrize(
    "order", [(SEG, *SLICES), (*SLICES, SEG), (SLICES[2], SEG, SLICES[1], SLICES[0])]
)
def test_a_segmentation_marks_its_lesion_whatever_came_first(order, database, session):
    for file in order:
        receipt = send(database, file)
        assert receipt.took and not receipt.refused
    assert lesions(session) == [ON_TWO]
    (mark,) = session.scalars(sa.select(Mark))
    assert (mark.label, mark.marking.kind, mark.known) == ("Lesion 1", "segmentation", False)
    assert session.scalars(sa.select(Marking.waiting)).all() == [[]]
    assert session.scalars(sa.select(Lesion.marked_by_id)).all() == [None]
    told_by = sa.select(Event.actor).where(Event.kind == "lesion marked")
    assert session.scalars(told_by).all() == ["my-pacs"]


def test_an_object_in_the_same_parcel_marks_though_it_comes_before_its_images(database, session):
    receipt = send(database, SEG, *SLICES)
    (one,) = receipt.marks
    assert (one.lesions, one.known, one.words) == (1, False, ("It marks 1 lesion.",))
    assert one.case_id == receipt.accepted[0].case_id
    assert lesions(session) == [ON_TWO]


def test_an_object_whose_images_are_not_here_waits_and_says_so(database, session):
    (one,) = send(database, SR).marks
    assert one.case_id is None and one.lesions == 0
    assert "not here yet" in one.words[0]
    send(database, SLICES[1])  # of the same study, and not the image that is meant
    assert lesions(session) == []
    (again,) = send(database, SR).marks
    assert again.known and again.case_id is not None
    send(database, SLICES[0])
    (found,) = lesions(session)
    assert found[0] == 1
    assert (found[1].x, found[1].width) == (pytest.approx(49), pytest.approx(30))


def test_marks_whose_images_do_not_come_are_given_up_and_can_be_sent_again(database, session):
    def give_up(days: float) -> int:
        with database.transaction() as own:
            return Marking.give_up(own, days, "clerk")

    both = marks.report_on(SLICES[:2], "CIRCLE", [(64, 64), (74, 64)], instance="both")
    send(database, SR)
    send(database, SLICES[1], both)  # of the two places that it marks one is here
    assert give_up(1.0) == 0 and session.scalar(sa.select(sa.func.count(Marking.id))) == 2
    assert give_up(1e-9) == 2 and give_up(1e-9) == 0
    told = session.scalars(sa.select(Event.detail).where(Event.kind == "marks given up")).all()
    assert [one["regions"] for one in told] == [1, 1]
    (left,) = session.scalars(sa.select(Marking))
    assert (len(lesions(session)), left.waiting) == (1, [])
    assert "did not come" in left.marks[0].reason
    send(database, SLICES[0])
    assert len(lesions(session)) == 1
    (again,) = send(database, both).marks
    assert (again.lesions, again.known) == (2, True)
    (anew,) = send(database, SR).marks
    assert not anew.known and anew.lesions == 1


def test_the_same_object_twice_marks_once_and_other_bytes_of_its_uid_are_refused(database, session):
    send(database, *SLICES, SEG)
    (again,) = send(database, SEG).marks
    assert again.known and again.words[0] == "It is here already."
    other = marks.segmentation(SLICES, np.roll(mask(), 9, axis=2))
    (refused,) = send(database, other).refused
    assert refused.code is RefusalCode.TAKEN
    assert lesions(session) == [ON_TWO]


def test_an_object_that_archives_have_encoded_otherwise_is_the_same(database, session):
    send(database, *SLICES, SR)
    changed = parsed(SR)
    changed.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    stream = io.BytesIO()
    changed.save_as(stream, implicit_vr=True, little_endian=True)
    (again,) = send(database, stream.getvalue()).marks
    assert again.known and len(lesions(session)) == 1


def test_two_objects_of_the_same_place_are_one_lesion_and_both_are_told(
    database, session, signed_in_as
):
    box = [(50, 49), (78, 49), (78, 79), (50, 79), (50, 49)]
    send(database, *SLICES, SEG)
    (one,) = send(database, marks.presentation(SLICES[1], "POLYLINE", box, "met")).marks
    assert one.words == ("It marks 1 lesion.", "1 of them was marked there before.")
    assert lesions(session) == [ON_TWO]
    case = session.scalars(sa.select(Case)).one()
    page = signed_in_as("reader").get(f"/cases/{case.id}").text
    assert "segmentation, “Lesion 1”; also by presentation state, “met”" in page
    assert "Marked by DICOM objects (2)" in page


def test_what_a_person_withdrew_is_not_marked_again_by_the_same_object(
    database, session, signed_in_as
):
    send(database, *SLICES, SEG)
    lesion = session.scalars(sa.select(Lesion)).one()
    browser = signed_in_as("reader")
    gone = browser.post(f"/lesions/{lesion.id}/withdrawal", headers={"x-fragment": "1"})
    assert gone.status_code == 422  # a form that was for nothing in particular
    panel = browser.get(f"/lesions/{lesion.id}", headers={"x-fragment": "1"}).text
    data = hidden_fields(panel, "data-review")
    assert browser.post(f"/lesions/{lesion.id}/withdrawal", data=data).status_code == 303
    send(database, SEG, SLICES[0])
    assert lesions(session) == []
    assert "withdrawn since" in browser.get(f"/cases/{lesion.case_id}").text


def test_regions_that_mark_nothing_are_kept_beside_the_others_with_the_reason(
    database, session, signed_in_as
):
    beyond = marks.report(SLICES[0], "CIRCLE", [(200, 64), (215, 64)])
    (one,) = send(database, *SLICES, beyond).marks
    assert one.lesions == 0
    assert "“Metastasis” marks nothing: it lies at column 200" in one.words[0]
    case = session.scalars(sa.select(Case)).one()
    page = signed_in_as("reader").get(f"/cases/{case.id}").text
    assert "outside the image that it names (128 × 128 pixels)" in page
    # and it did not come to a lesion that somebody could take for marked
    assert lesions(session) == [] and "awaiting marks" in signed_in_as("reader").get("/cases").text


def test_an_object_that_marks_nothing_at_all_is_refused_with_the_reason(database, session):
    (refused,) = send(database, marks.report(SLICES[0], "POINT", [(3, 3)])).refused
    assert "a point, which has no size" in refused.reason and refused.identity is not None
    assert session.scalars(sa.select(Marking)).all() == []


def test_an_object_about_another_study_or_patient_marks_nothing(database, session):
    send(database, *SLICES)
    elsewhere = marks.report(SLICES[0], "CIRCLE", CIRCLE, StudyInstanceUID="1.2.3.4")
    send(database, elsewhere)
    send(database, make_dicom(study="2", StudyInstanceUID="1.2.3.4"))
    stranger = marks.report(SLICES[0], "CIRCLE", CIRCLE, instance="other", PatientID="999")
    (one,) = send(database, stranger).marks
    assert "another patient" in one.words[0]
    assert lesions(session) == []
    reasons = session.scalars(sa.select(Mark.reason).order_by(Mark.created_at)).all()
    assert reasons[0] == "it names an image of another study than its own."


def test_what_was_drawn_on_images_from_here_marks_them(database, session):
    send(database, *SLICES)
    image = session.scalars(sa.select(Image).where(Image.instance_number == 3)).one()
    source = parsed(SLICES[2])
    source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = image.uid
    source.StudyInstanceUID = image.series.case.uid
    source.PatientID = image.series.case.pseudonym
    send(database, marks.report(part10.written(source), "CIRCLE", CIRCLE))
    assert [number for number, _ in lesions(session)] == [3]


def test_a_report_that_was_made_here_marks_nothing(database, session):
    made = marks.report(
        SLICES[0], "CIRCLE", CIRCLE, Manufacturer="Hepatica", ManufacturerModelName="Hepatica"
    )
    (one,) = send(database, *SLICES, made).marks
    assert one.known and one.words == ("It was made here; nothing new is in it.",)
    assert lesions(session) == [] and session.scalars(sa.select(Marking)).all() == []


def test_nothing_of_the_object_that_names_anybody_is_kept(database, session):
    named = marks.segmentation(SLICES, mask(), "Secret Sylvia 12345678")
    send(database, *SLICES, named)
    rows = [row for table in (Marking, Mark) for row in session.scalars(sa.select(table))]
    kept = [str(row.__dict__) for row in rows]
    assert kept and not [
        one
        for one in kept
        for word in ("Sylvia", "12345678", str(parsed(named).SOPInstanceUID))
        if word in one
    ]


def test_a_case_that_is_deleted_takes_what_marks_it_along(database, session):
    send(database, *SLICES, SEG, SR)
    with database.transaction() as opened:
        studies.remove(opened, opened.scalars(sa.select(Case)).one())
    for table in (Marking, Mark):
        assert session.scalars(sa.select(table)).all() == []


def test_objects_mark_on_postgresql_as_well(postgres):
    database = Database(postgres)
    database.migrate()
    for file in (SEG, SLICES[0], SLICES[1], SEG, SR):
        assert send(database, file).took
    with database.reading() as session:
        assert lesions(session)[0] == ON_TWO and len(lesions(session)) == 2
        assert session.scalars(sa.select(Marking.waiting)).all() == [[], []]
    database.engine.dispose()


def test_stow_tells_what_an_object_came_to(client, token, session):
    reply = store(client, token, SEG, SLICES[0])
    assert reply.status_code == 200
    items = {str(one.ReferencedSOPClassUID): one for one in told(reply).ReferencedSOPSequence}
    assert "not here yet" in items["1.2.840.10008.5.1.4.1.1.66.4"].TextValue
    nothing = store(client, token, marks.report(SLICES[0], "POINT", [(3, 3)]))
    assert nothing.status_code == 409
    assert "no size" in told(nothing).FailedSOPSequence[0].TextValue
    assert store(client, token, SLICES[1]).status_code == 200
    assert lesions(session) == [ON_TWO]


def test_an_upload_of_the_page_takes_objects_too(signed_in_as, session):
    browser = signed_in_as("reader")
    files = [("files", ("a.dcm", SLICES[0])), ("files", ("sr.dcm", SR))]
    reply = browser.post("/cases", files=files, headers={"accept": "application/json"})
    (one,) = reply.json()["marks"]
    assert one["lesions"] == 1 and one["case_url"] == reply.json()["accepted"][0]["case_url"]
    page = browser.post("/cases", files=[("files", ("sr.dcm", SR))])
    assert page.status_code == 200 and "It is here already." in page.text
