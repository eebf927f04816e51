"""Jobs of programs: queued, done by a clerk, seen by whoever asked, and by nobody else."""

from __future__ import annotations

import base64
import io
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from pydicom import dcmread

import marks
import studies
from app.db import Database, now
from app.errors import Conflict, Forbidden
from app.models import ApiToken, Event, Image, Job, KeptAnswer, Review, User
from app.models.cases.lesion import Lesion
from app.models.cases.marking import Mark
from app.models.jobs.job import LOST_AFTER_S, MOST_CLAIMS
from app.models.jobs.kept_answer import LEASE_S, Answer
from app.models.reader_studies.enrolment import Enrolment
from factories import hidden_fields, make_dicom, make_hu, make_png
from ml.images.roi import Box
from stow import parsed, store

PATH = "/api/v1/classifications"
ASYNC = {"prefer": "respond-async"}
BOX = [44, 44, 40, 40]


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    del client.headers["origin"]
    return client


def queue(api, **headers):
    reply = api.post(PATH, files={"image": ("a.png", make_png(64))}, headers={**ASYNC, **headers})
    assert reply.status_code == 202, reply.text
    return reply


def token_of(database, name: str, role: str = "machine", person: str = "") -> dict[str, str]:
    with database.transaction() as session:
        owner = studies.make_user(session, person, "admin") if person else None
        secret = ApiToken.add(session, name, role, owner=owner)
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def held(api, token, session):
    """A slice that is held here."""
    sent = make_dicom(make_hu(1))
    assert store(api, token, sent, query="?contrast_phase=portal").status_code == 200
    return session.scalars(sa.select(Image)).one(), parsed(sent)


def test_a_job_gives_what_the_call_would_have_answered_and_then_forgets_the_roi(api, app, session):
    now_answered = api.post(PATH, files={"image": ("a.png", make_png(64))}).json()
    reply = queue(api)
    assert reply.headers["preference-applied"] == "respond-async"
    address = reply.headers["location"]
    assert address == f"/api/v1/jobs/{reply.json()['id']}"
    waiting = api.get(address)
    assert (waiting.json()["state"], waiting.json()["result"]) == ("queued", None)
    assert waiting.headers["retry-after"] == "1"
    assert app.state.clerk.act()
    job = api.get(address).json()
    assert (job["state"], job["done"], job["total"]) == ("done", 1, 1)
    assert job["result"]["lesions"] == [{"status": 200, **now_answered}]
    assert session.scalars(sa.select(Job.asked)).all() == [None]
    assert not app.state.clerk.act()
    [listed] = api.get("/api/v1/jobs?state=done").json()["jobs"]
    assert listed["id"] == job["id"]


def test_a_job_is_seen_by_its_holder_and_administrators_alone(api, app, database):
    address = queue(api).headers["location"]
    other, admin = token_of(database, "other"), token_of(database, "root", "admin", "boss")
    assert api.get(address, headers=other).status_code == 404
    assert api.post(f"{address}/cancellation", headers=other).status_code == 404
    assert api.get("/api/v1/jobs", headers=other).json()["jobs"] == []
    assert api.get(address, headers=admin).status_code == 200
    assert api.post(f"{address}/cancellation", headers=admin).json()["state"] == "cancelled"
    assert api.post(f"{address}/cancellation", headers=admin).status_code == 409
    assert not app.state.clerk.act()


def test_what_a_killed_clerk_left_is_done_once_by_another(api, app, database, session):
    job_id = uuid.UUID(queue(api).json()["id"])
    with database.transaction() as db:
        claimed = Job.claim(db, "killed")
        claim = claimed.claims
    assert not app.state.clerk.act()  # it was heard of a moment ago
    session.execute(sa.update(Job).values(heard_at=now() - timedelta(seconds=LOST_AFTER_S + 1)))
    session.commit()
    assert app.state.clerk.act()
    with pytest.raises(Exception, match="no longer"), database.transaction() as db:
        Job.of_clerk(db, job_id, "killed", claim).finish(db, {})
    session.expire_all()
    job = session.get_one(Job, job_id)
    assert (job.state, job.claims, job.result["classified"]) == ("done", 2, 1)


