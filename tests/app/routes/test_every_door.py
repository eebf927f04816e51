"""Every field of every route, with what no honest form sends: refused in words, never a fault.

Routes and fields are taken from the application itself, so a new one is tried here by itself.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, _iter_routes_with_context
from pydantic import BaseModel
from starlette.testclient import TestClient

import studies
from app.bodies import UPLOADS, multipart
from app.db import Database
from app.main import create_app
from app.models import (
    ApiToken,
    Case,
    Checkpoint,
    DatasetVersion,
    Enrolment,
    Image,
    Lesion,
    Measure,
    Run,
    Sketch,
    Stimulus,
    Trial,
    User,
)  # fmt: skip
from app.settings import Settings
from factories import make_png
from ml.images.ruler import Kind

ORIGIN = "http://testserver"
KEY = studies.KEY.decode()
ROOT = Path(__file__).resolve().parents[3]
GENERATOR = "phantom-diffusion-cyst"

_FILES_OF = {"/cases": b"files", "/reader-studies/planner/pilots": b"ratings"}

NO_TEXT = {  # as it is percent-encoded
    "NUL": "a%00b",
    "a control character": "a%07b",
    "half of a surrogate pair": "a%ED%A0%80b",
    "not UTF-8": "a%FFb",
}
UNKEEPABLE = ["999999999999999999999", "2147483648", "-1", "🫀\n'; DROP TABLE user; --", "x" * 5000]
"""What one database may take and the other not: tried on both."""
ABSURD = ["", "²", "٣", "nan", "1e999", "[[[[", "../..", *UNKEEPABLE]

once = pytest.mark.parametrize("house", ["sqlite"], indirect=True)
"""For what is decided before anything is asked of a database."""


@dataclass(frozen=True)
class Door:
    """One method of one address, and the fields that it takes."""

    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: tuple[str, ...]
    in_form: tuple[str, ...] = ()
    in_json: tuple[str, ...] = ()
    valid: dict[str, str] = field(default_factory=dict)
    """What a required field needs so that the others are looked at."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def doors(app: Any) -> list[Door]:
    found = []
    for route, context in _iter_routes_with_context(app.routes):
        if not isinstance(route, APIRoute):
            continue
        in_path, in_query, in_body = (
            _params(route.dependant, kind)
            for kind in ("path_params", "query_params", "body_params")
        )
        body = [(one.alias, one.field_info.annotation, one) for one in in_body]
        is_json = any(type(one.field_info).__name__ == "Body" for one in in_body)
        fields: dict[str, Any] = {}
        required: dict[str, Any] = {}
        for alias, kind, one in body:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                fields |= {name: info.annotation for name, info in kind.model_fields.items()}
                required |= {
                    name: info.annotation
                    for name, info in kind.model_fields.items()
                    if info.is_required()
                }
            else:
                fields[alias] = kind if one.field_info.is_required() else str
        required |= {
            one.alias: one.field_info.annotation
            for one in [*in_query, *in_body]
            if one.field_info.is_required() and one.alias in {*fields, *_names(in_query)}
        }
        valid = {name: _valid(kind) for name, kind in required.items()}
        parsed = _parsed_by_hand(route)
        for method in sorted((context or route).methods - {"HEAD"}):
            found.append(
                Door(
                    method,
                    (context or route).path,
                    _names(in_path),
                    _names(in_query),
                    () if is_json else (*fields, *parsed),
                    tuple(fields) if is_json else (),
                    valid,
                )
            )
    return found


def _params(dependant: Dependant, kind: str) -> list[Any]:
    """Parameters of a handler and of everything that it depends on."""
    found = list(getattr(dependant, kind))
    for further in dependant.dependencies:
        found += _params(further, kind)
    return list({one.alias: one for one in found}.values())


def _names(params: Any) -> tuple[str, ...]:
    return tuple(one.alias for one in params)


def _valid(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind)).value
    return {int: "1", float: "30", bool: "true", uuid.UUID: str(uuid.uuid4())}.get(kind, "x")


def _parsed_by_hand(route: APIRoute) -> tuple[str, ...]:
    """Fields that an upload's handler takes from its form itself."""
    asked = [one.call for one in route.dependant.dependencies]
    source = Path(route.endpoint.__code__.co_filename).read_text("utf-8")
    if multipart not in asked and "await multipart(request)" not in source:
        return ()
    return tuple(dict.fromkeys(re.findall(r'text_of\(form, "(\w+)"', source)))


