"""DOORS.md, line by line: who gets in at every address, and that no address is missing from it.

Every request of the walk is undone, so that who may not meets the same rows as who may.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

import studies
from app import demo, main
from app.db import Database, now
from app.models import (
    ApiToken,
    Case,
    Checkpoint,
    DatasetVersion,
    Enrolment,
    Erasure,
    Job,
    Lesion,
    Measure,
    ReaderStudy,
    Review,
    Run,
    SignIn,
    Sketch,
    Stimulus,
    User,
)  # fmt: skip
from app.models.jobs.holder import Holder
from app.models.jobs.job import JobKind
from app.models.people.user import digest_of
from app.models.reader_studies.steps import Step
from app.models.reader_studies.unblinding import Unblinding
from app.routes import guide
from app.settings import Settings
from ml.images.ruler import Kind
from tests.app.routes.test_every_door import GENERATOR, KEY, ORIGIN, Door, House, doors, knock, told

TABLE = Path(__file__).resolve().parents[3] / "DOORS.md"

STRANGERS = (
    "anonymous", "unused sign-in", "sign-in that is over", "sign-in of a disabled account",
    "revoked token", "expired token", "invented token", "token of a disabled account",
)  # fmt: skip
"""Nobody to us."""
PEOPLE = ("reader", "reads blind", "researcher", "owner", "administrator")
PROGRAMS = (
    "token reader",
    "token researcher",
    "token owner",
    "token administrator",
    "token nobody",
)

_LINE = re.compile(r"\| (GET|POST) \| `([^`]+)` \| ([^|]+) \| [^|]+ \|")
_WHO = re.compile(r"\| ([^|]+) " + r"\| (yes|no) " * 10 + r"\|")

_NOT_THEIRS = ("not yours", "no such picture")
"""Words of a 404 that hides from somebody what is there."""


def written() -> dict[str, str]:
    """Who may, by "METHOD address"."""
    found = _LINE.findall(TABLE.read_text("utf-8"))
    assert len({line[:2] for line in found}) == len(found), "an address stands there twice"
    return {f"{method} {path}": who for method, path, who in found}


def meant() -> dict[str, dict[str, bool]]:
    """Whom each word of the table lets in: the table's own legend."""
    rows = _WHO.findall(TABLE.read_text("utf-8"))
    return {
        who: {name: word == "yes" for name, word in zip((*PEOPLE, *PROGRAMS), words, strict=True)}
        for who, *words in rows
    }


