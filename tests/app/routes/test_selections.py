"""Several cases of the work list at once, and the thumbnails by which they are known again."""

from __future__ import annotations

import html
import io
import uuid
from urllib.parse import quote_plus

import deletions
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image as Picture

import studies
from app.models import Case, DatasetVersion, Event, Image, Lesion, Look, Review, User
from app.models.reader_studies.enrolment import Enrolment


@pytest.fixture
def ada(session, signed_in_as):
    return signed_in_as("reader", name="ada")


@pytest.fixture
def three(session, ada):
    """Three cases of Ada's, one of somebody else's."""
    cases = [
        session.get(Case, lesion.case_id)
        for number in range(4)
        for lesion in studies.make_lesion(session, number)
    ]
    for case in cases[:3]:
        case.uploaded_by_id = User.named(session, "ada").id
    session.commit()
    return cases


def ids(cases):
    return {"case": [str(case.id) for case in cases]}


def left(session) -> set[uuid.UUID]:
    return set(session.scalars(sa.select(Case.id)))


def test_chosen_cases_are_deleted_together_after_their_number_is_typed(
    session, database, app, ada, three
):
    listed = ada.get("/cases").text
    assert all(f'value="{case.id}" form="chosen"' in listed for case in three)
    page = html.unescape(ada.get("/cases/selection", params=ids(three)).text)
    assert "Only the person who uploaded the case, or an administrator" in page
    assert page.count('name="case"') == 3 and "What has to stay stays" in page
    refused = ada.post("/cases/selection/deletion", data=ids(three[:2]) | {"typed": "delete"})
    assert refused.status_code == 422 and "type “delete 2”" in html.unescape(refused.text)
    told = ada.post("/cases/selection/deletion", data=ids(three[:2]) | {"typed": "delete 2"})
    assert told.status_code == 303 and told.headers["clear-site-data"] == '"cache"'
    deletions.finish(database, app)
    certificate = html.unescape(ada.get(told.headers["location"]).text)
    assert "Certificate of deletion" in certificate and "a person asked for these" in certificate
    assert left(session) == {three[2].id, three[3].id}
    deleted = sa.select(Event.subject).where(Event.kind == "case deleted")
    assert set(session.scalars(deleted)) == set(ids(three[:2])["case"])


def test_where_one_of_them_has_to_stay_none_is_deleted(session, ada, three):
    before = left(session)
    for cases, typed, status in (
        (three, "delete 4", 403),
        ([], "delete 0", 400),
        ([*three[:1], Case(id=uuid.uuid4())], "delete 2", 404),
    ):
        reply = ada.post("/cases/selection/deletion", data=ids(cases) | {"typed": typed})
        assert reply.status_code == status
        session.expire_all()
        assert left(session) == before
    told = html.unescape(
        ada.post("/cases/selection/deletion", data=ids(three) | {"typed": "delete 4"}).text
    )
    assert f"{three[3].pseudonym}: Only the person" in told and "Nothing was deleted" in told
    assert ada.get("/cases/selection").status_code == 400
    many = [Case(id=uuid.uuid4()) for _ in range(51)]
    assert ada.get("/cases/selection", params=ids(many)).status_code == 400


def test_the_way_back_is_to_the_work_list_as_it_was(ada, three):
    here = f"filter=mine&search={quote_plus(three[0].pseudonym[:3])}&order=lesions&down=0"
    listed = html.unescape(ada.get(f"/cases?{here}").text)
    assert f'name="list" value="{here}"' in listed
    query = {"list": here}
    for more in ({}, ids(three)):
        page = ada.get("/cases/selection", params=query | more)
        assert f'href="/cases?{html.escape(here)}"' in page.text
    page = ada.get("/cases/selection", params=query)
    assert page.status_code == 400
    assert "Nothing is chosen" in page.text and "To the work list" not in page.text
    away = {"list": "//elsewhere.example/?a=b"}
    elsewhere = ada.get("/cases/selection", params=away | ids(three))
    assert 'href="//elsewhere' not in elsewhere.text