def test_a_job_that_ends_every_clerk_is_given_up(api, app, session):
    address = queue(api).headers["location"]
    session.execute(sa.update(Job).values(claims=MOST_CLAIMS))
    session.commit()
    app.state.clerk.act()
    job = api.get(address).json()
    assert job["state"] == "failed"
    assert "begun 5 times" in job["error"]


def test_jobs_and_answers_are_forgotten_after_their_time(api, app, session):
    queue(api, **{"idempotency-key": "one"})
    app.state.clerk.act()
    long_ago = now() - timedelta(days=8)
    session.execute(sa.update(Job).values(ended_at=long_ago))
    session.execute(sa.update(KeptAnswer).values(created_at=long_ago))
    session.commit()
    app.state.clerk.act()
    assert session.scalars(sa.select(Job)).all() == session.scalars(sa.select(KeptAnswer)).all()


# -- Idempotency-Key ---------------------------------------------------------------------------


def test_the_same_key_gives_the_same_answer_and_one_job(api, session):
    first, second = (queue(api, **{"idempotency-key": key}) for key in ('"a key"', '"a key"'))
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(session.scalars(sa.select(Job)).all()) == 1


def test_a_kept_answer_is_not_told_to_who_has_come_to_read_blind(api, app, database):
    headers = {"idempotency-key": "k", **token_of(database, "hers", "admin", "ada")}
    asked = {"files": {"image": ("a.png", make_png(64))}, "headers": headers}
    assert [api.post(PATH, **asked).status_code for _ in range(2)] == [200, 200]
    with database.transaction() as session:
        studies.make_study(session, studies.make_user(session, "ada", "admin"), design=None)
    app.state.watch._ask_at = 0.0
    reply = api.post(PATH, **asked)
    assert (reply.status_code, "reads blind" in reply.text) == (403, True)


def test_a_kept_answer_about_a_case_that_a_reading_has_closed_is_not_told_again(
    api, held, app, monkeypatch
):
    image, _ = held
    headers = {"idempotency-key": "k"}
    of_held = {"json": {"lesions": [{"instance": image.uid, "box": BOX}]}, "headers": headers}
    assert api.post(PATH, **of_held).status_code == 200
    own = {"files": {"image": ("a.png", make_png(64))}, "headers": {"idempotency-key": "p"}}
    several = {
        "files": {"image": ("a.dcm", make_dicom(make_hu(1)))},
        "data": {"lesions": json.dumps([{"box": BOX}])},
        "headers": {"idempotency-key": "s"},
    }
    assert [api.post(PATH, **one).status_code for one in (own, several)] == [200, 200]

    def closed(_session, _person, _case):
        raise Forbidden("A blinded reading is under way that this case could be in.")

    with monkeypatch.context() as patched:
        patched.setattr(Enrolment, "refuse_case_to", closed)
        assert api.post(PATH, **of_held).status_code == 403
    known = app.state.watch._known
    app.state.watch._known = replace(known, pictures=Everything())
    app.state.watch._ask_at = float("inf")
    for one in (own, several):
        reply = api.post(PATH, **one)
        assert (reply.status_code, "being read" in reply.text) == (403, True)
    app.state.watch._known = known
    assert api.post(PATH, **own).headers["idempotency-replayed"] == "true"


def test_a_kept_answer_is_told_without_decoding_while_no_picture_is_being_read(
    api, app, monkeypatch
):
    file = {"image": ("a.dcm", make_dicom(make_hu(1)))}
    calls = [
        {"files": file, "data": more, "headers": {"idempotency-key": key}}
        for key, more in (
            ("one", {"box": "44,44,40,40"}),
            ("all", {"lesions": json.dumps([{"box": BOX}])}),
        )
    ]
    first = [api.post(PATH, **call).json() for call in calls]
    decoded = []

    async def counted(work):
        decoded.append(work)
        return await usual(work)

    usual = app.state.decoding.of_one
    monkeypatch.setattr(app.state.decoding, "of_one", counted)
    assert [api.post(PATH, **call).json() for call in calls] == first
    assert decoded == []
    known = app.state.watch._known
    monkeypatch.setattr(app.state.watch, "_known", replace(known, pictures=Everything()))
    monkeypatch.setattr(app.state.watch, "_ask_at", float("inf"))
    assert [api.post(PATH, **call).status_code for call in calls] == [403, 403]
    assert len(decoded) == 2


