"""Signing in, roles, the Origin check."""

from __future__ import annotations

from app.models import Event, SignIn, User
from app.models.user import digest_of


def test_a_wrong_password_is_refused_and_recorded(client, database, session):
    with database.transaction() as opened:
        User.add(opened, "ada", "reader", "correct horse")
    reply = client.post("/sessions", data={"name": "ada", "password": "wrong horse"})
    assert reply.status_code == 401
    assert "do not fit together" in reply.text
    assert 'value="ada"' in reply.text  # what was typed stays
    assert "hepatica_session" not in reply.cookies
    assert Event.count_recent(session, "ada", "sign-in refused", 1) == 1


def test_the_eleventh_failure_makes_the_name_wait(client, database):
    with database.transaction() as opened:
        User.add(opened, "ada", "reader", "correct horse")
    for _ in range(10):
        client.post("/sessions", data={"name": "ada", "password": "wrong horse"})
    reply = client.post("/sessions", data={"name": "ada", "password": "correct horse"})
    assert reply.status_code == 429
    assert "Wait 15 minutes" in reply.text


def test_pages_ask_for_a_sign_in_and_lead_back(client):
    reply = client.get("/cases?filter=awaiting")
    assert reply.status_code == 303
    assert reply.headers["location"] == "/sessions/new?next=%2Fcases%3Ffilter%3Dawaiting"


def test_a_sign_in_never_leads_to_another_site(client, database):
    with database.transaction() as opened:
        User.add(opened, "ada", "reader", "correct horse")
    form = {"name": "ada", "password": "correct horse", "next": "//evil.example/cases"}
    reply = client.post("/sessions", data=form)
    assert reply.headers["location"] == "/cases"


def test_a_write_from_another_origin_is_refused(signed_in_as):
    browser = signed_in_as("admin")
    form = {"name": "eve", "role": "admin", "password": "long enough"}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}):
        assert browser.post("/users", data=form, headers=headers).status_code == 403
    del browser.headers["origin"]
    assert browser.post("/users", data=form).status_code == 403
    same_site = {"sec-fetch-site": "same-origin"}
    assert browser.post("/users", data=form, headers=same_site).status_code == 303


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


def test_signing_out_ends_the_session_on_the_server(signed_in_as):
    browser = signed_in_as("reader")
    secret = browser.cookies["hepatica_session"]
    assert browser.post("/sessions/deletion").status_code == 303
    browser.cookies.set("hepatica_session", secret)
    assert browser.get("/cases").status_code == 303


def test_a_disabled_account_is_signed_out_at_once(signed_in_as, session):
    admin, reader = signed_in_as("admin"), signed_in_as("reader", name="ada")
    user_id = User.require(session, "ada").id
    session.expire_all()
    assert admin.post(f"/users/{user_id}/disabling").status_code == 303
    assert reader.get("/cases").status_code == 303
    assert admin.post(f"/users/{User.require(session, 'admin').id}/disabling").status_code == 409


def test_every_answer_carries_the_protective_headers(client):
    for path in ("/sessions/new", "/nowhere", "/health/live", "/static/css/base.css"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