@dataclass
class House:
    """An installation with one of everything in it, and everybody who may knock."""

    app: FastAPI
    database: Database
    browsers: dict[str, TestClient]
    ids: dict[str, str]
    people: dict[str, str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request, tmp_path_factory, checkpoints) -> Iterator[House]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('doors')}/hepatica.sqlite3"
    else:
        url = request.getfixturevalue("postgres_of_module")
    database = Database(url)
    database.migrate()
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
        for role in ("reader", "researcher", "admin"):
            User.add(session, role, role, "correct horse")
        studies.make_study(session, User.require(session, "reader"), design=None)
        token = ApiToken.add(session, "machine", "machine")
        lesion = session.scalars(sa.select(Lesion)).first()
        reader = User.require(session, "reader")
        ends = [(9, 9), (20, 9)]
        Measure.keep(
            session, lesion, lesion.image, Kind.LENGTH, ends, reader, measure_id=uuid.uuid4()
        )
    app = create_app(Settings(database_url=url, installation_key=KEY))
    app.state.inference.draw = studies.draw  # quick, and enough to answer
    people_and_machines = ("anonymous", "reader", "researcher", "admin", "machine")
    browsers = {role: _browser(app) for role in people_and_machines}
    with browsers["anonymous"]:  # one loop for all: else each request starts a thread
        for browser in browsers.values():
            browser.portal = browsers["anonymous"].portal
        yield _house(database, app, browsers, token)
    database.engine.dispose()
    app.state.database.engine.dispose()


def _house(database: Database, app: FastAPI, browsers: dict[str, TestClient], token: str) -> House:
    """Everybody signed in, and a data set, a run and a sketch beside the reader study."""
    for role in ("reader", "researcher", "admin"):
        form = {"name": role, "password": "correct horse"}
        assert browsers[role].post("/sessions", data=form).status_code == 303
    browsers["machine"].headers["authorization"] = f"Bearer {token}"
    form = {"name": "frozen", "kind": "phantom", "mixed_patients": "true"}
    browsers["researcher"].post("/datasets", data=form)
    with database.reading() as session:
        version = session.scalars(sa.select(DatasetVersion.id)).first()
    if version is not None:
        order = {"dataset": str(version), "preset": "quick"}
        browsers["researcher"].post("/runs", data=order)
    browsers["admin"].post("/reader-studies/sketches", data={"title": "T", "go": "keep"})
    with database.reading() as session:
        people = {name: str(key) for name, key in session.execute(sa.select(User.name, User.id))}
    return House(app, database, browsers, _ids(database), people)


def _browser(app: Any) -> TestClient:
    return TestClient(
        app,
        base_url=ORIGIN,
        headers={"origin": ORIGIN, "accept": "application/json"},
        follow_redirects=False,
        raise_server_exceptions=False,
    )


def _ids(database: Database) -> dict[str, str]:
    with database.reading() as session:
        first = {
            "case_id": session.scalar(sa.select(Case.id)),
            "image_id": session.scalar(sa.select(Image.id)),
            "lesion_id": session.scalar(sa.select(Lesion.id)),
            "measure_id": session.scalar(sa.select(Measure.id)),
            "study_id": session.scalar(sa.select(Stimulus.study_id)),
            "stimulus_id": session.scalar(sa.select(Stimulus.id)),
            "enrolment_id": session.scalar(sa.select(Enrolment.id)),
            "version_id": session.scalar(sa.select(DatasetVersion.id)),
            "run_id": session.scalar(sa.select(Run.id)),
            "sketch_id": session.scalar(sa.select(Sketch.id)),
            "user_id": session.scalar(sa.select(User.id).where(User.name == "maker")),
            "/readings": session.scalar(sa.select(Enrolment.token)),
            "/pixels": session.scalar(sa.select(Trial.token)),
        }
        image = session.scalars(sa.select(Image).where(Image.id == first["image_id"])).one()
        case = image.series.case
        kept = {"study": case.uid, "series": image.series.uid, "instance": image.uid}
    known = {key: str(value or uuid.uuid4()) for key, value in first.items()}
    named = {"checkpoint": GENERATOR, "name": GENERATOR, "seed": "1", "step": "images"}
    return {**known, **kept, **named, "frames": "1", "tag": "7FE00010"}


def address(house: House, door: Door, **changed: str) -> str:
    """The door's path with real ids in it, but for the changed ones (percent-encoded already)."""
    path = door.path
    for name in door.in_path:
        known = house.ids.get(name) or house.ids.get("/" + door.path.split("/")[1], "x")
        path = path.replace("{" + name + "}", changed.get(name, quote(known)))
    return path


def slip(house: House, role: str, door: Door) -> dict[str, str]:
    """What a form of the case page says of itself, so that its other fields are looked at."""
    known = {"lesion": house.ids["lesion_id"], "number": "1", "person": house.people.get(role, "")}
    return {
        name: known[name] for name in door.in_form if name in known and "person" in door.in_form
    }