class Everything:
    """Pictures of studies that are being read, among which every one is."""

    def __len__(self) -> int:
        return 1

    def knows(self, _roi) -> bool:
        return True


@pytest.mark.parametrize("how", ["by reference", "as a file", "as a job", "several of a file"])
def test_a_class_after_their_own_program_was_told_a_score_is_none_of_before(
    api, held, app, database, session, signed_in_as, how
):
    image, _ = held
    ada = signed_in_as("admin", name="ada")
    headers = token_of(database, "ada's", "admin", "ada")
    data = make_dicom(make_hu(1))
    if how == "by reference":
        reply = classify(api, {"instance": image.uid, "box": BOX}, **headers)
    elif how == "as a job":
        reply = classify(api, {"instance": image.uid, "box": BOX}, **headers, **ASYNC)
        assert app.state.clerk.act()
    else:
        told = {"box": "44,44,40,40"} if how == "as a file" else {
            "lesions": json.dumps([{"box": BOX}])
        }  # fmt: skip
        reply = api.post(PATH, files={"image": ("a.dcm", data)}, data=told, headers=headers)
    assert reply.status_code in (200, 202), reply.text
    bob = signed_in_as("reader", name="bob")
    for browser in (ada, bob):
        told = {"x": 44, "y": 44, "width": 40, "height": 40}
        marked = browser.post(f"/images/{image.id}/lesions", data=told, headers={"x-fragment": "1"})
        lesion = json.loads(marked.headers["x-lesion"])["id"]
        given = {"lesion_class": "cyst", "confidence": 5, "basis": "imaging"}
        review = {**hidden_fields(marked.text), **given}
        assert browser.post(f"/lesions/{lesion}/reviews", data=review).status_code == 303
    known = dict(
        session.execute(
            sa.select(User.name, Review.score_visible).join(User, User.id == Review.by_id)
        ).all()
    )
    assert known == {"ada": True, "bob": False}


def test_a_field_that_is_sent_twice_is_refused(api):
    twice = [("lesions", (None, json.dumps([{"box": BOX}])))] * 2
    hooks = [("hook", (None, "a")), ("hook", (None, "b"))]
    image = ("image", ("a.dcm", make_dicom(make_hu(1))))
    for more in (
        twice,
        hooks,
        [("lesions", (None, json.dumps([{"box": BOX}]))), ("lesions", (None, ""))],
    ):
        reply = api.post(PATH, files=[image, *more])
        assert (reply.status_code, "was sent 2 times" in reply.text) == (422, True)
    assert api.post(PATH, files=[image, ("image", (None, "text"))]).status_code == 400


def test_nothing_that_may_name_a_patient_is_kept_of_a_call(api, app, session):
    file = {"image": ("Secret^Sylvia.dcm", make_dicom())}
    places = json.dumps([{"box": BOX}, {"box": BOX, "frame": 7}])
    for more in ({}, ASYNC):
        headers = {"idempotency-key": f"SECRET-ACC-{len(more)}", **more}
        reply = api.post(PATH, files=file, data={"lesions": places}, headers=headers)
        assert reply.status_code == (202 if more else 200)
    app.state.clerk.act()
    session.expire_all()
    tables = (Job.__table__, KeptAnswer.__table__, Event.__table__)
    kept = str([session.execute(sa.select(table)).all() for table in tables])
    assert "frame" in kept
    assert not [word for word in ("Secret", "Sylvia", "SECRET", "12345678") if word in kept]


