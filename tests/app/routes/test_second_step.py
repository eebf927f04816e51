"""The second step of a sign-in: an authenticator app, its recovery codes, and who must have one."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

import pyotp
import pytest
import sqlalchemy as sa

from app.__main__ import application
from app.models import Event, RecoveryCode, SecondFactor, SignIn, User
from app.models.people import second_factor
from app.models.people.identity import Identity

PASSWORD = "correct horse"
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # of RFC 6238, appendix B


@pytest.fixture
def clock(monkeypatch):
    """``clock(59)``: it is that many seconds since 1970 where codes are looked at."""

    def at(seconds: float) -> None:
        moment = datetime.fromtimestamp(seconds, UTC)
        monkeypatch.setattr(second_factor, "now", lambda: moment)

    return at


def kinds(session) -> list[tuple[str, str]]:
    session.expire_all()
    of_steps = Event.kind.like("%step%") | Event.kind.like("recovery%")
    return [
        (one.actor, one.kind)
        for one in session.scalars(sa.select(Event).where(of_steps).order_by(Event.at, Event.id))
    ]


def enrol(browser) -> tuple[pyotp.TOTP, list[str]]:
    """Set up an app in a signed-in browser: it, and the recovery codes."""
    assert browser.post("/account/second-step", data={"password": PASSWORD}).status_code == 303
    shown = browser.get("/account/second-step").text
    app = pyotp.TOTP(re.search(r"<code class=\"break\">([A-Z2-7]{32})</code>", shown)[1])
    assert "data:image/svg+xml" in shown
    done = browser.post(
        "/account/second-step/confirmation", data={"code": app.at(second_factor.now())}
    )
    assert done.status_code == 200, done.text
    return app, re.findall(r"<code>([A-Z2-9]{5}-[A-Z2-9]{5})</code>", done.text)


def first_step(browser, name="ada"):
    reply = browser.post("/sessions", data={"name": name, "password": PASSWORD, "next": "/account"})
    assert reply.headers["location"] == "/sessions/code?next=%2Faccount"
    return reply


def second_step(browser, code):
    return browser.post("/sessions/code", data={"code": code, "next": "/account"})


def test_codes_are_those_of_rfc_6238(session, clock, database):
    """Appendix B, SHA-1: the last six of its eight digits."""
    user = User.add(session, "ada", "reader", PASSWORD)
    factor = SecondFactor.begin(session, user, b"k" * 32)
    factor.sealed = second_factor._SEAL.sealed({"secret": SECRET}, str(user.id), b"k" * 32)
    session.flush()
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"),
                          (2000000000, "279037"), (20000000000, "353130")):  # fmt: skip
        clock(seconds)
        assert not factor.takes(session, user, "000000", b"k" * 32)
        assert factor.takes(session, user, code, b"k" * 32)
        assert not factor.takes(session, user, code, b"k" * 32), "a code is good once"


def test_a_code_is_good_half_a_minute_early_and_late_and_never_after_a_later_one(session, clock):
    user = User.add(session, "ada", "reader", PASSWORD)
    factor = SecondFactor.begin(session, user, b"k" * 32)
    app = pyotp.TOTP(factor.enrolment(user, b"k" * 32).secret)
    step = 40_000_000
    clock(step * 30 + 3)
    for far in (-2, 2):
        assert not factor.takes(session, user, app.generate_otp(step + far), b"k" * 32)
    for near in (-1, 0, 1):
        assert factor.takes(session, user, app.generate_otp(step + near), b"k" * 32)
        assert not factor.takes(session, user, app.generate_otp(step + near - 1), b"k" * 32)


def test_an_app_is_set_up_asked_for_and_removed_by_its_own_person(
    client, signed_in_as, session, clock
):
    clock(40_000_000 * 30 + 3)  # no half-minute ends while it runs
    ada, elsewhere = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ada")
    refused = ada.post("/account/second-step", data={"password": "a guess"})
    assert refused.status_code == 422 and "another one" in refused.text
    assert kinds(session) == []
    ada.post("/account/second-step", data={"password": PASSWORD})
    wrong = ada.post("/account/second-step/confirmation", data={"code": "000000"})
    assert wrong.status_code == 422 and "another one" in wrong.text
    assert first_sign_in(client, "ada") == "/account", "it counts once a code of it was typed"
    app, codes = enrol(ada)
    assert len(set(codes)) == 10
    assert elsewhere.get("/account").status_code == 303, "other sign-ins end"
    client.cookies.clear()
    first_step(client)
    assert client.get("/account").status_code == 303, "half a sign-in is none"
    assert 'autocomplete="one-time-code"' in client.get("/sessions/code").text
    again = app.at(second_factor.now())
    assert second_step(client, again).status_code == 401, "it confirmed the app: good once"
    assert second_step(client, codes[0].lower().replace("-", " ")).headers["location"] == "/account"
    assert "9 recovery codes left" in client.get("/account/second-step").text
    client.post("/sessions/deletion")
    first_step(client)
    assert second_step(client, codes[0]).status_code == 401, "a recovery code is good once"
    second_step(client, codes[1])
    renewed = client.post("/account/second-step/codes", data={"code": codes[2]})
    fresh = re.findall(r"<code>([A-Z2-9]{5}-[A-Z2-9]{5})</code>", renewed.text)
    assert client.post("/account/second-step/removal", data={"code": codes[3]}).status_code == 422
    assert client.post("/account/second-step/removal", data={"code": fresh[0]}).status_code == 303
    assert first_sign_in(client, "ada") == "/account"
    made, used = ("ada", "recovery codes made"), ("ada", "recovery code used")
    refusal = ("ada", "second step refused")
    assert kinds(session) == [
        ("ada", "second step set up"), made, refusal, used, refusal, used, used, made, used,
        ("ada", "second step removed"),
    ]  # fmt: skip
    assert session.scalar(sa.select(RecoveryCode)) is None


def first_sign_in(browser, name: str) -> str:
    form = {"name": name, "password": PASSWORD, "next": "/account"}
    return str(browser.post("/sessions", data=form).headers["location"])


def test_secrets_and_codes_are_not_in_the_database(signed_in_as, session, app):
    ada = signed_in_as("reader", name="ada")
    totp, codes = enrol(ada)
    [factor] = session.scalars(sa.select(SecondFactor))
    assert totp.secret.encode() not in factor.sealed
    hashes = set(session.scalars(sa.select(RecoveryCode.code_hash)))
    assert len(hashes) == 10 and not hashes & {one.replace("-", "") for one in codes}
    ada.post("/sessions/deletion")
    first_step(ada)
    app.state.turnstile._key = b"another installation's key, of 32 or more"
    reply = ada.post("/sessions", data={"name": "ada", "password": PASSWORD})
    assert second_step(ada, totp.now()).status_code == 500
    assert reply.status_code == 303


def test_tries_of_a_code_are_bounded_wherever_they_come_from(client, signed_in_as, app, session):
    ada = signed_in_as("reader", name="ada")
    _, codes = enrol(ada)
    for number in range(10):
        client.cookies.clear()
        headers = {"x-forwarded-for": f"192.0.2.{number}"}
        client.post("/sessions", data={"name": "ada", "password": PASSWORD}, headers=headers)
        wrong = client.post("/sessions/code", data={"code": "000000"}, headers=headers)
        assert wrong.status_code == 401
    blocked = second_step(client, codes[0])
    assert blocked.status_code == 429 and "with this password" in blocked.text
    assert ("ada", "second step refused") in kinds(session)
    ada.post("/sessions/deletion")
    first_step(ada)  # a browser that ada has signed in with before
    assert second_step(ada, codes[0]).status_code == 303
    user_id = User.require(session, "ada").id
    signed_in_as("admin").post(f"/users/{user_id}/unlocking")
    assert second_step(client, codes[1]).status_code == 303


def test_a_ticket_is_of_this_password_and_this_installation(client, signed_in_as, session):
    ada = signed_in_as("reader", name="ada")
    _, codes = enrol(ada)
    first_step(client)
    ticket = client.cookies["hepatica_second_step"]
    client.cookies.clear()
    for forged in ("", "x", ticket[:-1] + ("A" if ticket[-1] != "A" else "B"),
                   ticket.replace(".", ".9", 1)):  # fmt: skip
        client.cookies.set("hepatica_second_step", forged)
        assert second_step(client, codes[0]).status_code == 401
    admin = signed_in_as("admin")
    user_id = User.require(session, "ada").id
    admin.post(f"/users/{user_id}/password", data={"password": "battery staple"})
    client.cookies.clear()
    client.cookies.set("hepatica_second_step", ticket)
    refused = second_step(client, codes[0])
    assert refused.status_code == 401 and "Begin again" in refused.text


def test_an_administrator_resets_a_lost_phone(client, signed_in_as, session, monkeypatch, database):
    ada, admin = signed_in_as("reader", name="ada"), signed_in_as("admin")
    enrol(ada)
    user_id = User.require(session, "ada").id
    assert "Reset the second step" in admin.get(f"/users/{user_id}").text
    assert admin.post(f"/users/{user_id}/second-step/removal").status_code == 303
    assert ada.get("/account").status_code == 303, "signed out everywhere"
    assert first_sign_in(client, "ada") == "/account"
    assert admin.post(f"/users/{user_id}/second-step/removal").status_code == 409
    own = User.require(session, "admin").id
    assert admin.post(f"/users/{own}/second-step/removal").status_code == 409
    assert kinds(session)[-1] == ("admin", "second step reset")


def test_a_role_that_must_have_an_app_can_do_nothing_before(app, signed_in_as, session):
    app.state.settings.totp_roles = "admin,researcher"
    ada, reader = signed_in_as("researcher", name="ada"), signed_in_as("reader")
    assert reader.get("/cases").status_code == 200
    for page in ("/", "/cases", "/reader-studies", "/readings", "/docs/../cases"):
        assert ada.get(page).headers["location"] in ("/account/second-step", "/cases")
    for closed in ("/runs", "/fetches"):
        reply = ada.post(closed, data={}, headers={"accept": "application/json"})
        assert reply.status_code == 403 and "authenticator app first" in reply.json()["detail"]
    assert ada.get("/dicomweb/studies").status_code == 403
    page = ada.get("/account/second-step").text
    assert "The other pages open once it is set up" in page and 'aria-label="Main"' not in page
    enrol(ada)
    assert ada.get("/cases").status_code == 200
    told = session.scalars(sa.select(Event.kind).where(Event.actor == "ada")).all()
    assert told and "refused" not in told


def test_who_owes_a_password_is_not_told_that_a_second_step_is_demanded(signed_in_as, session):
    ada = signed_in_as("reader", name="ada")
    User.named(session, "ada").password_temporary = True
    session.commit()
    page = html.unescape(ada.get("/account/second-step").text)
    assert "asks people of your role" not in page
    assert "The other pages open once you have chosen one that only you know" in page
    assert 'href="/account">Choose a password' in page


def test_an_account_of_the_identity_provider_is_never_asked(app, client, session, database):
    app.state.settings.totp_roles = "reader"
    with database.transaction() as opened:
        user = User.add(opened, "ada", "reader", PASSWORD)
        SecondFactor.begin(opened, user, b"k" * 32).confirmed_at = second_factor.now()
        opened.flush()
        Identity.join(opened, user, "https://idp.example", "ada-1", "tests")
        cookie = SignIn.begin(opened, user, 1.0)
    client.cookies.set("hepatica_session", cookie)
    assert client.get("/cases").status_code == 200
    page = html.unescape(client.get("/account/second-step").text)
    assert "which asks for a second step" in page
    refused = client.post("/account/second-step", data={"password": ""})
    assert refused.status_code in (409, 422)
    assert session.scalar(sa.select(SecondFactor)) is None


def test_the_command_line_resets_too(tmp_path, monkeypatch, capsys):
    from app.db import Database
    from app.settings import settings

    monkeypatch.setenv("HEPATICA_DATABASE_URL", f"sqlite:///{tmp_path}/h.sqlite3")
    monkeypatch.setenv("HEPATICA_INSTALLATION_KEY", "k" * 32)
    settings.cache_clear()
    database = Database(f"sqlite:///{tmp_path}/h.sqlite3")
    database.migrate()
    with database.transaction() as session:
        user = User.add(session, "ada", "reader", PASSWORD)
        SecondFactor.begin(session, user, b"k" * 32).confirmed_at = second_factor.now()
    application(["key", "adopt"])
    assert "old key alone: 1. Reset each" in capsys.readouterr().out
    application(["user", "totp-reset", "ada"])
    assert "asked for no code" in capsys.readouterr().out
    with database.reading() as session:
        assert session.scalar(sa.select(SecondFactor)) is None
        [event] = session.scalars(sa.select(Event).where(Event.kind == "second step reset"))
        assert event.actor.startswith("command line: ")
    database.engine.dispose()
    settings.cache_clear()
