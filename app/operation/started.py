"""That the server was started, with which version and which settings: events of the audit trail."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.models.ground.event import Event
from app.settings import VERSION, Settings

STARTED = "server started"
CHANGED = "settings changed"

_SECRET = frozenset({"installation_key"})
"""Settings of which nothing is kept; whether the key is another is told when it is confirmed."""
_DIGESTED = frozenset({"pacs"})
"""Settings that may hold a secret: a digest tells whether they are others."""


def told(settings: Settings) -> dict[str, str]:
    """Each setting as the trail may hold it."""
    found = {}
    for name, value in settings.model_dump().items():
        if name in _SECRET or value is None:
            continue
        text = str(value)
        if name in _DIGESTED and text:
            text = f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
        elif name == "database_url":
            text = sa.make_url(text).render_as_string(hide_password=True)
        found[name] = text
    return found


def record(session: Session, settings: Settings, by: str) -> None:
    """Write down a start, and which settings are others than at the last one."""
    last = session.scalars(
        sa.select(Event).where(Event.kind == STARTED).order_by(Event.at.desc()).limit(1)
    ).first()
    settings_now = told(settings)
    before = settings_now if last is None else last.detail["settings"]
    others = {
        name: {"before": before.get(name), "after": settings_now.get(name)}
        for name in sorted(before.keys() | settings_now.keys())
        if before.get(name) != settings_now.get(name)
    }
    if others:
        Event.record(session, by, CHANGED, settings=others)
    Event.record(session, by, STARTED, VERSION, settings=settings_now)