@pytest.mark.parametrize(
    "other",
    [
        {"files": {"image": ("a.png", make_png(64, seed=1))}},
        {"files": {"image": ("b.png", make_png(64))}},
        {"files": {"image": ("a.png", make_png(64))}, "headers": {"accept": "application/json"}},
        {"files": {"image": ("a.png", make_png(64))}, "headers": ASYNC},
        {"files": {"image": ("a.png", make_png(64))}, "data": {"frame": "1"}},
    ],
)
def test_a_key_for_another_request_is_refused(api, other):
    key = {"idempotency-key": "k-1"}
    assert api.post(PATH, files={"image": ("a.png", make_png(64))}, headers=key).status_code == 200
    headers = {**key, **other.pop("headers", {})}
    reply = api.post(PATH, headers=headers, **other)
    assert reply.status_code == 422
    assert "another request" in reply.json()["detail"]


def test_a_key_is_its_holders_own_and_a_refusal_leaves_it_free(api, database):
    key = {"idempotency-key": "k-1"}
    assert api.post(PATH, files={"image": ("a.png", b"none")}, headers=key).status_code == 422
    mine = api.post(PATH, files={"image": ("a.png", make_png(64))}, headers=key)
    assert mine.status_code == 200
    other = {**key, **token_of(database, "other")}
    theirs = api.post(PATH, files={"image": ("a.png", make_png(64, seed=1))}, headers=other)
    assert theirs.status_code == 200
    assert "idempotency-replayed" not in theirs.headers


@pytest.mark.parametrize("key", ["", '""', "a b", 'a"b', "x" * 256, "ü".encode()])
def test_a_key_that_is_none_is_refused(api, key):
    reply = api.post(
        PATH, files={"image": ("a.png", make_png(64))}, headers=[(b"idempotency-key", key)]
    )
    assert reply.status_code == 400


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_many_calls_at_once_under_a_key_one_is_done(kind, tmp_path, request):
    url = (
        f"sqlite:///{tmp_path}/race.sqlite3"
        if kind == "sqlite"
        else request.getfixturevalue("postgres")
    )
    database = Database(url)
    database.migrate()
    digest, done = "d" * 64, []

    def call(number: int) -> str:
        claim = uuid.uuid4()
        try:
            with database.transaction() as db:
                kept = KeptAnswer.begin(db, "token 1", "k", digest, claim, 24)
            if kept is not None:
                return kept.body.decode()
            done.append(number)
            with database.transaction() as db:
                KeptAnswer.finish(db, claim, Answer(200, {}, str(number).encode()))
        except Conflict:
            return "under way"
        return str(number)

    together = threading.Barrier(8)

    def at_once(number: int) -> str:
        together.wait()
        return call(number)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(at_once, range(8)))
    assert len(done) == 1
    assert set(answers) <= {str(done[0]), "under way"}
    with database.transaction() as db:  # one that was killed is taken over after its lease
        db.execute(
            sa.update(KeptAnswer).values(
                status=None, heard_at=now() - timedelta(seconds=LEASE_S + 1)
            )
        )
    assert call(8) == "8"
    assert call(9) == "8"
    database.engine.dispose()


# -- by reference ------------------------------------------------------------------------------


def classify(api, *lesions, **headers):
    return api.post(PATH, json={"lesions": list(lesions)}, headers=headers)


def test_a_place_on_a_held_image_gets_the_scores_of_the_image_that_is_sent(api, held, session):
    image, sent = held
    uploaded = api.post(
        PATH, files={"image": ("a.dcm", make_dicom(make_hu(1)))}, data={"box": "44,44,40,40"}
    ).json()
    by_ours = {"study": image.series.case.uid, "instance": image.uid, "box": BOX}
    by_theirs = {"instance": sent.SOPInstanceUID, "center": [64, 64], "diameter_mm": 32}
    told = classify(api, by_ours, by_theirs, {"study": "9.9", "box": BOX}, {"box": BOX}).json()
    assert (told["classified"], told["refused"]) == (2, 2)
    ours, theirs, absent, nameless = told["lesions"]
    assert ours["probabilities"] == theirs["probabilities"] == uploaded["probabilities"]
    assert ours["roi"] == theirs["roi"] == uploaded["roi"]
    assert ours["image"]["instance"] == theirs["image"]["instance"] == image.uid
    assert (absent["status"], nameless["status"]) == (404, 422)
    assert sent.SOPInstanceUID not in str(told)
    assert session.scalars(sa.select(Lesion)).all() == []