def knock(
    house: House,
    role: str,
    door: Door,
    *,
    path: dict[str, str] | None = None,
    values: dict[str, str] | None = None,
    as_multipart: bool = False,
) -> Any:
    """One request. ``values`` are percent-encoded and go wherever the door takes that field."""
    values = values or {}
    url = address(house, door, **(path or {}))
    valid = {name: quote(value) for name, value in door.valid.items()}
    given = {**valid, **slip(house, role, door), **values}
    query = "&".join(f"{name}={given[name]}" for name in door.in_query if name in given)
    url += f"?{query}" if query else ""
    browser = house.browsers[role]
    if door.in_json:
        given_json = (f'"{name}": {given[name]}' for name in door.in_json if name in given)
        data = "{" + ", ".join(given_json) + "}"
        headers = {"content-type": "application/json"}
        return browser.request(door.method, url, content=data.encode(), headers=headers)
    fields = [(name, given[name]) for name in door.in_form if name in given]
    if as_multipart:
        parts = b"".join(
            b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (name.encode(), value)
            for name, value in ((name, unquote_to_bytes(value)) for name, value in fields)
        )
        image = b'--x\r\ncontent-disposition: form-data; name="%s"; filename="a.png"\r\n\r\n%s\r\n'
        if door.path in UPLOADS:
            parts += image % (_FILES_OF.get(door.path, b"image"), make_png())
        headers = {"content-type": "multipart/form-data; boundary=x"}
        content = parts + b"--x--\r\n"
        return browser.request(door.method, url, content=content, headers=headers)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    content = "&".join(f"{name}={value}" for name, value in fields).encode()
    return browser.request(door.method, url, content=content, headers=headers)


def told(reply: Any) -> str:
    return f"{reply.request.method} {reply.request.url} → {reply.status_code} {reply.text[:300]}"


def test_a_form_of_the_case_page_is_obeyed_by_the_person_it_is_for(house):
    """So the absurd values below reach what looks at them, and not only the slip."""
    [door] = [one for one in doors(house.app) if str(one) == "POST /lesions/{lesion_id}/reviews"]
    values = {"lesion_class": "cyst", "basis": "imaging"}
    assert knock(house, "admin", door, values=values).status_code == 303


@once
def test_the_doors_are_found_with_their_fields(house):
    by_name = {str(door): door for door in doors(house.app)}
    assert len(by_name) > 60
    assert "note" in by_name["POST /lesions/{lesion_id}/reviews"].in_form
    conduct = by_name["POST /reader-studies/sketches/{sketch_id}/conduct"]
    assert "instructions" in conduct.in_form
    assert "title" not in conduct.in_form
    answer = by_name["POST /readings/{token}"]
    assert answer.valid.keys() == {"trial", "key"} and {"rating", "choice"} <= set(answer.in_form)
    assert "pseudonym" in by_name["POST /cases"].in_form
    assert "frame" in by_name["POST /api/v1/classifications"].in_form
    assert "seed" in by_name["POST /api/v1/synthetics"].in_json
    assert by_name["GET /synthetics/{checkpoint}/sheet"].in_query == (
        "seed",
        "count",
        "truncation",
    )


@once
@pytest.mark.parametrize("what", NO_TEXT)
def test_what_is_no_text_is_refused_at_every_door(house, what):
    """By the person who may do most, in path, query, form in both encodings, and JSON."""
    bad = NO_TEXT[what]
    faults = []
    for door in doors(house.app):
        role = "machine" if door.path.startswith("/api/") else "admin"
        replies = [knock(house, role, door, path={name: bad}) for name in door.in_path]
        if door.in_query:
            replies.append(knock(house, role, door, values=dict.fromkeys(door.in_query, bad)))
        if door.in_form:
            values = dict.fromkeys(door.in_form, bad)
            replies.append(knock(house, role, door, values=values, as_multipart=True))
            replies.append(knock(house, role, door, values=values))
        for name in door.in_json:
            value = {"NUL": '"a\\u0000b"', "a control character": '"a\\u0007b"',
                     "half of a surrogate pair": '"a\\ud800b"'}.get(what, '"\xff"')  # fmt: skip
            if what == "not UTF-8":
                content = b'{"%s": "a\xffb"}' % name.encode()
                headers = {"content-type": "application/json"}
                replies.append(
                    house.browsers[role].post(door.path, content=content, headers=headers)
                )
            else:
                replies.append(knock(house, role, door, values={name: value}))
        faults += [
            told(reply)
            for reply in replies
            if reply.status_code not in (400, 422)
            or reply.headers["content-type"] != "application/problem+json"
        ]
    assert faults == []


