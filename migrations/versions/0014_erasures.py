"""The ledger of erasures, and rules of retention."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them, empty: what was erased before is in `deletions` alone."""
    op.create_table(
        "erasures",
        sa.Column("id", _ID, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "retention_rules",
        sa.Column("id", _ID, nullable=False),
        sa.Column("collection_id", _ID, nullable=False),
        sa.Column("camera", sa.String(200), nullable=True),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_retention_rules"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name="fk_retention_rules_collection_id_collections"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_retention_rules_collection_id", "retention_rules", ["collection_id"])
    op.create_index("ix_job_items_image_id", "job_items", ["image_id"])


def downgrade() -> None:
    """Remove them. Keep a copy of the ledger: a restore of an older backup needs it."""
    op.drop_index("ix_job_items_image_id", "job_items")
    op.drop_table("retention_rules")
    op.drop_table("erasures")
