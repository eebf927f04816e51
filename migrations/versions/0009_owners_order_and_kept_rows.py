"""owners, the order of rows by number, rows that the database itself keeps, tokens of persons

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

import app.db

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NUMBERED = {
    "conduct": ("enrolment_id", "at"),
    "leak_audit": ("study_id", "at"),
    "prediction": ("lesion_id", "created_at"),
}
"""table → (the rows that are numbered together, the moment they are numbered by for once)"""

OPENED = "SELECT 1 FROM protocol WHERE protocol.study_id = OLD.study_id"
OPENED_FOR = (
    "SELECT 1 FROM protocol JOIN enrolment ON enrolment.study_id = protocol.study_id "
    "WHERE enrolment.id = OLD.enrolment_id"
)
KEPT = {
    "analysis": "",
    "conduct": OPENED_FOR,  # a draft may be deleted with what belongs to it
    "dataset_version": "",
    "event": "",
    "leak_audit": OPENED,
    "protocol": "",
    "reading": "",
    "review": "SELECT 1 FROM lesion WHERE lesion.id = OLD.lesion_id",  # goes with its case
    "stimulus": "",
    "trial": "",
    "unblinding": "",
    "withdrawal": OPENED_FOR,
}
"""table whose rows are never changed → while what exists they are not deleted; empty: ever"""


def upgrade() -> None:
    _add_owners()
    _add_numbers()
    _add_token_columns()
    _add_serving()
    _speed_up()
    for table, condition in KEPT.items():
        _keep(table, condition)
    # bytes are stored under their own digest: others in their place are never right
    _refuse("blob", "update", "")


def downgrade() -> None:
    _let_go("blob", "update")
    for table in KEPT:
        for act in ("update", "delete"):
            _let_go(table, act)
        if _is_postgresql():
            _let_go(table, "truncate")
    for name in ("standing", "unreviewed"):
        op.drop_index(f"ix_lesion_{name}", table_name="lesion")
    with op.batch_alter_table("lesion") as batch_op:
        batch_op.drop_column("reviewed")
    op.drop_index("ix_stimulus_study_id_lesion_id", table_name="stimulus")
    with op.batch_alter_table("checkpoint") as batch_op:
        batch_op.drop_index(op.f("ix_checkpoint_run_id"))
        batch_op.drop_constraint(op.f("fk_checkpoint_run_id_run"), type_="foreignkey")
        batch_op.drop_column("run_id")
        batch_op.drop_column("served_number")
    with op.batch_alter_table("api_token") as batch_op:
        batch_op.drop_index(op.f("ix_api_token_owner_id"))
        batch_op.drop_constraint(op.f("fk_api_token_owner_id_user"), type_="foreignkey")
        for column in ("owner_id", "expires_at", "last_used_at"):
            batch_op.drop_column(column)
    op.drop_index("uq_review_first", table_name="review")
    for table, within in {"review": "lesion_id", **{k: v[0] for k, v in NUMBERED.items()}}.items():
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_constraint(op.f(f"uq_{table}_{within}_number"), type_="unique")
            batch_op.drop_column("number")
    for table in ("run", "reader_study"):
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_index(op.f(f"ix_{table}_owner_id"))
            batch_op.drop_constraint(op.f(f"fk_{table}_owner_id_user"), type_="foreignkey")
            batch_op.drop_column("owner_id")


# -- columns --------------------------------------------------------------------------------------


def _add_owners() -> None:
    for table, maker in (("reader_study", "made_by_id"), ("run", "queued_by_id")):
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(sa.Column("owner_id", sa.Uuid(), nullable=True))
        op.execute(sa.text(f"UPDATE {table} SET owner_id = {maker}"))  # noqa: S608
        with op.batch_alter_table(table) as batch_op:
            batch_op.alter_column("owner_id", existing_type=sa.Uuid(), nullable=False)
            batch_op.create_foreign_key(
                op.f(f"fk_{table}_owner_id_user"), "user", ["owner_id"], ["id"]
            )
            batch_op.create_index(op.f(f"ix_{table}_owner_id"), ["owner_id"])


def _add_numbers() -> None:
    for table, (within, moment) in NUMBERED.items():
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(sa.Column("number", sa.Integer(), nullable=True))
        op.execute(
            sa.text(
                f"UPDATE {table} SET number = (SELECT place FROM (SELECT id, row_number() OVER "  # noqa: S608
                f"(PARTITION BY {within} ORDER BY {moment}, id) AS place FROM {table}) AS placed "
                f"WHERE placed.id = {table}.id)"
            )
        )
        _require_number(table, within)
    with op.batch_alter_table("review") as batch_op:
        batch_op.add_column(sa.Column("number", sa.Integer(), nullable=True))
    _number_reviews()
    _require_number("review", "lesion_id")
    op.create_index(
        "uq_review_first",
        "review",
        ["lesion_id", "by_id"],
        unique=True,
        sqlite_where=sa.text("supersedes_id IS NULL"),
        postgresql_where=sa.text("supersedes_id IS NULL"),
    )


def _require_number(table: str, within: str) -> None:
    with op.batch_alter_table(table) as batch_op:
        batch_op.alter_column("number", existing_type=sa.Integer(), nullable=False)
        batch_op.create_unique_constraint(op.f(f"uq_{table}_{within}_number"), [within, "number"])


def _number_reviews() -> None:
    """Number the reviews of each lesion: by their moment, but none before the one it supersedes.

    Two that one person gave at the same time both began a chain; the later one becomes the end.
    """
    review = sa.table(
        "review",
        *(sa.column(name, sa.Uuid()) for name in ("id", "lesion_id", "by_id", "supersedes_id")),
        sa.column("created_at", app.db.Moment()),
        sa.column("number", sa.Integer()),
    )
    connection = op.get_bind()
    rows = connection.execute(
        sa.select(review).order_by(review.c.lesion_id, review.c.created_at, review.c.id)
    ).all()
    numbers: dict[object, int] = {}
    ends: dict[tuple[object, object], object] = {}
    waiting = list(rows)
    placed: set[object] = set()
    while waiting:
        left = []
        for row in waiting:
            if row.supersedes_id is not None and row.supersedes_id not in placed:
                left.append(row)
                continue
            whose = (row.lesion_id, row.by_id)
            values: dict[str, object] = {}
            if row.supersedes_id is None and whose in ends:
                if any(one.supersedes_id == ends[whose] for one in waiting):
                    left.append(row)  # after the chain that was begun before
                    continue
                values["supersedes_id"] = ends[whose]
            numbers[row.lesion_id] = numbers.get(row.lesion_id, 0) + 1
            values["number"] = numbers[row.lesion_id]
            connection.execute(sa.update(review).where(review.c.id == row.id).values(values))
            placed.add(row.id)
            ends[whose] = row.id
        waiting = left


def _add_token_columns() -> None:
    with op.batch_alter_table("api_token") as batch_op:
        batch_op.add_column(sa.Column("owner_id", sa.Uuid(), nullable=True))
        batch_op.add_column(sa.Column("expires_at", app.db.Moment(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("last_used_at", app.db.Moment(timezone=True), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_api_token_owner_id_user"), "user", ["owner_id"], ["id"]
        )
        batch_op.create_index(op.f("ix_api_token_owner_id"), ["owner_id"])
    # until now a token belonged to a person by an equal name
    op.execute(
        sa.text(
            'UPDATE api_token SET owner_id = (SELECT id FROM "user" '
            'WHERE "user".name = api_token.name)'
        )
    )


def _add_serving() -> None:
    with op.batch_alter_table("checkpoint") as batch_op:
        batch_op.add_column(sa.Column("served_number", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("run_id", sa.Uuid(), nullable=True))
        batch_op.create_foreign_key(op.f("fk_checkpoint_run_id_run"), "run", ["run_id"], ["id"])
        batch_op.create_index(op.f("ix_checkpoint_run_id"), ["run_id"])
    op.execute(
        sa.text(
            "UPDATE checkpoint SET served_number = (SELECT place FROM (SELECT id, row_number() "
            "OVER (ORDER BY served_since, name) AS place FROM checkpoint WHERE served_since IS "
            "NOT NULL) AS placed WHERE placed.id = checkpoint.id)"
        )
    )
    # a run's checkpoints begin with run-, eight digits of its id, and a hyphen
    run, checkpoint = (
        sa.table("run", sa.column("id", sa.Uuid())),
        sa.table("checkpoint", sa.column("name", sa.String()), sa.column("run_id", sa.Uuid())),
    )
    connection = op.get_bind()
    for run_id in connection.scalars(sa.select(run.c.id)).all():
        of_run = checkpoint.c.name.startswith(f"run-{run_id.hex[:8]}-")
        connection.execute(sa.update(checkpoint).where(of_run).values(run_id=run_id))


def _speed_up() -> None:
    """What the work list asks for on every visit; one's studies' lesions."""
    with op.batch_alter_table("lesion") as batch_op:
        batch_op.add_column(
            sa.Column("reviewed", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.execute(
        sa.text("UPDATE lesion SET reviewed = TRUE WHERE id IN (SELECT lesion_id FROM review)")
    )
    for name, columns, more in (
        ("standing", [], ""),
        ("unreviewed", ["reviewed"], " AND reviewed IS {}"),
    ):
        op.create_index(
            f"ix_lesion_{name}",
            "lesion",
            ["case_id", "withdrawn_at", *columns],
            sqlite_where=sa.text("withdrawn_at IS NULL" + more.format("0")),
            postgresql_where=sa.text("withdrawn_at IS NULL" + more.format("false")),
        )
    op.create_index("ix_stimulus_study_id_lesion_id", "stimulus", ["study_id", "lesion_id"])


# -- rows that stay -------------------------------------------------------------------------------


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _keep(table: str, condition: str) -> None:
    _refuse(table, "update", "")
    _refuse(table, "delete", condition)
    if _is_postgresql():
        _refuse(table, "truncate", "")


def _refuse(table: str, act: str, condition: str) -> None:
    """Let the database refuse an act on a table while ``condition`` finds something."""
    words = f"A row of {table} is never {act}d."
    if not _is_postgresql():
        when = f"WHEN EXISTS ({condition})" if condition else ""
        op.execute(
            sa.text(
                f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} {when} "
                f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            )
        )
        return
    guard = f"IF NOT EXISTS ({condition}) THEN RETURN OLD; END IF; " if condition else ""
    op.execute(
        sa.text(
            f"CREATE FUNCTION keep_{table}_{act}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"{guard}RAISE EXCEPTION '{words}' USING ERRCODE = 'restrict_violation'; END $$"
        )
    )
    each = "STATEMENT" if act == "truncate" else "ROW"
    op.execute(
        sa.text(
            f"CREATE TRIGGER keep_{table}_{act} BEFORE {act.upper()} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION keep_{table}_{act}()"
        )
    )


def _let_go(table: str, act: str) -> None:
    if _is_postgresql():
        op.execute(sa.text(f"DROP TRIGGER keep_{table}_{act} ON {table}"))
        op.execute(sa.text(f"DROP FUNCTION keep_{table}_{act}()"))
    else:
        op.execute(sa.text(f"DROP TRIGGER keep_{table}_{act}"))