def test_the_cases_of_a_blinded_reading_are_neither_chosen_nor_pictured(session, signed_in_as):
    study = studies.make_study(session, studies.make_user(session, "bob"))
    session.commit()
    bob = signed_in_as("reader", name="bob")
    assert Enrolment.of_study(session, study.id)
    page = bob.get("/cases").text
    assert "closed until" in page
    assert 'name="case"' not in page and "thumbnail.png" not in page
    for case in session.scalars(sa.select(Case)):
        assert bob.get("/cases/selection", params=ids([case])).status_code == 403
        assert bob.get(f"/cases/{case.id}/thumbnail.png").status_code == 403
        typed = {"typed": "delete 1"}
        assert bob.post("/cases/selection/deletion", data=ids([case]) | typed).status_code == 403


def test_a_researcher_freezes_the_chosen_cases_and_no_others(session, signed_in_as):
    lesions = studies.make_known_lesions(session, 2)
    classes = session.execute(sa.select(Review.lesion_class, Review.lesion_id))
    chosen = set(dict(tuple(row) for row in classes).values())  # one of each class
    session.commit()
    researcher = signed_in_as("researcher", name="rosa")
    some = [session.get(Case, one.case_id) for one in lesions if one.id in chosen]
    page = researcher.get("/cases/selection", params=ids(some)).text
    assert 'action="/datasets"' in page
    named = ids(some) | {"name": "UPPER", "kind": "phantom"}
    again = researcher.post("/datasets", data=named)
    assert again.status_code == 422 and again.text.count('name="case"') == len(some) < len(lesions)
    told = researcher.post("/datasets", data=named | {"name": "some"})
    assert told.status_code == 303, told.text
    [version] = DatasetVersion.all(session)
    assert set(version.classes(session)) == chosen
    unmarked = ids([Case(id=uuid.uuid4())]) | {"name": "none", "kind": "phantom"}
    assert "No lesion of the chosen cases" in researcher.post("/datasets", data=unmarked).text


# -- thumbnails -----------------------------------------------------------------------------------


def shown(reply) -> np.ndarray:
    assert reply.status_code == 200 and reply.headers["content-type"] == "image/png"
    return np.asarray(Picture.open(io.BytesIO(reply.content)))


def test_a_thumbnail_is_the_mean_of_squares_of_the_key_slice_and_no_look(session, ada, three):
    case = three[0]
    of_case = sa.select(Image).join(Lesion).where(Lesion.case_id == case.id)
    image = session.scalars(of_case).one()
    found = shown(ada.get(f"/cases/{case.id}/thumbnail.png"))
    assert found.shape == (image.rows // 8, image.columns // 8)
    whole = shown(ada.get(f"/images/{image.id}/preview.png")).astype(float)
    assert found[2, 3] == round(whole[16:24, 24:32].mean())
    looks = session.scalars(sa.select(Look.subject_id)).all()
    assert list(looks) == [image.id]  # the preview's own
    assert ada.get("/cases/00000000-0000-0000-0000-000000000001/thumbnail.png").status_code == 404


def test_without_a_lesion_the_middle_of_the_longest_series_stands_for_a_case(session, ada, three):
    lesion = session.scalars(sa.select(Lesion).where(Lesion.case_id == three[0].id)).one()
    assert Lesion.key_image(session, three[0].id) is lesion.image
    lesion._leave(session, lesion.marked_by)
    first = lesion.image
    columns = sa.inspect(Image).columns.keys()
    for number in range(1, 5):
        values = {name: getattr(first, name) for name in columns}
        values |= {"id": uuid.uuid4(), "sop_uid": f"x{number}", "position_mm": 100.0 + number}
        session.add(Image(**values))
    session.flush()
    assert Lesion.key_image(session, three[0].id).position_mm == 102.0