@pytest.mark.parametrize(
    ("lesion", "status"),
    [
        ({"study": "9.9", "box": BOX}, 404),
        ({"instance": "OURS", "box": [900, 900, 10, 10]}, 422),
        ({"instance": "OURS", "box": [1, 2, 3, 0]}, 422),
        ({"instance": "OURS", "box": BOX, "center": [1, 1]}, 422),
        ({"instance": "OURS", "center": [1, 1]}, 422),
        ({"instance": "OURS", "frame": 2, "box": BOX}, 404),
        ({"instance": "OURS"}, 422),
        ({"instance": "OURS", "box": [1, 2, 3]}, 422),
        ({"instance": "OURS", "size": 3}, 422),
        ({"instance": "OURS", "box": [True, True, 40, 40]}, 422),
        ({"instance": "OURS", "box": BOX, "frame": True}, 422),
        ({"instance": "OURS", "diameter_mm": 0, "center": [4, 4]}, 422),
    ],
)
def test_where_no_lesion_can_be_classified_the_call_is_refused(api, held, lesion, status):
    told = {key: held[0].uid if value == "OURS" else value for key, value in lesion.items()}
    reply = classify(api, told)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"


def test_what_is_said_beside_the_lesions_is_refused_and_not_passed_over(api, held):
    lesions = [{"instance": held[0].uid, "box": BOX}]
    for more, status in (({"pacs": "absent"}, 404), ({"contrast_phase": "portal"}, 422)):
        assert api.post(PATH, json={"lesions": lesions, **more}).status_code == status, more
    double = f'{{"lesions": [], "lesions": {json.dumps(lesions)}}}'
    reply = api.post(PATH, content=double, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert "'lesions' twice" in reply.json()["detail"]
    file, places = {"image": ("a.dcm", make_dicom(make_hu(1)))}, '[{"frame": 1, "frame": 1}]'
    assert api.post(PATH, files=file, data={"lesions": places}).status_code == 400
    for query in ("state=done&state=failed", "states=done"):
        assert api.get(f"/api/v1/jobs?{query}").status_code == 422


def test_a_series_of_several_images_is_no_place(api, token, session):
    files = [make_dicom(make_hu(i), number=i + 1, z=5.0 * i) for i in range(2)]
    assert store(api, token, *files).status_code == 200
    reply = classify(api, {"study": str(parsed(files[0]).StudyInstanceUID), "box": BOX})
    assert "name the instance" in reply.json()["detail"]


def test_a_batch_is_a_job_whose_report_refers_to_the_images_as_they_leave(api, app, held):
    image, _ = held
    lesion = {"instance": image.uid}
    boxes = [[40 + i, 44, 40, 40] for i in range(40)]
    reply = classify(api, *({**lesion, "box": box} for box in boxes))
    assert reply.status_code == 202
    assert "preference-applied" not in reply.headers
    address = reply.headers["location"]
    as_report = {"accept": "application/dicom"}
    assert api.get(address, headers=as_report).status_code == 409
    app.state.clerk.act()
    assert api.get(address).json()["result"]["classified"] == 40
    report = api.get(address, headers=as_report)
    assert report.headers["content-type"] == "application/dicom"
    assert report.content == api.get(address, headers=as_report).content
    read = dcmread(io.BytesIO(report.content))
    assert read.StudyInstanceUID == image.series.case.uid
    assert api.get(address, headers={"accept": "image/png"}).status_code == 406


def test_accept_chooses_a_report_or_a_picture(api, held):
    lesion = {"instance": held[0].uid, "box": BOX}
    report = dcmread(io.BytesIO(classify(api, lesion, accept="application/dicom").content))
    assert report.Modality == "SR"
    assert classify(api, lesion, accept="image/png").content.startswith(b"\x89PNG")
    assert classify(api, lesion, accept="text/html").status_code == 406
    part = classify(api, lesion, {"study": "9.9"}, accept="application/dicom")
    assert part.status_code == 422  # a report that leaves some out would not say so
    assert [one["status"] for one in part.json()["lesions"]] == [200, 404]
    file = {"image": ("a.png", make_png(64))}
    assert api.post(PATH, files=file, headers={"accept": "application/dicom"}).status_code == 406
    drawn = api.post(PATH, files=file, headers={"accept": "image/png"})
    assert drawn.content.startswith(b"\x89PNG")


def test_a_covered_score_is_not_told_by_its_place(api, held, database, session):
    image, _ = held
    headers = token_of(database, "ada's", "admin", "ada")
    with database.transaction() as db:
        marker = studies.make_user(db, "marker")
        Lesion.mark(db, db.get_one(Image, image.id), Box(44, 44, 40, 40), marker)
    over = classify(api, {"instance": image.uid, "box": BOX}, **headers)
    assert over.status_code == 403
    assert "yours comes first" in over.json()["detail"]
    beside = classify(api, {"instance": image.uid, "box": [90, 90, 20, 20]}, **headers)
    assert beside.status_code == 200
    assert classify(api, {"instance": image.uid, "box": BOX}).status_code == 200


def test_a_covered_score_is_not_told_one_slice_further(api, token, database, session):
    images = [make_dicom(make_hu(n), number=n, z=5.0 * n) for n in range(1, 7)]
    assert store(api, token, *images, query="?contrast_phase=portal").status_code == 200
    stack = session.scalars(sa.select(Image).order_by(Image.instance_number)).all()
    headers = token_of(database, "ada's", "admin", "ada")
    with database.transaction() as db:
        marker = studies.make_user(db, "marker")
        Lesion.mark(db, db.get_one(Image, stack[0].id), Box(44, 44, 40, 40), marker)
    spacing = stack[0].row_spacing_mm
    assert spacing is not None and 2 * 5 <= 40 * spacing / 2 < 5 * 5
    found = [classify(api, {"instance": one.uid, "box": BOX}, **headers) for one in stack]
    assert [one.status_code for one in found][:3] == [403, 403, 403]
    assert found[-1].status_code == 200


def test_a_small_lesion_lies_in_a_large_one_and_the_large_one_over_it(
    api, token, database, session
):
    images = [make_dicom(make_hu(n), number=n, z=5.0 * n) for n in range(1, 7)]
    assert store(api, token, *images, query="?contrast_phase=portal").status_code == 200
    stack = session.scalars(sa.select(Image).order_by(Image.instance_number)).all()
    with database.transaction() as db:
        marker = studies.make_user(db, "marker")
        large, small, far = (
            Lesion.mark(db, db.get_one(Image, stack[place].id), box, marker)
            for place, box in (
                (0, Box(44, 44, 40, 40)),
                (2, Box(60, 60, 4, 4)),
                (5, Box(60, 60, 4, 4)),
            )
        )
        assert large.at_its_place(db) == [small]
        assert small.at_its_place(db) == [large]
        assert far.at_its_place(db) == []


def test_an_object_that_marks_lesions_is_a_place(api, token, session):
    images = [make_dicom(make_hu(n), number=n, z=5.0 * n) for n in (1, 2)]
    assert store(api, token, *images, query="?contrast_phase=portal").status_code == 200
    marking = marks.report(images[0], "CIRCLE", [(64, 64), (80, 64)])
    early = classify(api, {"marks": str(parsed(marking).SOPInstanceUID)})
    assert early.status_code == 404
    assert store(api, token, marking).status_code == 200
    lesions = session.scalars(sa.select(Lesion).order_by(Lesion.number)).all()
    assert lesions
    told = classify(api, {"marks": str(parsed(marking).SOPInstanceUID)}).json()
    assert [one["lesion"] for one in told["lesions"]] == [str(one.id) for one in lesions]
    by_box = classify(
        api,
        *({"instance": one.image.uid, "box": [one.x, one.y, one.width, one.height]}
          for one in lesions),
    ).json()  # fmt: skip
    scores = [[one["probabilities"] for one in reply["lesions"]] for reply in (told, by_box)]
    assert scores[0] == scores[1]
    both = classify(api, {"marks": "1.2", "box": BOX})
    assert both.status_code == 422
    assert "nothing beside marks" in both.json()["detail"]
    session.execute(sa.delete(Mark))
    session.commit()
    gone = classify(api, {"marks": str(parsed(marking).SOPInstanceUID)})
    assert gone.status_code == 404
    assert "Nothing is here any more" in gone.json()["detail"]


def test_what_is_deleted_is_taken_out_of_jobs_and_the_rest_stays(api, token, app, session):
    sent = [make_dicom(make_hu(n), study=f"s{n}", patient_id=f"p{n}") for n in (1, 2)]
    assert store(api, token, *sent, query="?contrast_phase=portal").status_code == 200
    images = session.scalars(sa.select(Image).order_by(Image.created_at)).all()
    asked = [{"instance": one.uid, "box": BOX} for one in images]
    over = classify(api, *asked, **ASYNC).headers["location"]
    assert app.state.clerk.act()
    waiting = classify(api, *asked, **ASYNC, **{"idempotency-key": "k"}).headers["location"]
    gone, kept = images
    with app.state.database.transaction() as own:
        names = {str(gone.id), gone.uid, str(gone.series.case_id), gone.series.case.uid}
        assert Job.forget_naming(own, names, "an erasure") == 2
        assert Job.forget_naming(own, names, "an erasure") == 0
    first, second = api.get(over).json()["result"]["lesions"]
    assert (first["status"], "deleted" in first["detail"]) == (404, True)
    assert (second["status"], second["image"]["instance"]) == (200, kept.uid)
    counts = api.get(over).json()["result"]
    assert (counts["classified"], counts["refused"]) == (1, 1)
    failed = api.get(waiting).json()
    assert (failed["state"], "deleted meanwhile" in failed["error"]) == ("failed", True)
    assert not app.state.clerk.act()
    again = classify(api, *asked, **ASYNC, **{"idempotency-key": "k"})
    assert api.get(again.headers["location"]).json()["state"] == "failed"


def test_several_lesions_of_one_image_that_is_sent_are_each_answered(api, app):
    file = {"image": ("a.dcm", make_dicom(make_hu(1)))}
    one = api.post(PATH, files=file, data={"box": "44,44,40,40"}).json()
    places = [{"box": BOX}, {"center": [64, 64], "diameter_mm": 32}, {"box": [900, 1, 9, 9]},
              {"box": BOX, "frame": 2}]  # fmt: skip
    told = api.post(PATH, files=file, data={"lesions": json.dumps(places)}).json()
    assert (told["classified"], told["refused"]) == (2, 2)
    assert told["lesions"][0] == told["lesions"][1] == {"status": 200, **one}
    many = json.dumps([{"box": [40 + n, 40, 40, 40]} for n in range(20)])
    batch = api.post(PATH, files=file, data={"lesions": many})
    assert batch.status_code == 202
    app.state.clerk.act()
    assert api.get(batch.headers["location"]).json()["result"]["classified"] == 20


@pytest.mark.parametrize(
    ("lesions", "more"),
    [
        ("[", {}), ("{}", {}), ("[]", {}), ('[{"box": [1, 2]}]', {}), ('[{"size": 3}]', {}),
        ("[" * 5000, {}), ('[{"box": [44, 44, 40, 40]}]', {"box": "1,2,30,40"}),
        ('[{"box": [900, 1, 9, 9]}]', {}),
    ],
)  # fmt: skip
def test_lesions_that_are_no_places_are_refused(api, lesions, more):
    file = {"image": ("a.dcm", make_dicom(make_hu(1)))}
    reply = api.post(PATH, files=file, data={"lesions": lesions, **more})
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"


def test_a_fault_of_a_place_is_named_alike_in_a_form_and_in_a_body(api):
    lesions = [{"box": [44, 44, "wide", 40]}]
    file = {"image": ("a.dcm", make_dicom(make_hu(1)))}
    for told in (
        api.post(PATH, files=file, data={"lesions": json.dumps(lesions)}),
        api.post(PATH, json={"lesions": lesions}),
    ):
        assert told.status_code == 422
        assert "lesions.0.box.2: Input should be a valid number" in told.json()["detail"]


# -- rows of the version before ----------------------------------------------------------------


def test_what_the_version_before_was_asked_for_is_answered_as_it_would_have_been(
    api, held, app, session
):
    image, _ = held
    pixels = np.linspace(-1, 1, 64 * 64, dtype="<f4").reshape(64, 64)
    stream = io.BytesIO()
    np.save(stream, pixels)
    file, portal = {"image": ("a.npy", stream.getvalue())}, {"contrast_phase": "portal"}
    array = api.post(PATH, files=file, data=portal).json()
    taken = "the array is taken as Hounsfield units mapped from the checkpoint's window"
    place = f'"image": "{image.id}", "case": "{image.series.case_id}"'
    lesion = uuid.uuid4()
    asked = f"""{{"items": [
     {{"roi": "{base64.b64encode(pixels.tobytes()).decode()}", "calibrated": true, "box": null,
       "square": [0, 0, 64, 64], "side_mm": null, "warnings": ["{taken}"], "phantom": false}},
     {{{place}, "box": [44.0, 44.0, 40.0, 40.0]}},
     {{{place}, "box": [44.0, 44.0, 40.0, 40.0], "lesion": "{lesion}"}},
     {{"refused": {{"status": 404, "title": "Not found", "detail": "It is not here."}}}}]}}"""
    address = queue(api).headers["location"]
    session.execute(sa.update(Job).values(asked=json.loads(asked), total=4))
    session.commit()
    assert app.state.clerk.act()
    told = api.get(address).json()["result"]
    [by_place] = classify(api, {"instance": image.uid, "box": BOX}).json()["lesions"]
    refusal = {"status": 404, "title": "Not found", "detail": "It is not here."}
    answers = [{"status": 200, **array}, by_place, {**by_place, "lesion": str(lesion)}, refusal]
    whole = {"checkpoint": array["checkpoint"], "classified": 3, "refused": 1, "lesions": answers}
    assert json.dumps(told) == json.dumps(whole)  # in the same order as well


def test_what_the_version_before_found_is_answered_in_the_same_bytes(api, held, app, session):
    image, _ = held
    uids = f'"study":"{image.series.case.uid}","series":"{image.series.uid}"'
    classified = (
        '{"status":200,"checkpoint":"cnn","version":"3bf4-23a0","lesion_class":"cyst",'
        '"probabilities":{"cyst":0.7,"metastasis":0.1,"hemangioma":0.2},"calibrated":true,'
        '"prediction_set":{"level":0.9,"classes":["cyst","hemangioma"]},'
        '"unlike_training":{"score":0.412,"flag":false,"reasons":[]},"second_opinion":null,'
        '"agreement":null,"roi":{"box":[44.0,44.0,40.0,40.0],"square":[32.8,32.8,62.4,62.4],'
        '"side_mm":49.92},"calibrated_hu":true,"limits":"Trained on phantoms.",'
        f'"warnings":["one"],"case":"{image.series.case_id}",'
        f'"image":{{{uids},"instance":"{image.uid}"}}}}'
    )
    refusal = '{"status":404,"title":"Not found","detail":"It is not here."}'
    address = queue(api).headers["location"]
    assert app.state.clerk.act()
    for lesions, status in ((f"{classified},{refusal}", 422), (classified, 200)):
        refused = lesions.count(refusal)
        counts = f'"checkpoint":"cnn","classified":1,"refused":{refused}'
        result = f'{{{counts},"lesions":[{lesions}]}}'
        session.execute(sa.update(Job).values(result=json.loads(result)))
        session.commit()
        assert f'"result":{result}' in api.get(address).text
        report = api.get(address, headers={"accept": "application/dicom"})
        assert report.status_code == status
        if status == 422:
            assert f'"lesions":[{lesions}]' in report.text
        else:
            assert "cyst" in str(dcmread(io.BytesIO(report.content))).lower()
