"""People's accounts: passwords, roles, who did what to whom."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

import studies
from app.db import Database
from app.errors import Conflict, Unreadable
from app.models import ApiToken, Event, Tally, User
from app.models.people.tally import Origin
from app.models.people.user import hashed

PASSWORD = "correct horse"


def told(session, kind: str) -> list[tuple[str, str]]:
    """(actor, subject) of the events of a kind."""
    rows = session.execute(sa.select(Event.actor, Event.subject).where(Event.kind == kind))
    return [tuple(row) for row in rows]


def sign_in(client, name: str, password: str) -> int:
    return client.post("/sessions", data={"name": name, "password": password}).status_code


# -- refusals -------------------------------------------------------------------------------------


def test_the_last_administrator_stays_one(session, signed_in_as):
    boss = signed_in_as("admin", name="boss")
    boss_id = User.require(session, "boss").id
    reply = boss.post(f"/users/{boss_id}/role", data={"role": "reader"})
    assert reply.status_code == 409
    assert "only administrator who can sign in" in reply.text
    other = studies.make_user(session, "other", "admin")
    session.commit()
    assert boss.post(f"/users/{other.id}/disabling").status_code == 303
    assert boss.post(f"/users/{boss_id}/role", data={"role": "reader"}).status_code == 409
    assert boss.post(f"/users/{other.id}/enabling").status_code == 303
    assert boss.post(f"/users/{boss_id}/role", data={"role": "reader"}).status_code == 303
    assert boss.get("/users").status_code == 403  # from the next click on


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_administrators_who_demote_each_other_leave_one(tmp_path, request, kind):
    url = f"sqlite:///{tmp_path}/two.sqlite3"
    database = Database(url if kind == "sqlite" else request.getfixturevalue("postgres"))
    database.migrate()
    with database.transaction() as session:
        for name in ("ada", "bea"):
            User.add(session, name, "admin", PASSWORD)
    barrier, refused = threading.Barrier(2), []

    def demote(name: str) -> None:
        barrier.wait()
        try:
            with database.transaction() as session:
                User.require(session, name).set_role(session, "reader", "the other")
        except Conflict:
            refused.append(name)

    threads = [threading.Thread(target=demote, args=(name,)) for name in ("ada", "bea")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        left = [user.name for user in User.everyone(session) if user.role == "admin"]
    assert left == refused
    assert len(left) == 1
    database.engine.dispose()


def test_a_password_that_is_too_short_or_too_long_is_refused(session):
    ada = studies.make_user(session, "ada")
    before = ada.password_hash
    for password in ("seven77", "x" * 1001):
        with pytest.raises(Unreadable, match="password is too"):
            hashed(password)
        with pytest.raises(Unreadable, match="password is too"):
            User.add(session, "bea", "reader", password)
    assert ada.password_hash == before


def test_only_administrators_see_accounts_and_change_others(session, signed_in_as):
    ada = studies.make_user(session, "ada")
    session.commit()
    eve = signed_in_as("researcher", name="eve")
    for act in ("password", "role", "disabling", "enabling"):
        reply = eve.post(f"/users/{ada.id}/{act}", data={"password": "a new one", "role": "admin"})
        assert reply.status_code == 403
    assert eve.get(f"/users/{ada.id}").status_code == 403
    session.expire_all()
    assert (ada.role, ada.disabled_at) == ("reader", None)
    assert len(told(session, "refused")) == 5


def test_ones_own_password_is_changed_with_the_old_one_only(session, signed_in_as, client):
    ada = signed_in_as("reader", name="ada")
    new = {"new": "battery staple", "again": "battery staple"}
    for form, words in (
        ({"old": "wrong horse", **new}, "The old password is another one"),
        ({"old": PASSWORD, "new": "battery staple", "again": "battery stapler"}, "differ"),
        ({"old": PASSWORD, "new": "short", "again": "short"}, "too short"),
    ):
        reply = ada.post("/account/password", data=form)
        assert reply.status_code == 422
        assert words in reply.text
    assert sign_in(client, "ada", PASSWORD) == 303
    assert told(session, "password changed") == []


def test_a_browser_left_open_is_no_place_to_guess_the_password(session, signed_in_as):
    ada = signed_in_as("reader", name="ada")
    form = {"old": "a guess", "new": "battery staple", "again": "battery staple"}
    replies = [ada.post("/account/password", data=form).status_code for _ in range(11)]
    assert replies == [422] * 10 + [429]
    right = {**form, "old": PASSWORD}
    assert ada.post("/account/password", data=right).status_code == 429


def test_what_is_so_already_is_no_event(session, signed_in_as):
    boss = signed_in_as("admin", name="boss")
    signed_in_as("reader", name="ada")
    ada = User.require(session, "ada")
    for verb, form in (("role", {"role": "researcher"}), ("disabling", {}), ("enabling", {})):
        for _ in range(2):
            assert boss.post(f"/users/{ada.id}/{verb}", data=form).status_code == 303
    for kind in ("role changed", "account disabled", "account enabled"):
        assert len(told(session, kind)) == 1


def test_an_administrator_does_not_go_round_their_own_old_password(session, signed_in_as):
    boss = signed_in_as("admin", name="boss")
    boss_id = User.require(session, "boss").id
    reply = boss.post(f"/users/{boss_id}/password", data={"password": "battery staple"})
    assert reply.status_code == 409
    assert "/account" in reply.text


# -- what works, and what is told of it -----------------------------------------------------------


def test_a_changed_password_ends_the_other_sign_ins_and_is_an_event(session, signed_in_as, client):
    here, elsewhere = signed_in_as("reader", name="ada"), signed_in_as("reader", name="ada")
    form = {"old": PASSWORD, "new": "battery staple", "again": "battery staple"}
    assert here.post("/account/password", data=form).status_code == 303
    assert here.get("/cases").status_code == 200
    assert elsewhere.get("/cases").status_code == 303
    assert sign_in(client, "ada", PASSWORD) == 401
    assert sign_in(client, "ada", "battery staple") == 303
    ada = User.require(session, "ada")
    assert told(session, "password changed") == [("ada", str(ada.id))]


def test_a_reset_by_an_administrator_ends_every_sign_in_and_names_who_did_it(
    session, signed_in_as, client
):
    boss, ada = signed_in_as("admin", name="boss"), signed_in_as("reader", name="ada")
    ada_id = User.require(session, "ada").id
    short = boss.post(f"/users/{ada_id}/password", data={"password": "short"})
    assert (short.status_code, "too short" in short.text) == (422, True)
    new = {"password": "battery staple"}
    assert boss.post(f"/users/{ada_id}/password", data=new).status_code == 303
    assert ada.get("/cases").status_code == 303
    assert sign_in(client, "ada", "battery staple") == 303
    assert told(session, "password reset") == [("boss", str(ada_id))]
    for page in ("/cases", "/", "/readings"):
        assert client.get(page).headers["location"] == "/account", "the reset one is temporary"
    assert client.post("/datasets").status_code == 403
    same = {"old": "battery staple", "new": "battery staple", "again": "battery staple"}
    assert "is the old one" in client.post("/account/password", data=same).text
    other = {**same, "new": "staple battery", "again": "staple battery"}
    assert client.post("/account/password", data=other).status_code == 303
    assert client.get("/cases").status_code == 200
    assert told(session, "password changed") == [("ada", str(ada_id))]


def test_where_a_person_is_signed_in_is_seen_and_ended_by_them_and_by_an_administrator(
    session, signed_in_as, client
):
    boss, ada = signed_in_as("admin", name="boss"), signed_in_as("reader", name="ada")
    ada_id = User.require(session, "ada").id
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0"
    other = signed_in_as("reader", name="ada")
    form = {"name": "ada", "password": PASSWORD}
    other.post("/sessions", data=form, headers={"user-agent": firefox})
    shown = ada.get("/account").text
    assert "Firefox on Linux" in shown and "this one" in shown and "testclient" not in shown
    assert ada.post("/account/sign-ins/deletion").status_code == 303
    assert other.get("/account").status_code == 303
    assert ada.get("/account").status_code == 200
    assert "Sign them out everywhere" in boss.get(f"/users/{ada_id}").text
    assert boss.post(f"/users/{ada_id}/sign-ins/deletion").status_code == 303
    assert ada.get("/account").status_code == 303
    own = User.require(session, "boss").id
    assert boss.post(f"/users/{own}/sign-ins/deletion").status_code == 409
    assert told(session, "sign-ins ended") == [("ada", str(ada_id)), ("boss", str(ada_id))]


def test_tokens_are_seen_and_revoked_by_their_owner_and_by_an_administrator(
    session, signed_in_as, database
):
    boss, ada, eve = (
        signed_in_as(role, name=name)
        for role, name in (("admin", "boss"), ("reader", "ada"), ("researcher", "eve"))
    )
    with database.transaction() as opened:
        person = User.require(opened, "ada")
        for name in ("viewer", "script"):
            ApiToken.add(opened, name, "reader", owner=person, days=30)
        ApiToken.add(opened, "station", "machine")
    ids = {one.name: one.id for one in session.scalars(sa.select(ApiToken))}
    assert "viewer" in ada.get("/account").text and "station" not in ada.get("/account").text
    assert eve.post(f"/tokens/{ids['viewer']}/revocation").status_code == 404
    assert ada.post(f"/tokens/{ids['station']}/revocation").status_code == 404
    back = {"back": "/tokens"}
    gone = ada.post(f"/tokens/{ids['viewer']}/revocation", data=back)
    assert gone.headers["location"] == "/account"
    listed = boss.get("/tokens").text
    assert all(name in listed for name in ids) and "revoked" in listed and "never" in listed
    gone = boss.post(f"/tokens/{ids['station']}/revocation", data=back)
    assert gone.headers["location"] == "/tokens"
    page = f"/users/{person.id}"
    gone = boss.post(f"/tokens/{ids['script']}/revocation", data={"back": page})
    assert gone.headers["location"] == page
    assert told(session, "token revoked") == [
        ("ada", str(ids["viewer"])), ("boss", str(ids["station"])), ("boss", str(ids["script"])),
    ]  # fmt: skip


def test_guessing_that_was_noticed_stands_above_the_people(session, signed_in_as, app, database):
    boss = signed_in_as("admin", name="boss")
    assert "Passwords were tried" not in boss.get("/users").text
    places = [Origin(f"198.51.100.{n}", f"198.51.100.{n}") for n in range(40)]
    for number, origin in enumerate(places):
        with database.transaction() as opened:
            Tally.claim(opened, app.state.key, f"nobody{number}", origin)
            Tally.tell(opened, app.state.key, None, f"nobody{number}", origin)
    shown = boss.get("/users").text
    assert "Passwords were tried on many names, once in 7 days" in shown
    assert "from many places" in shown


def test_a_name_that_differs_in_capitals_alone_is_taken(session, signed_in_as):
    boss = signed_in_as("admin", name="boss")
    for name in ("Boss", "boss"):
        form = {"name": name, "role": "reader", "password": "long enough"}
        reply = boss.post("/users", data=form)
        assert reply.status_code == 409 and "already an account named" in reply.text
    assert [one.name for one in User.everyone(session)] == ["boss"]


def test_whoever_makes_or_changes_an_account_is_its_events_actor(session, signed_in_as):
    boss = signed_in_as("admin", name="boss")
    form = {"name": "ada", "role": "reader", "password": PASSWORD}
    assert boss.post("/users", data=form).status_code == 303
    ada = User.require(session, "ada")
    url = f"/users/{ada.id}"
    assert boss.post(f"{url}/role", data={"role": "researcher"}).status_code == 303
    assert boss.post(f"{url}/disabling").status_code == 303
    assert boss.post(f"{url}/enabling").status_code == 303
    for kind in ("role changed", "account disabled", "account enabled"):
        assert told(session, kind) == [("boss", str(ada.id))], kind
    assert ("boss", str(ada.id)) in told(session, "account made")
    session.expire_all()
    assert ada.role == "researcher"


def test_the_pages_of_people_lead_where_things_are_done(session, signed_in_as):
    boss = signed_in_as("admin", name="boss")
    ada = studies.make_user(session, "ada")
    session.commit()
    listed = boss.get("/users").text
    assert f'href="/users/{ada.id}"' in listed
    assert 'href="/account"' in listed
    shown = boss.get(f"/users/{ada.id}").text
    for act in ("password", "role", "disabling"):
        assert f'action="/users/{ada.id}/{act}"' in shown
    assert boss.get("/users/00000000-0000-0000-0000-000000000000").status_code == 404