class Undone(Database):
    """A database in which a request leaves nothing behind."""

    connection: sa.Connection | None = None

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is written within is gone at the end."""
        with self.engine.connect() as self.connection, self.connection.begin() as outer:
            try:
                yield
            finally:
                outer.rollback()
                self.connection = None

    def _writing_session(self, patience_s: float) -> Session:
        if self.connection is None:
            return super()._writing_session(patience_s)
        return self._within("create_savepoint")

    def _reading_session(self) -> Session:
        return super()._reading_session() if self.connection is None else self._within()

    def _glancing_session(self) -> Session:
        return self._reading_session()

    def _within(self, mode: Any = "rollback_only") -> Session:
        return Session(self.connection, expire_on_commit=False, join_transaction_mode=mode)


class Place:
    """An installation, everybody who may come to it, and one of everything that belongs to one."""

    def __init__(self, url: str, checkpoints: list[Path], *, with_demo: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(main, "Database", Undone)
            self.app: FastAPI = main.create_app(
                Settings(database_url=url, installation_key=KEY, clerk=False)
            )
        self.database: Undone = self.app.state.database
        self.database.migrate()
        self.app.state.attendance.note = lambda _cookie: None
        self.app.state.inference.draw = studies.draw
        if with_demo == "content":
            demo.fill(self.database, KEY.encode(), only_if_empty=True)
        with self.database.transaction() as session:
            for folder in checkpoints:
                Checkpoint.register(session, folder, "tests")
            cookies, tokens = self._people(session, demo=bool(with_demo))
            ids = self._belongings(session)
        browsers = {
            name: self._browser(cookies.get(name), tokens.get(name))
            for name in (*STRANGERS, *PEOPLE, *PROGRAMS)
        }
        with self.database.transaction() as session:
            self._end_some(session, cookies)
            people = {
                name: str(key) for name, key in session.execute(sa.select(User.name, User.id))
            }
        people |= {"owner": people["maker"], "reads blind": people["blind"]}
        people |= {"administrator": people["boss"], "reader": people["lector"],
                   "researcher": people["seeker"]}  # fmt: skip
        self.house = House(self.app, self.database, browsers, ids, people)
        self._portal = browsers["anonymous"]
        self._portal.__enter__()
        for browser in browsers.values():
            browser.portal = self._portal.portal
        self.app.state.demo = bool(with_demo)
        owner = browsers["owner"]
        with self.database.reading() as session:
            own = sa.select(Case.id).where(Case.uploaded_by_id == User.require(session, "maker").id)
            cases = list(map(str, session.scalars(own)))
        asked = {"name": "frozen", "kind": "phantom", "mixed_patients": "true", "case": cases}
        frozen = owner.post("/datasets", data=asked)
        assert frozen.status_code == 303, frozen.text
        with self.database.reading() as session:
            frozen = DatasetVersion.name == "frozen"
            ids["version_id"] = str(
                session.scalars(sa.select(DatasetVersion.id).where(frozen)).one()
            )
        owner.post("/runs", data={"dataset": ids["version_id"], "preset": "quick"})
        with self.database.reading() as session:
            ids["run_id"] = str(session.scalars(sa.select(Run.id)).one())

    def close(self) -> None:
        self._portal.__exit__(None, None, None)
        self.database.engine.dispose()

    def _browser(self, cookie: str | None, token: str | None) -> TestClient:
        headers = {"origin": ORIGIN, "accept": "application/json"}
        made = TestClient(
            self.app,
            base_url=ORIGIN,
            headers=headers | ({"authorization": f"Bearer {token}"} if token else {}),
            follow_redirects=False,
            raise_server_exceptions=False,
        )
        if cookie:
            made.cookies.set("hepatica_session", cookie)
        return made

    def _people(self, session: Session, *, demo: bool) -> tuple[dict[str, str], dict[str, str]]:
        """Accounts; the cookie of everybody with one, and the token of every program."""
        roles = {"lector": "reader", "blind": "reader", "seeker": "researcher",
                 "maker": "researcher", "boss": "admin", "gone": "admin"}  # fmt: skip
        who = {
            name: User.add(session, name, role, "correct horse", demo)
            for name, role in roles.items()
        }
        browsers = {
            "reader": "lector", "reads blind": "blind", "researcher": "seeker", "owner": "maker",
            "administrator": "boss", "unused sign-in": "boss", "sign-in that is over": "boss",
            "sign-in of a disabled account": "gone",
        }  # fmt: skip
        cookies = {name: SignIn.begin(session, who[one], 9.0) for name, one in browsers.items()}
        programs = {
            "token reader": "lector", "token researcher": "seeker", "token owner": "maker",
            "token administrator": "boss", "revoked token": "boss", "expired token": "boss",
            "token of a disabled account": "gone",
        }  # fmt: skip
        tokens = {
            name: ApiToken.add(session, name, who[one].role, owner=who[one])
            for name, one in programs.items()
        }
        tokens["token nobody"] = ApiToken.add(session, "token nobody", "machine")
        tokens["invented token"] = "hep_" + "A" * 43
        return cookies, tokens

    def _belongings(self, session: Session) -> dict[str, str]:
        """The owner's study with its cases, data set, run, sketch and jobs; ids by their names."""
        maker, blind = User.require(session, "maker"), User.require(session, "blind")
        study = studies.make_study(session, blind, design=None)
        lesion = session.scalars(
            sa.select(Lesion)
            .join(Review, Review.lesion_id == Lesion.id)
            .where(Review.by_id == maker.id)
        ).first()
        assert lesion is not None
        sketch = Sketch.begin(session, maker, {"title": "T"}, Step.DESIGN)
        holder = Holder(maker.id, None, "maker")
        fetch, _ = (Job.queue(session, holder, kind, {}, total=1) for kind in reversed(JobKind))
        [enrolment] = Enrolment.of_study(session, study.id)
        case = lesion.image.series.case
        shown = sa.select(Stimulus.id).where(Stimulus.study_id == study.id)
        token = session.scalar(sa.select(ApiToken.id).where(ApiToken.name == "token owner"))
        erasure = Erasure(
            kind="patient", asked_by="maker", cases=[], ended_at=now(), extent_json={}
        )
        session.add(erasure)
        measure = Measure.keep(
            session, lesion, lesion.image, Kind.LENGTH, [(9, 9), (20, 9)], maker,
            measure_id=uuid.uuid4(),
        )  # fmt: skip
        session.flush()
        found = {
            "token_id": token,
            "erasure_id": erasure.id, "measure_id": measure.id,
            "case_id": case.id, "image_id": lesion.image_id, "lesion_id": lesion.id,
            "study_id": study.id, "enrolment_id": enrolment.id,
            "stimulus_id": session.scalar(shown),
            "sketch_id": sketch.id, "job_id": fetch.id, "user_id": maker.id,
            "/readings": enrolment.token, "study": case.uid, "series": lesion.image.series.uid,
            "instance": lesion.image.uid, "checkpoint": GENERATOR, "name": GENERATOR, "seed": 1,
            "step": "images", "frames": 1, "tag": "7FE00010", "side": "left",
        }  # fmt: skip
        return {name: str(value) for name, value in found.items()}

    def _end_some(self, session: Session, cookies: dict[str, str]) -> None:
        """What was good until a moment ago."""
        User.require(session, "gone").disabled_at = now()
        ApiToken.revoke(session, "revoked token")
        long_ago = now() - timedelta(hours=3)
        for whose, column in (
            ("unused sign-in", "seen_at"),
            ("sign-in that is over", "expires_at"),
        ):
            row = SignIn.cookie_hash == digest_of(cookies[whose])
            session.execute(sa.update(SignIn).where(row).values({column: long_ago}))
        expired = ApiToken.name == "expired token"
        session.execute(sa.update(ApiToken).where(expired).values(expires_at=long_ago))