@once
def test_a_header_or_the_name_of_a_file_that_is_no_text_is_refused_at_every_door(house):
    headers = ("accept", "cookie", "user-agent", "idempotency-key", "if-none-match", "x-anything")
    for number, door in enumerate(doors(house.app)):
        browser = house.browsers["machine" if door.path.startswith("/api/") else "admin"]
        bad = {headers[number % len(headers)]: (b"a\x00b", b"a\x07b", b"a\x7fb")[number % 3]}
        reply = browser.request(door.method, address(house, door), headers=bad)
        assert reply.status_code == 400, told(reply)
    for path in sorted(UPLOADS - {"/dicomweb/studies"}):  # whose parts have no names
        browser = house.browsers["machine" if path.startswith("/api/") else "admin"]
        for bad in NO_TEXT.values():
            named = b'--x\r\ncontent-disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
            named %= (_FILES_OF.get(path, b"image"), unquote_to_bytes(bad))
            reply = browser.post(
                path,
                content=named + make_png() + b"\r\n--x--\r\n",
                headers={"content-type": "multipart/form-data; boundary=x"},
            )
            assert reply.status_code == 400, told(reply)


@pytest.mark.long
@once
def test_nothing_that_a_door_answers_is_shown_again_without_asking(house):
    """Not a page, not a picture, not a file: a browser's copy would outlive the right to see it."""
    pictures, faults = set(), []
    for door in doors(house.app):
        if door.method != "GET":
            continue
        role = "machine" if door.path.startswith("/api/") else "admin"
        reply = knock(house, role, door)
        if reply.status_code == 406:  # it has no JSON
            reply = house.browsers[role].get(address(house, door), headers={"accept": "*/*"})
        if reply.status_code != 200:
            continue
        kept = reply.headers.get("cache-control", "")
        asks = kept == "no-store" or (kept == "private, no-cache" and "etag" in reply.headers)
        if reply.headers["content-type"].startswith("image/"):
            pictures.add(door.path)
        faults += [] if asks else [f"{door}: {reply.headers['content-type']} {kept!r}"]
    assert faults == []
    assert {"/lesions/{lesion_id}/roi.png", "/images/{image_id}/preview.png"} < pictures
    assert "/dicomweb/studies/{study}/thumbnail" in pictures


@pytest.mark.long
@pytest.mark.parametrize("role", ["admin", "reader", "machine"])
@pytest.mark.parametrize(
    "share", [pytest.param(4, id="a fourth"), pytest.param(1, id="all", marks=pytest.mark.slow)]
)
def test_no_absurd_value_of_any_one_field_is_a_fault(house, role, share):
    """Each field has a fourth of the values, its neighbour the next; ``make test-all``: all."""
    faults = []
    absurd = ABSURD if house.database.engine.dialect.name == "sqlite" else UNKEEPABLE
    for number, door in enumerate(doors(house.app)):
        if door.path.startswith("/api/") != (role == "machine"):
            continue
        if role == "reader" and knock(house, role, door).status_code == 403:
            continue  # closed to readers whatever they send: tried below
        as_multipart = door.path in UPLOADS
        few = role == "reader"  # who may do less than those of whom all are tried
        for turn, value in enumerate(absurd[::3] if few else absurd):
            first = (number + turn) % share
            encoded = quote(value, safe="")
            replies = [
                knock(house, role, door, path={name: encoded})
                for name in door.in_path[first::share]
            ]
            for name in (*door.in_query, *door.in_form)[first::share]:
                replies.append(
                    knock(house, role, door, values={name: encoded}, as_multipart=as_multipart)
                )
            for name in door.in_json[first::share]:
                for one in (json.dumps(value), value if _is_json(value) else "[]"):
                    replies.append(knock(house, role, door, values={name: one}))
            faults += [f"{value!r}: {told(reply)}" for reply in replies if reply.status_code >= 500]
    assert faults == []
    assert knock(house, role, Door("GET", "/health/live", (), ())).status_code == 200


@pytest.mark.long
@pytest.mark.parametrize("role", ["anonymous", "reader", "researcher"])
def test_no_absurd_values_of_all_fields_at_once_are_a_fault(house, role):
    tried = [quote(UNKEEPABLE[0])]  # the others are refused before anything is asked of a database
    if house.database.engine.dialect.name == "sqlite":
        tried += [*map(quote, ("", "²", "٣")), *NO_TEXT.values()]
    for door in doors(house.app):
        for value in tried:
            values = dict.fromkeys((*door.in_query, *door.in_form), value)
            values |= dict.fromkeys(door.in_json, json.dumps(value))
            reply = knock(house, role, door, path=dict.fromkeys(door.in_path, value), values=values)
            assert reply.status_code < 500, told(reply)
            strange = door.in_path and value in NO_TEXT.values()
            if role == "anonymous" and not strange and door.method == "POST" and values:
                open_to_all = door.path in ("/sessions", "/sessions/deletion")
                assert open_to_all or reply.status_code in (400, 401, 404, 405), told(reply)


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return value in ("nan", "-inf")  # what Python's own encoder would send is not JSON either
    return True
