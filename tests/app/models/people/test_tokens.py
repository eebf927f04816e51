"""API tokens: whose they are, how long they are good, when they were used."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

import studies
from app.db import now
from app.errors import Conflict, Unreadable
from app.models import ApiToken, Event


@pytest.fixture
def ada(session):
    made = studies.make_user(session, "ada")
    session.commit()
    return made


@pytest.fixture
def ask(app, client):
    """The status that a program with this token gets, asked for anew each time."""
    app.state.tokens._keep_s = 0.0

    def asked(secret: str) -> int:
        reply = client.get("/api/v1/info", headers={"authorization": f"Bearer {secret}"})
        return reply.status_code

    return asked


def the(session, name: str) -> ApiToken:
    session.expire_all()
    return session.scalars(sa.select(ApiToken).where(ApiToken.name == name)).one()


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["reader", "researcher", "admin"])
def test_a_token_that_acts_for_a_person_needs_its_person(session, role):
    with pytest.raises(Unreadable, match="--owner NAME"):
        ApiToken.add(session, "laptop", role)


def test_a_token_may_no_more_than_its_owner(session, ada):
    with pytest.raises(Conflict, match="ada is reader"):
        ApiToken.add(session, "laptop", "researcher", owner=ada)
    studies.make_user(session, "boss", "admin")
    ada.set_role(session, "admin", "boss")
    session.flush()
    ApiToken.add(session, "laptop", "admin", owner=ada)
    assert the(session, "laptop").reach == "admin"
    ada.set_role(session, "reader", "boss")
    session.flush()
    assert the(session, "laptop").reach == "reader"


@pytest.mark.parametrize("days", [0, -1, 1e9, float("nan")])
def test_a_time_that_cannot_be_is_refused(session, days):
    with pytest.raises(Unreadable, match="days"):
        ApiToken.add(session, "pacs", "machine", days=days)


def test_a_token_ends_with_its_time_with_its_owner_and_when_revoked(session, ada, ask):
    secrets = {
        name: ApiToken.add(session, name, role, owner=owner)
        for name, role, owner in (
            ("expired", "machine", None),
            ("laptop", "reader", ada),
            ("revoked", "machine", None),
            ("good", "machine", None),
        )
    }
    session.commit()
    assert [ask(secret) for secret in secrets.values()] == [200] * 4
    the(session, "expired").expires_at = now() - timedelta(seconds=1)
    ada.disable(session, "boss")
    ApiToken.revoke(session, "revoked", by="boss")
    session.commit()
    assert [ask(secret) for secret in secrets.values()] == [401, 401, 401, 200]
    states = {row.name: row.state for row in ApiToken.all(session)}
    assert states == {
        "expired": "expired", "laptop": "owner disabled", "revoked": "revoked", "good": "good",
    }  # fmt: skip
    ada.enable(session, "boss")
    session.commit()
    assert ask(secrets["laptop"]) == 200


def test_a_persons_token_from_before_tokens_had_owners_is_dead(session, ada, ask):
    secret = ApiToken.add(session, "laptop", "reader", owner=ada)
    session.commit()
    the(session, "laptop").owner_id = None
    session.commit()
    assert ask(secret) == 401
    assert the(session, "laptop").state == "no owner"


def test_nobody_may_own_a_token_who_cannot_sign_in(session, ada):
    ada.disable(session, "boss")
    with pytest.raises(Conflict, match="disabled"):
        ApiToken.add(session, "laptop", "reader", owner=ada)


# -- what works -----------------------------------------------------------------------------------


def test_a_machine_needs_no_owner_and_no_end(session, ask):
    secret = ApiToken.add(session, "my-pacs", "machine")
    session.commit()
    assert ask(secret) == 200


def test_a_token_with_days_is_good_for_so_long(session):
    ApiToken.add(session, "visitor", "machine", days=30)
    left = the(session, "visitor").expires_at - now()
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_the_last_use_is_kept_and_written_at_most_once_an_hour(session, ask):
    secret = ApiToken.add(session, "my-pacs", "machine")
    session.commit()
    assert the(session, "my-pacs").last_used_at is None
    ask(secret)
    first = the(session, "my-pacs").last_used_at
    assert first is not None
    ask(secret)
    assert the(session, "my-pacs").last_used_at == first
    the(session, "my-pacs").last_used_at = first - timedelta(hours=2)
    session.commit()
    ask(secret)
    assert the(session, "my-pacs").last_used_at >= first


def test_who_makes_and_revokes_a_token_is_its_events_actor(session, ada):
    ApiToken.add(session, "laptop", "reader", owner=ada, days=7, by="boss")
    ApiToken.revoke(session, "laptop", by="eve")
    rows = session.scalars(sa.select(Event).where(Event.kind.startswith("token")))
    told = {row.kind: (row.actor, row.subject, row.detail) for row in rows}
    token = str(the(session, "laptop").id)
    made = {"name": "laptop", "role": "reader", "owner": "ada", "days": 7}
    assert told == {
        "token made": ("boss", token, made),
        "token revoked": ("eve", token, {"name": "laptop"}),
    }