@pytest.fixture(
    scope="module",
    params=[
        "sqlite",
        "postgresql with a demo",
        pytest.param("sqlite with demo content", marks=pytest.mark.slow),
        pytest.param("postgresql with demo content", marks=pytest.mark.slow),
    ],
)
def place(request, tmp_path_factory, checkpoints) -> Iterator[Place]:
    if request.param.startswith("sqlite"):
        url = f"sqlite:///{tmp_path_factory.mktemp('who')}/hepatica.sqlite3"
    else:
        server, name = request.getfixturevalue("_postgres_server"), f"doors_{request.param_index}"
        with server.connect() as connection:  # it goes with the server
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        url = server.url.set(database=name).render_as_string(hide_password=False)
    _, _, with_demo = request.param.partition(" with ")
    made = Place(url, checkpoints, with_demo=with_demo.removeprefix("a ").removeprefix("demo "))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guide, "_sample", lambda _index: b"a zip")  # else simulated, a second each
        yield made
    made.close()


# ---- the walk ----------------------------------------------------------------------------------

SAID = {
    "GET /cases/selection": {"case": "case_id"},
    "POST /cases/selection/deletion": {"case": "case_id", "typed": "delete%201"},
    "GET /erasures/new": {"case": "case_id"},
    "POST /erasures": {"case": "case_id"},
    "POST /runs": {"dataset": "version_id"},
    "POST /reader-studies/{study_id}/enrolments": {"reader": "user_id"},
}
"""Fields without which an address does not look whose things they are: name → whose id, or what."""
COMPUTING = {"/reader-studies/planner/pairs", "/reader-studies/planner/unaware"}
"""Addresses that compute for a while: asked for what cannot be, behind the door."""


NO_PAIRS = ("GET /pixels/{token}/{side}", "reads blind")
"""The study of the walk shows single images; tests/app/routes/test_pixels.py has one of pairs."""


