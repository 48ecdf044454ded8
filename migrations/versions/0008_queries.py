"""Queries that were asked, and what was said about their candidates."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them, empty."""
    op.create_table(
        "queries",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("purpose", sa.String(200), nullable=True),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=True),
        sa.Column("name", sa.String(200), nullable=True),
        sa.Column("saved_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_queries"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", _ID, nullable=False),
        sa.Column("query_id", sa.String(32), nullable=False),
        sa.Column("identity_id", sa.BigInteger(), nullable=False),
        sa.Column("judged_id", sa.BigInteger(), nullable=False),
        sa.Column("image_id", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.ForeignKeyConstraint(["query_id"], ["queries.id"], name="fk_feedback_query_id_queries"),
        sqlite_autoincrement=True,
    )
    for column in ("created_at", "saved_at"):
        op.create_index(f"ix_queries_{column}", "queries", [column])
    for column in ("query_id", "identity_id", "image_id"):
        op.create_index(f"ix_feedback_{column}", "feedback", [column])


def downgrade() -> None:
    """Remove them: queries, saved searches and feedback are forgotten."""
    op.drop_table("feedback")
    op.drop_table("queries")
