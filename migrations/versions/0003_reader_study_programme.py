"""reader studies: design, leak audit, conduct, practice, repeats, revisions, withdrawal

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

import app.db

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conduct",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("enrolment_id", sa.Uuid(), nullable=False),
        sa.Column("at", app.db.Moment(timezone=True), nullable=False),
        sa.Column("consent_version", sa.String(length=40), nullable=False),
        sa.Column("consent_digest", sa.String(length=64), nullable=False),
        sa.Column("years", sa.Double(), nullable=False),
        sa.Column("subspecialty", sa.String(length=200), nullable=False),
        sa.Column("room", sa.String(length=20), nullable=False),
        sa.Column("ramp_dark", sa.Boolean(), nullable=False),
        sa.Column("ramp_bright", sa.Boolean(), nullable=False),
        sa.Column("mm_per_px", sa.Double(), nullable=True),
        sa.Column("screen", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["enrolment_id"], ["enrolment.id"], name=op.f("fk_conduct_enrolment_id_enrolment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conduct")),
    )
    with op.batch_alter_table("conduct") as batch_op:
        batch_op.create_index(batch_op.f("ix_conduct_enrolment_id"), ["enrolment_id"])
    op.create_table(
        "leak_audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("images_digest", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=False),
        sa.Column("at", app.db.Moment(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["by_id"], ["user.id"], name=op.f("fk_leak_audit_by_id_user")),
        sa.ForeignKeyConstraint(
            ["study_id"], ["reader_study.id"], name=op.f("fk_leak_audit_study_id_reader_study")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leak_audit")),
    )
    with op.batch_alter_table("leak_audit") as batch_op:
        batch_op.create_index(batch_op.f("ix_leak_audit_study_id"), ["study_id"])
    op.create_table(
        "withdrawal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("enrolment_id", sa.Uuid(), nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=False),
        sa.Column("at", app.db.Moment(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["by_id"], ["user.id"], name=op.f("fk_withdrawal_by_id_user")),
        sa.ForeignKeyConstraint(
            ["enrolment_id"], ["enrolment.id"], name=op.f("fk_withdrawal_enrolment_id_enrolment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_withdrawal")),
        sa.UniqueConstraint("enrolment_id", name=op.f("uq_withdrawal_enrolment_id")),
    )
    with op.batch_alter_table("reader_study") as batch_op:
        batch_op.add_column(sa.Column("design", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("stimulus") as batch_op:
        batch_op.add_column(
            sa.Column("practice", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("trial") as batch_op:
        batch_op.add_column(
            sa.Column("kind", sa.String(length=10), nullable=False, server_default="first")
        )
        batch_op.add_column(sa.Column("repeats_id", sa.Uuid(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_trial_repeats_id_trial"), "trial", ["repeats_id"], ["id"]
        )
        batch_op.create_check_constraint(
            batch_op.f("ck_trial_kind"), "kind IN ('practice','first','repeat')"
        )
        batch_op.create_check_constraint(
            batch_op.f("ck_trial_repeat"), "(kind = 'repeat') = (repeats_id IS NOT NULL)"
        )
    with op.batch_alter_table("reading") as batch_op:
        batch_op.add_column(sa.Column("class_confidence", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("reasons", sa.JSON(), nullable=False, server_default="[]"))
        batch_op.add_column(
            sa.Column("session_no", sa.Integer(), nullable=False, server_default="1")
        )
        batch_op.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))
        batch_op.add_column(sa.Column("view", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.drop_constraint(batch_op.f("uq_reading_trial_id"), type_="unique")
        batch_op.create_unique_constraint(
            batch_op.f("uq_reading_trial_id_revision"), ["trial_id", "revision"]
        )
        batch_op.create_check_constraint(
            batch_op.f("ck_reading_class_confidence"), "class_confidence BETWEEN 1 AND 5"
        )


def downgrade() -> None:
    with op.batch_alter_table("reading") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_reading_class_confidence"), type_="check")
        batch_op.drop_constraint(batch_op.f("uq_reading_trial_id_revision"), type_="unique")
        batch_op.create_unique_constraint(batch_op.f("uq_reading_trial_id"), ["trial_id"])
        for name in ("view", "revision", "session_no", "reasons", "class_confidence"):
            batch_op.drop_column(name)
    with op.batch_alter_table("trial") as batch_op:
        batch_op.drop_constraint(batch_op.f("ck_trial_repeat"), type_="check")
        batch_op.drop_constraint(batch_op.f("ck_trial_kind"), type_="check")
        batch_op.drop_constraint(batch_op.f("fk_trial_repeats_id_trial"), type_="foreignkey")
        batch_op.drop_column("repeats_id")
        batch_op.drop_column("kind")
    with op.batch_alter_table("stimulus") as batch_op:
        batch_op.drop_column("practice")
    with op.batch_alter_table("reader_study") as batch_op:
        batch_op.drop_column("design")
    op.drop_table("withdrawal")
    op.drop_table("leak_audit")
    op.drop_table("conduct")