def prepared(place: Place, door: Door) -> dict[str, str]:
    """What must have happened for the address to be more than refused; ids that follow from it."""
    house, name = place.house, str(door)
    if name == "POST /lesions/{lesion_id}/restoration":
        [taken] = [one for one in doors(house.app) if str(one).endswith("/withdrawal")
                   and "lesion_id" in one.in_path]  # fmt: skip
        assert knock(house, "owner", taken).status_code == 303
    if door.path.startswith("/pixels/"):
        desk = house.browsers["reads blind"].get(f"/readings/{house.ids['/readings']}")
        return {"token": desk.json()["upcoming"][0]["token"]}
    return {}


def unblind(place: Place) -> None:
    """The owner's study is over and its truth may be shown."""
    with place.database.transaction() as session:
        session.add(
            Unblinding(
                study_id=session.scalars(
                    sa.select(ReaderStudy.id).where(ReaderStudy.title == "Blinded reading")
                ).one(),
                by_id=User.require(session, "maker").id,
                reason="for the walk",
            )
        )


def try_door(place: Place, who: str, door: Door, first: Callable[[], None] | None = None) -> Any:
    """One request, undone."""
    with place.database.undone():
        if first is not None:
            first()
        path = prepared(place, door)
        said = {
            name: place.house.ids.get(one, one) for name, one in SAID.get(str(door), {}).items()
        }
        said |= {"readers": "x"} if door.path in COMPUTING else {}
        return knock(place.house, who, door, path=path, values=said)


WAY_IN = {"/sessions", "/sessions/new", "/sessions/code", "/sessions/deletion"}


def is_let_in(reply: Any) -> bool:
    """Whether somebody got past the door, whatever became of what they wanted there.

    Not: asked to sign in, refused, or told that nothing is there that they may know of.
    """
    if reply.status_code == 403 or is_turned_away(reply):
        return False
    return reply.status_code != 404 or not any(one in reply.text.lower() for one in _NOT_THEIRS)


def is_turned_away(reply: Any) -> bool:
    """As somebody whom we do not know; never at the way in, where a password may be a wrong one."""
    if reply.request.url.path in WAY_IN:
        return False
    to = reply.headers.get("location", "")
    leads = reply.status_code == 303 and to.startswith("/sessions/new")
    return leads or reply.status_code == 401


def tried(who: str, may: dict[str, bool], number: int, how: str) -> Iterator[str]:
    """Who knocks at the address of that number.

    Everybody where demo content is; in SQLite nobody, one stranger in turn, and all for whom the
    address is; else one stranger in turn, one who may and one who may not.
    """
    if "content" in how:
        yield from (*STRANGERS, *PEOPLE, *PROGRAMS)
        return
    yield from {STRANGERS[0] if how == "sqlite" else "", STRANGERS[number % len(STRANGERS)]} - {""}
    for group in (PEOPLE, PROGRAMS):
        ins, outs = [one for one in group if may[one]], [one for one in group if not may[one]]
        if how == "sqlite" and ins and who != "everybody":
            yield from group
        else:
            yield from (*ins[:1], *outs[-1:])


def test_every_address_is_in_the_table_and_none_that_is_not(place):
    known, found = set(written()), {str(door) for door in doors(place.app)}
    assert found - known == set(), "who may? Say it in DOORS.md"
    assert known - found == set(), "there is no such address any more"
    assert set(written().values()) == set(meant()), "each word has its line in the first table"


@pytest.mark.long
def test_every_address_lets_in_whom_the_table_says_and_nobody_else(place, request):
    by_door, words, how = written(), meant(), request.node.callspec.id
    faults = []
    for number, door in enumerate(doors(place.app)):
        who = by_door[str(door)]
        later = who.endswith(", once unblinded")
        for name in tried(who, words[who], number, how):
            if (str(door), name) == NO_PAIRS:
                continue
            reply = try_door(place, name, door, (lambda: unblind(place)) if later else None)
            if name in STRANGERS:
                wrong = is_turned_away(reply) is (who == "everybody")
            else:
                wrong = is_let_in(reply) is not words[who][name]
            if wrong or reply.status_code >= 500:
                faults.append(f"{name} at what is for {who!r}: {told(reply)}")
            if later and is_let_in(reply) and is_let_in(reply := try_door(place, name, door)):
                faults.append(f"{name}, before the unblinding: {told(reply)}")
    assert not faults, "\n".join(faults)
