"""Signing in, roles, the Origin check."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from app.db import now
from app.main import create_app
from app.models import Event, SignIn, Tally, User
from app.models.people.user import digest_of
from app.settings import Settings

ORIGIN = "http://testserver"
KEY = "a key for tests, thirty-two characters or more"
RIGHT, WRONG = "correct horse", "wrong horse"


def sign_in(browser, name="ada", password=RIGHT, **more):
    return browser.post("/sessions", data={"name": name, "password": password}, **more)


def events(session, kind) -> list[Event]:
    session.expire_all()
    return list(session.scalars(sa.select(Event).where(Event.kind == kind)))


@pytest.fixture
def ada(database) -> None:
    with database.transaction() as session:
        User.add(session, "ada", "reader", RIGHT)


@pytest.fixture
def browser_at(app):
    """``browser_at("203.0.113.9")``: a fresh browser at that address."""

    def make(address: str, **headers: str) -> TestClient:
        return TestClient(
            app,
            base_url=ORIGIN,
            headers={"origin": ORIGIN, **headers},
            follow_redirects=False,
            client=(address, 40000),
        )

    return make


@pytest.mark.parametrize("demo", [False, True])
def test_a_wrong_password_is_refused_and_recorded(client, app, ada, session, demo):
    app.state.demo = demo
    reply = sign_in(client, password=WRONG)
    assert reply.status_code == 401
    assert "do not fit together" in reply.text
    assert ("blind-reader" in reply.text) is demo
    assert 'value="ada"' in reply.text  # what was typed stays
    assert "hepatica_session" not in reply.cookies
    refused = session.scalars(sa.select(Event).where(Event.kind == "sign-in refused"))
    assert refused.one().actor == "ada"


@pytest.mark.parametrize("demo", [False, True])
def test_the_eleventh_failure_makes_the_name_wait(client, app, ada, demo):
    app.state.demo = demo
    for _ in range(10):
        assert sign_in(client, password=WRONG).status_code == 401
    reply = sign_in(client)
    assert reply.status_code == 429
    assert "Wait 15 minutes" in reply.text
    assert 800 < int(reply.headers["retry-after"]) <= 900


def test_a_name_that_nobody_has_is_answered_alike_and_not_recorded(client, session):
    for _ in range(10):
        reply = sign_in(client, name="Tr0ub4dor&3", password=WRONG)
        assert reply.status_code == 401
        assert "do not fit together" in reply.text
    assert sign_in(client, name="Tr0ub4dor&3").status_code == 429
    [event] = events(session, "sign-in refused")
    assert event.actor == "?"  # what was typed may be a password
    assert "Tr0ub4dor" not in str([(one.actor, one.subject) for one in session.scalars(
        sa.select(Event))])  # fmt: skip


def test_a_refusal_is_counted_whatever_becomes_of_its_page(client, app, ada, session, monkeypatch):
    import app.routes.sessions as sessions

    def broken(*_arguments, **_more):
        raise RuntimeError("the template is broken")

    monkeypatch.setattr(sessions, "page", broken)
    for _ in range(10):
        assert sign_in(client, password=WRONG).status_code == 500
    monkeypatch.undo()
    assert sign_in(client).status_code == 429
    assert len(events(session, "sign-in refused")) == 1


def test_a_stranger_never_locks_the_owner_out(browser_at, ada):
    ward = browser_at("192.0.2.10")
    assert sign_in(ward).status_code == 303
    ward.post("/sessions/deletion")
    for stranger in (browser_at("203.0.113.9"), browser_at("192.0.2.10")):
        for _ in range(12):
            last = sign_in(stranger, password=WRONG)
        assert last.status_code == 429
    assert sign_in(ward).status_code == 303  # known browser, though at the stranger's address
    assert sign_in(browser_at("192.0.2.77")).status_code == 303  # a new one elsewhere


def test_a_known_browser_has_a_limit_of_its_own(browser_at, ada):
    ward = browser_at("192.0.2.10")
    sign_in(ward)
    for _ in range(10):
        assert sign_in(ward, password=WRONG).status_code == 401
    refused = sign_in(ward)
    assert refused.status_code == 429
    assert "from this browser" in refused.text
    assert sign_in(browser_at("192.0.2.10")).status_code == 303  # nobody else suffers


def test_a_device_cookie_vouches_for_no_other_account(browser_at, ada, database):
    with database.transaction() as session:
        User.add(session, "eve", "reader", RIGHT)
    eve = browser_at("203.0.113.9")
    sign_in(eve, name="eve")
    for _ in range(10):
        sign_in(eve, password=WRONG)
    assert sign_in(eve).status_code == 429
    eve.cookies.set("hepatica_device", "A" * 22 + "." + "B" * 32)
    assert sign_in(eve).status_code == 429
    assert sign_in(eve, name="eve").status_code == 303  # one name's limit is not another's


def test_many_names_from_one_source_are_limited_and_recorded_once(browser_at, database, session):
    with database.transaction() as opened:
        for number in range(12):
            User.add(opened, f"reader{number}", "reader", RIGHT)
    sprayer = browser_at("203.0.113.9")
    codes = [sign_in(sprayer, f"reader{n % 12}", "Spring2026!").status_code for n in range(60)]
    codes += [sign_in(sprayer, f"nobody{n}", "Spring2026!").status_code for n in range(60)]
    assert codes == [401] * 100 + [429] * 20
    assert sign_in(sprayer, "reader1").status_code == 429
    assert len(events(session, "passwords tried on many names")) == 1
    refused = events(session, "sign-in refused")
    assert len(refused) <= 6
    assert {one.subject for one in refused} == {"203.0.113.9"}
    assert sign_in(browser_at("192.0.2.77"), "reader1").status_code == 303


@pytest.mark.long
def test_strangers_do_not_fill_the_audit_trail_from_many_addresses(browser_at, session):
    for number in range(260):
        sign_in(browser_at(f"198.51.{number // 250}.{number % 250}"), f"nobody{number}")
    assert len(events(session, "sign-in refused")) < 200
    assert len(events(session, "more sign-ins refused than are recorded")) == 1


def test_an_administrator_unlocks_an_account(client, ada, signed_in_as, session):
    for _ in range(11):
        sign_in(client, password=WRONG)
    user_id = User.require(session, "ada").id
    assert signed_in_as("researcher").post(f"/users/{user_id}/unlocking").status_code == 403
    assert sign_in(client).status_code == 429
    assert signed_in_as("admin").post(f"/users/{user_id}/unlocking").status_code == 303
    assert sign_in(client).status_code == 303
    assert [one.actor for one in events(session, "account unlocked")] == ["admin"]


def test_a_window_ends_and_the_count_begins_anew(client, ada, database):
    for _ in range(11):
        sign_in(client, password=WRONG)
    with database.transaction() as session:
        session.execute(sa.update(Tally).values(since=now() - timedelta(minutes=16)))
    assert sign_in(client, password=WRONG).status_code == 401
    assert sign_in(client).status_code == 303


def test_people_behind_a_proxy_that_is_not_named_do_not_use_up_each_others_tries(browser_at, ada):
    guesser = browser_at("10.0.0.1", **{"x-forwarded-for": "203.0.113.9"})
    for _ in range(11):
        last = sign_in(guesser, password=WRONG)
    assert last.status_code == 429
    assert sign_in(browser_at("10.0.0.1", **{"x-forwarded-for": "192.0.2.7"})).status_code == 303


def test_an_invented_forwarded_address_does_not_make_tries_endless(browser_at, ada, monkeypatch):
    from app.models.people import tally

    monkeypatch.setattr(tally, "TRIES_OF_A_PEER", 30)
    codes = []
    for number in range(40):
        guesser = browser_at("203.0.113.9", **{"x-forwarded-for": f"192.0.2.{number}"})
        codes.append(sign_in(guesser, password=WRONG).status_code)
    assert codes == [401] * 30 + [429] * 10


def test_while_a_password_is_hashed_others_write(tmp_path, monkeypatch):
    from app.models.people import user as people

    file = tmp_path / "hepatica.sqlite3"
    app = create_app(Settings(database_url=f"sqlite:///{file}", installation_key=KEY))
    app.state.database.migrate()
    with app.state.database.transaction() as session:
        User.add(session, "ada", "reader", RIGHT)
    hashed = []

    class Slow:
        def hash(self, password: str) -> str:
            return "hash"

        def verify(self, password: str, stored: str) -> bool:
            with sqlite3.connect(file, timeout=0) as other:  # fails at once where a lock is held
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE user SET demo = demo")
            hashed.append(stored)
            return True

    monkeypatch.setattr(people, "_passwords", Slow)
    browser = TestClient(app, base_url=ORIGIN, headers={"origin": ORIGIN}, follow_redirects=False)
    assert sign_in(browser).status_code == 303
    assert len(hashed) == 1
    app.state.database.engine.dispose()


def test_pages_ask_for_a_sign_in_and_lead_back(client):
    reply = client.get("/cases?filter=awaiting")
    assert reply.status_code == 303
    assert reply.headers["location"] == "/sessions/new?next=%2Fcases%3Ffilter%3Dawaiting"


def test_a_sign_in_never_leads_to_another_site(client, ada):
    for other in ("//evil.example/cases", "/\\evil.example", "https://evil.example", "cases"):
        form = {"name": "ada", "password": RIGHT, "next": other}
        assert client.post("/sessions", data=form).headers["location"] == "/"
    for odd in ("/\t/evil.example", "/\r\n/evil.example"):
        form = {"name": "ada", "password": RIGHT, "next": odd}
        assert client.post("/sessions", data=form).headers["location"].startswith("/%0")


def test_a_write_from_another_origin_is_refused(signed_in_as):
    browser = signed_in_as("admin")
    form = {"name": "eve", "role": "admin", "password": "long enough"}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}):
        assert browser.post("/users", data=form, headers=headers).status_code == 403
    for site in ("cross-site", "same-site", "SAME-ORIGIN", ""):
        headers = {"sec-fetch-site": site}  # what the browser says of the page outweighs Origin
        assert browser.post("/users", data=form, headers=headers).status_code == 403
    del browser.headers["origin"]
    assert browser.post("/users", data=form).status_code == 403
    same_site = {"sec-fetch-site": "same-origin"}
    assert browser.post("/users", data=form, headers=same_site).status_code == 303


def test_behind_https_no_setting_is_needed_for_a_browser_that_says_where_it_is(signed_in_as):
    browser = signed_in_as("admin")
    headers = {"origin": "https://hepatica.example.org", "sec-fetch-site": "same-origin"}
    form = {"name": "eve", "role": "reader", "password": "long enough"}
    assert browser.post("/users", data=form, headers=headers).status_code == 303


def test_a_role_does_not_reach_above_itself(signed_in_as):
    for role in ("reader", "researcher"):
        assert signed_in_as(role).get("/users").status_code == 403
    assert signed_in_as("admin").get("/users").status_code == 200


def test_only_hashes_of_passwords_and_cookies_are_stored(signed_in_as, session):
    browser = signed_in_as("reader", name="ada")
    secret = browser.cookies["hepatica_session"]
    assert session.get(SignIn, secret) is None
    assert session.get(SignIn, digest_of(secret)) is not None
    assert User.require(session, "ada").password_hash.startswith("$argon2id$")


def test_signing_out_ends_the_session_on_the_server_and_empties_the_cache(signed_in_as, session):
    browser = signed_in_as("reader")
    secret = browser.cookies["hepatica_session"]
    reply = browser.post("/sessions/deletion")
    assert reply.status_code == 303
    assert reply.headers["clear-site-data"] == '"cache"'  # unsent answers lie in the storage
    assert [one.actor for one in events(session, "signed out")] == ["reader"]
    browser.cookies.set("hepatica_session", secret)
    assert browser.get("/cases").status_code == 303
    browser.post("/sessions/deletion")
    assert len(events(session, "signed out")) == 1


def test_signing_in_again_in_a_browser_ends_its_session_before(signed_in_as, session):
    browser = signed_in_as("reader", name="ada")
    first = browser.cookies["hepatica_session"]
    assert sign_in(browser).status_code == 303
    assert session.get(SignIn, digest_of(first)) is None
    assert browser.get("/cases").status_code == 200


def test_one_person_is_signed_in_in_so_many_browsers_at_most(browser_at, ada, session):
    browsers = [browser_at("192.0.2.7") for _ in range(22)]
    for browser in browsers:
        assert sign_in(browser).status_code == 303
    assert [one.get("/cases").status_code for one in browsers] == [303] * 2 + [200] * 20


def _age(database, **past: timedelta) -> None:
    with database.transaction() as session:
        for column, ago in past.items():
            session.execute(sa.update(SignIn).values({column: now() - ago}))


def test_a_sign_in_that_is_not_used_ends_before_its_time(signed_in_as, database):
    browser = signed_in_as("reader")
    _age(database, seen_at=timedelta(hours=1.9))
    assert browser.get("/cases").status_code == 200
    browser = signed_in_as("reader")
    _age(database, seen_at=timedelta(hours=2.1))
    assert browser.get("/cases").status_code == 303


def test_a_sign_in_ends_in_spite_of_its_use(signed_in_as, database):
    browser = signed_in_as("reader")
    _age(database, expires_at=timedelta(seconds=1))
    assert browser.get("/cases").status_code == 303


def test_use_is_noted_once_a_minute_and_no_request_waits_for_it(
    app, signed_in_as, database, session
):
    browser = signed_in_as("reader")
    noted = []
    app.state.attendance.note = noted.append
    for _ in range(3):
        browser.get("/cases")
    assert noted == []
    _age(database, seen_at=timedelta(seconds=61))
    browser.get(f"/runs/{uuid.uuid4()}/progress")  # a page left open asks for that by itself
    assert noted == []
    browser.get("/cases")
    assert noted == [digest_of(browser.cookies["hepatica_session"])]
    with database.transaction() as opened:
        SignIn.note(opened, noted)
    browser.get("/cases")
    assert len(noted) == 1


def test_a_cookie_that_we_never_set_is_nobody(client):
    for value in ("x", "A" * 43, "A" * 5000, '"\\000\\000"', "ä" * 20):
        headers = {"cookie": f"hepatica_session={value}".encode("latin-1")}
        assert client.get("/cases", headers=headers).status_code == 303


def test_a_disabled_account_is_signed_out_at_once(signed_in_as, session):
    admin, reader = signed_in_as("admin"), signed_in_as("reader", name="ada")
    user_id = User.require(session, "ada").id
    session.expire_all()
    assert admin.post(f"/users/{user_id}/disabling").status_code == 303
    assert reader.get("/cases").status_code == 303
    assert admin.post(f"/users/{User.require(session, 'admin').id}/disabling").status_code == 409
    assert sign_in(reader).status_code == 401


def test_every_answer_carries_the_protective_headers(client):
    for path in ("/sessions/new", "/nowhere", "/health/live", "/static/css/base.css", "/a%00"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers


def test_over_https_cookies_are_bound_to_this_host_and_plain_http_is_given_up(
    database, ada, monkeypatch
):
    import app.main as main

    monkeypatch.setattr(main, "Database", lambda _url: database)
    origin = "https://hepatica.example.org"
    app = create_app(Settings(installation_key=KEY, public_origin=f"{origin}/"))
    browser = TestClient(app, base_url=origin, follow_redirects=False, headers={"origin": origin})
    reply = sign_in(browser)
    assert reply.status_code == 303
    told = reply.headers.get_list("set-cookie")
    assert {one.split("=")[0] for one in told} == {
        "__Host-hepatica_session", "__Host-hepatica_device",
    }  # fmt: skip
    for cookie in told:
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= parts
        assert not any(part.startswith("domain") for part in parts)
    assert reply.headers["strict-transport-security"].startswith("max-age=")
    assert browser.get("/cases").status_code == 200
    flashed = browser.post("/sessions/deletion").headers.get_list("set-cookie")
    assert any("__Host-hepatica_flash=" in one and "Secure" in one for one in flashed)


def test_a_browser_is_told_how_long_it_is_signed_in_and_asking_is_no_use(
    client, signed_in_as, database, app
):
    assert client.get("/sessions/state").json() == {"person": None}
    browser = signed_in_as("reader", name="ada")
    noted = []
    app.state.attendance.note = noted.append
    _age(database, seen_at=timedelta(minutes=110))
    told = browser.get("/sessions/state").json()
    assert 590 <= told["idle_s"] <= 600 and told["ends_s"] > 11 * 3600
    assert noted == []
    fresh = browser.post("/sessions/use", headers={"accept": "application/json"}).json()
    assert 7190 <= fresh["idle_s"] <= 7200 and fresh["person"] == told["person"]
    assert browser.get("/sessions/state").json()["idle_s"] > 7100, "written down at once"
    assert browser.post("/sessions/use").headers["location"] == "/"
    assert client.post("/sessions/use").status_code == 401


def test_a_page_tells_the_end_that_nothing_moves_ten_minutes_before(signed_in_as, database):
    browser = signed_in_as("reader", name="ada")
    page = browser.get("/account").text
    assert "at the latest; 2 h without use end it sooner" in page
    assert "nothing moves that" not in page and 'data-local="ada"' in page
    assert 'data-idle-hours="2.0"' in page
    _age(database, expires_at=timedelta(minutes=-9))
    page = browser.get("/account").text
    assert "and nothing moves that." in page
    assert (
        browser.post("/sessions/use", headers={"accept": "application/json"}).json()["idle_s"]
        <= 540
    ), "use does not move the end in any case"
