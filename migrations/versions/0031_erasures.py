"""erasures: a patient's data deleted everywhere, and what is left of what held them

Revision ID: 0031
Revises: 0030

A stored object whose bytes were erased keeps its name. A stimulus outlives the lesion that it was
cut for, as a look does.
"""

import re
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

import app.db

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_TO_LESION = "CONSTRAINT fk_stimulus_lesion_id_lesion FOREIGN KEY(lesion_id) REFERENCES lesion (id)"
_LEADS_THERE = re.compile(
    r",\s*CONSTRAINT fk_stimulus_lesion_id_lesion FOREIGN KEY\s*\(lesion_id\) "
    r'REFERENCES "?lesion"? \(id\)'
)
_ERASES = (
    "OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND length(NEW.data) = 0 "
    "AND NEW.digest = OLD.digest AND NEW.media_type = OLD.media_type AND NEW.size = OLD.size"
)
"""The one change of a stored object that is allowed: its bytes go, and that is noted."""


def upgrade() -> None:
    op.add_column("blob", sa.Column("erased_at", app.db.Moment(timezone=True), nullable=True))
    _refuse_change_of_blob(_ERASES)
    op.create_index("ix_image_pixels_digest", "image", ["pixels_digest"])
    op.create_index("ix_stimulus_pixels_digest", "stimulus", ["pixels_digest"])
    if _is_postgresql():
        op.drop_constraint(op.f("fk_stimulus_lesion_id_lesion"), "stimulus", type_="foreignkey")
    else:
        _make_stimulus_anew(lambda table: _LEADS_THERE.sub("", table))
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("asked_by", sa.String(length=100), nullable=False),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column("begun_at", app.db.Moment(timezone=True), nullable=False),
        sa.Column("ended_at", app.db.Moment(timezone=True), nullable=True),
        sa.Column("cases", sa.JSON(), nullable=False),
        sa.Column("studies", sa.JSON(), nullable=False),
        sa.Column("waiting", sa.JSON(), nullable=False),
        sa.Column("extent", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('patient','old cases','old pictures')", name="ck_erasure_kind"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
    )
    op.create_index("ix_erasure_begun_at", "erasure", ["begun_at"])
    op.create_index("ix_erasure_ended_at", "erasure", ["ended_at"])
    op.create_table(
        "dataset_remains",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("erased", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("archive_digest", sa.String(length=64), nullable=True),
        sa.Column("at", app.db.Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_version.id"],
            name="fk_dataset_remains_version_id_dataset_version",
        ),
        sa.ForeignKeyConstraint(
            ["archive_digest"], ["blob.digest"], name="fk_dataset_remains_archive_digest_blob"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_remains"),
        sa.UniqueConstraint("version_id", "number", name="uq_dataset_remains_version_id_number"),
    )  # fmt: skip
    for act in _KEPT_FROM if _is_postgresql() else _KEPT_FROM[:2]:
        _keep_remains_from(act)


def downgrade() -> None:
    gone = op.get_bind().scalar(
        sa.text("SELECT (SELECT count(*) FROM blob WHERE erased_at IS NOT NULL) + "
                "(SELECT count(*) FROM stimulus WHERE lesion_id IS NOT NULL AND lesion_id NOT IN "
                "(SELECT id FROM lesion))")
    )  # fmt: skip
    if gone:
        raise RuntimeError(
            f"{gone} stored objects or their sources were erased, which the older version cannot "
            "hold. Restore the backup that was made before this version instead, and delete again "
            "what was deleted since."
        )
    op.drop_table("dataset_remains")  # and its triggers with it
    if _is_postgresql():
        for act in _KEPT_FROM:
            op.execute(sa.text(f"DROP FUNCTION keep_dataset_remains_{act}()"))
    op.drop_index("ix_erasure_ended_at", table_name="erasure")
    op.drop_index("ix_erasure_begun_at", table_name="erasure")
    op.drop_table("erasure")
    if _is_postgresql():
        op.create_foreign_key(
            op.f("fk_stimulus_lesion_id_lesion"), "stimulus", "lesion", ["lesion_id"], ["id"]
        )
    else:
        _make_stimulus_anew(lambda table: f"{table.rstrip()[:-1]}, \n\t{_TO_LESION}\n)")
    op.drop_index("ix_stimulus_pixels_digest", table_name="stimulus")
    op.drop_index("ix_image_pixels_digest", table_name="image")
    _refuse_change_of_blob("")
    op.drop_column("blob", "erased_at")


_KEPT_FROM = ("update", "delete", "truncate")


def _keep_remains_from(act: str) -> None:
    """Let the database refuse an act on the table, as on every table whose rows stay."""
    words = f"A row of dataset_remains is never {act}d."
    name = f"keep_dataset_remains_{act}"
    if not _is_postgresql():
        op.execute(
            sa.text(
                f"CREATE TRIGGER {name} BEFORE {act.upper()} ON dataset_remains "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        )
        return
    op.execute(
        sa.text(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = 'restrict_violation'; END $$"
        )
    )
    each = "STATEMENT" if act == "truncate" else "ROW"
    op.execute(
        sa.text(
            f"CREATE TRIGGER {name} BEFORE {act.upper()} ON dataset_remains "
            f"FOR EACH {each} EXECUTE FUNCTION {name}()"
        )
    )


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _refuse_change_of_blob(but: str) -> None:
    """The trigger of 0009, with what it lets pass."""
    words = "A row of blob is never updated."
    if _is_postgresql():
        passes = f"IF {but} THEN RETURN NEW; END IF; " if but else ""
        op.execute(
            sa.text(
                "CREATE OR REPLACE FUNCTION keep_blob_update() RETURNS trigger LANGUAGE plpgsql "
                f"AS $$ BEGIN {passes}RAISE EXCEPTION '{words}' USING ERRCODE = "
                "'restrict_violation'; END $$"
            )
        )
        return
    op.execute(sa.text("DROP TRIGGER keep_blob_update"))
    when = f"WHEN NOT ({but})" if but else ""
    op.execute(
        sa.text(
            f"CREATE TRIGGER keep_blob_update BEFORE UPDATE ON blob {when} "
            f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
        )
    )


def _make_stimulus_anew(changed: Callable[[str], str]) -> None:
    """SQLite: the table with other constraints, its indexes and triggers as they were.

    Its checks would be lost by ``batch_alter_table``.
    """
    connection = op.get_bind()
    kept = "SELECT type, sql FROM sqlite_master WHERE tbl_name = 'stimulus' AND sql IS NOT NULL"
    rows = connection.execute(sa.text(kept)).all()
    [table] = [row.sql for row in rows if row.type == "table"]
    anew = changed(table)
    if anew == table:
        raise RuntimeError("The table stimulus is not as the revision before this one left it.")
    connection.exec_driver_sql(f"CREATE TABLE stimulus_anew ({anew.partition('(')[2]}")
    connection.exec_driver_sql("INSERT INTO stimulus_anew SELECT * FROM stimulus")
    connection.exec_driver_sql("DROP TABLE stimulus")
    connection.exec_driver_sql("ALTER TABLE stimulus_anew RENAME TO stimulus")
    for row in rows:
        if row.type != "table":
            connection.exec_driver_sql(row.sql)
