"""the audit trail becomes a chain: an entry for every event

Revision ID: 0026
Revises: 0025
"""

import hashlib
import json
import uuid
from datetime import UTC

import sqlalchemy as sa
from alembic import op

from app.db import Moment, now

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_ACTS = ("update", "delete")


def upgrade() -> None:
    op.create_table(
        "trail_entry",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_trail_entry_event_id_event")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_trail_entry")),
        sa.UniqueConstraint("number", name=op.f("uq_trail_entry_number")),
    )
    op.create_table(
        "trail_receiver",
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("held_by", sa.String(length=100), nullable=False),
        sa.Column("held_until", Moment(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_trail_receiver")),
    )
    _enter()
    for act in _ACTS if _is_sqlite() else (*_ACTS, "truncate"):
        _refuse(act)


def _enter() -> None:
    """What was written before: in the order of its moments.

    After a way down and up it may be another order than it was, and the seals of then fit no more.
    """
    connection, before, number = op.get_bind(), b"\0" * 32, 0
    event = sa.table(
        "event",
        sa.column("id", sa.Uuid()),
        sa.column("at", Moment()),
        sa.column("actor"),
        sa.column("kind"),
        sa.column("subject"),
        sa.column("detail", sa.JSON()),
    )
    entry = sa.table(
        "trail_entry",
        sa.column("number", sa.Integer()),
        sa.column("event_id", sa.Uuid()),
        sa.column("digest", sa.LargeBinary()),
    )
    sealed = event.c.kind == "trail sealed"
    if connection.scalar(sa.select(event.c.id).where(sealed).limit(1)) is not None:
        connection.execute(
            event.insert().values(
                id=uuid.uuid4(),
                at=now(),
                actor="installation",
                kind="trail begun anew",
                subject="",
                detail={},
            )
        )
    rows = connection.execute(sa.select(event).order_by(event.c.at, event.c.id)).all()
    for start in range(0, len(rows), 1000):
        entries = []
        for id, at, actor, kind, subject, detail in rows[start : start + 1000]:
            moment = at.astimezone(UTC).isoformat(timespec="microseconds")
            text = json.dumps(
                [str(id), moment, actor, kind, subject, detail],
                sort_keys=True,
                separators=(",", ":"),
            )
            before, number = hashlib.sha256(before + text.encode()).digest(), number + 1
            entries.append({"number": number, "event_id": id, "digest": before})
        connection.execute(entry.insert(), entries)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _refuse(act: str) -> None:
    """Let the database refuse an act on the table, as on every table whose rows stay."""
    words = f"A row of trail_entry is never {act}d."
    if _is_sqlite():
        op.execute(
            sa.text(
                f"CREATE TRIGGER keep_trail_entry_{act} BEFORE {act.upper()} ON trail_entry "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        )
        return
    op.execute(
        sa.text(
            f"CREATE FUNCTION keep_trail_entry_{act}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = 'restrict_violation'; END $$"
        )
    )
    each = "STATEMENT" if act == "truncate" else "ROW"
    op.execute(
        sa.text(
            f"CREATE TRIGGER keep_trail_entry_{act} BEFORE {act.upper()} ON trail_entry "
            f"FOR EACH {each} EXECUTE FUNCTION keep_trail_entry_{act}()"
        )
    )


def downgrade() -> None:
    op.drop_table("trail_receiver")
    op.drop_table("trail_entry")  # and its triggers with it
    if not _is_sqlite():
        for act in (*_ACTS, "truncate"):
            op.execute(sa.text(f"DROP FUNCTION keep_trail_entry_{act}()"))
