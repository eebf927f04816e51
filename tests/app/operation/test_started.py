"""A start of the server and a change of its settings are events; a secret is in neither."""

from __future__ import annotations

import sqlalchemy as sa

from app.models import Event
from app.operation import started
from app.settings import Settings

SECRET = "a secret that nobody may read in the trail"


def rows(session) -> list[tuple[str, dict]]:
    kinds = (started.STARTED, started.CHANGED)
    found = sa.select(Event.kind, Event.detail).where(Event.kind.in_(kinds)).order_by(Event.at)
    return [tuple(row) for row in session.execute(found)]


def test_a_setting_that_is_another_than_at_the_last_start_is_told(session):
    first = Settings(session_hours=8, pacs="")
    started.record(session, first, "command line: root")
    started.record(session, first, "command line: root")
    started.record(session, first.model_copy(update={"session_hours": 24.0}), "eve")
    session.flush()
    assert [kind for kind, _ in rows(session)] == [
        "server started", "server started", "settings changed", "server started",
    ]  # fmt: skip
    assert rows(session)[2][1] == {
        "settings": {"session_hours": {"before": "8.0", "after": "24.0"}}
    }


def test_no_secret_is_told():
    told = started.told(
        Settings(
            installation_key=SECRET,
            database_url=f"postgresql+psycopg://ada:{SECRET.replace(' ', '')}@db/hepatica",
            pacs=f'[{{"name": "main", "url": "https://pacs", "token": "{SECRET}"}}]',
        )
    )
    assert SECRET not in str(told) and SECRET.replace(" ", "") not in str(told)
    assert told["pacs"].startswith("SHA-256 ") and "ada" in told["database_url"]


def test_every_setting_that_sounds_like_a_secret_is_held_back_or_harmless():
    """Whoever adds a setting decides here whether the trail may hold it."""
    sound = ("key", "secret", "password", "token")
    named = {name for name in Settings.model_fields if any(word in name for word in sound)}
    files = {"installation_key_file", "oidc_client_secret_file"}  # where it is, not what it is
    assert named == files | {"installation_key", "token_cache_s"}
