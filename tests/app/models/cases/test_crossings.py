"""What two requests write about one lesion at the same moment, on both databases."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from conftest import ORIGIN
from starlette.testclient import TestClient

import studies
from app.db import Database
from app.main import create_app
from app.models import Case, Checkpoint, Image, Lesion, Prediction, Review, User
from app.settings import Settings
from factories import hidden_fields, make_dicom

FRAGMENT = {"x-fragment": "1"}
BOX = {"x": 44, "y": 44, "width": 40, "height": 40}
ANSWER = {"lesion_class": "cyst", "confidence": 4, "basis": "imaging"}
AT_ONCE = 6


class Ward:
    """An installation with a case, and people signed in to it."""

    def __init__(self, url, checkpoints):
        self.database = Database(url)
        self.database.migrate()
        with self.database.transaction() as session:
            for folder in checkpoints:
                Checkpoint.register(session, folder, "tests")
            for name in ("ada", "ben"):
                User.add(session, name, "reader", "correct horse")
        self.app = create_app(
            Settings(
                database_url=url,
                installation_key="a key for tests, thirty-two characters or more",
            )
        )
        self.ada, self.ben = self.signed_in("ada"), self.signed_in("ben")

    def begin_anew(self) -> None:
        """With one case, whose slice has no lesion."""
        with self.database.transaction() as session:
            for case in session.scalars(sa.select(Case)).all():
                studies.remove(session, case)
        file = {"files": ("a.dcm", make_dicom())}
        self.ada.post("/cases", files=file, data={"contrast_phase": "portal"})
        with self.database.reading() as session:
            self.image = session.scalars(sa.select(Image.id)).one()

    def signed_in(self, name):
        browser = TestClient(
            self.app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False
        )
        browser.post("/sessions", data={"name": name, "password": "correct horse"})
        return browser

    def mark(self, browser, **more):
        data = {**BOX, **more}
        return browser.post(f"/images/{self.image}/lesions", data=data, headers=FRAGMENT)

    def at_once(self, *acts) -> list[int]:
        """The status of each act, begun at the same moment."""
        together = threading.Barrier(len(acts))

        def begin(act) -> int:
            together.wait()
            return act().status_code

        with ThreadPoolExecutor(len(acts)) as pool:
            return sorted(pool.map(begin, acts))

    def count(self, table) -> int:
        with self.database.reading() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(table))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def _ward(request, tmp_path_factory, checkpoints):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ward')}/hepatica.sqlite3"
    else:
        url = request.getfixturevalue("postgres_of_module")
    made = Ward(url, checkpoints)
    yield made
    made.database.engine.dispose()
    made.app.state.database.engine.dispose()


@pytest.fixture
def ward(_ward):
    _ward.begin_anew()
    return _ward


def test_the_same_box_sent_at_once_is_marked_once(ward):
    chosen = str(uuid.uuid4())
    statuses = ward.at_once(*[lambda: ward.mark(ward.ada, lesion=chosen)] * AT_ONCE)
    assert statuses == [201] * AT_ONCE
    assert ward.count(Lesion) == 1
    assert ward.count(Prediction) == 1


def test_the_same_class_sent_at_once_is_stored_once(ward):
    marked = ward.mark(ward.ada)
    lesion = json.loads(marked.headers["x-lesion"])["id"]
    data = {**hidden_fields(marked.text), **ANSWER}

    def send():
        return ward.ada.post(f"/lesions/{lesion}/reviews", data=data, headers=FRAGMENT)

    assert ward.at_once(*[send] * AT_ONCE) == [201] * AT_ONCE
    assert ward.count(Review) == 1


def test_of_different_classes_sent_at_once_by_one_person_one_is_stored_and_the_others_refused(ward):
    marked = ward.mark(ward.ada)
    lesion = json.loads(marked.headers["x-lesion"])["id"]

    def send(confidence):
        data = {**hidden_fields(marked.text), **ANSWER, "confidence": confidence}
        return ward.ada.post(f"/lesions/{lesion}/reviews", data=data, headers=FRAGMENT)

    acts = [lambda n=n: send(n) for n in (1, 2, 3, 4)]
    assert ward.at_once(*acts) == [201, 409, 409, 409]
    assert ward.count(Review) == 1


@pytest.mark.parametrize("again", range(3))
def test_a_class_and_the_withdrawal_of_its_lesion_never_both_go_through(again, ward):
    marked = ward.mark(ward.ada)
    lesion = json.loads(marked.headers["x-lesion"])["id"]
    away = hidden_fields(marked.text, "data-withdrawal")
    panel = ward.ben.get(f"/lesions/{lesion}", headers=FRAGMENT).text
    data = {**hidden_fields(panel), **ANSWER}
    statuses = ward.at_once(
        lambda: ward.ben.post(f"/lesions/{lesion}/reviews", data=data, headers=FRAGMENT),
        lambda: ward.ada.post(f"/lesions/{lesion}/withdrawal", data=away, headers=FRAGMENT),
    )
    # first the class, then the withdrawal is refused; or first the withdrawal
    assert statuses in ([201, 403], [204, 404])


def test_two_boxes_at_once_get_two_numbers(ward):
    acts = [lambda x=x: ward.mark(ward.ada, x=x) for x in (10, 30, 50, 70)]
    assert ward.at_once(*acts) == [201] * 4
    with ward.database.reading() as session:
        assert sorted(session.scalars(sa.select(Lesion.number))) == [1, 2, 3, 4]
