"""Identifications that two people confirm, and the images that each of them rests on."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them, empty."""
    op.create_table(
        "identifications",
        sa.Column("id", _ID, nullable=False),
        sa.Column("query_id", sa.String(32), nullable=False),
        sa.Column("identity_id", sa.BigInteger(), nullable=False),
        sa.Column("proposed_identity_id", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("proposed_by", sa.BigInteger(), nullable=False),
        sa.Column("proposed_at", _INSTANT, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", _INSTANT, nullable=True),
        sa.Column("decision_note", sa.Text(), nullable=True),
        sa.Column("ended_by", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("end_note", sa.Text(), nullable=True),
        sa.Column("lapsed_because", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identifications"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "identification_images",
        sa.Column("identification_id", _ID, nullable=False),
        sa.Column("image_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("identification_id", "image_id", name="pk_identification_images"),
        sa.ForeignKeyConstraint(
            ["identification_id"],
            ["identifications.id"],
            name="fk_identification_images_identification_id_identifications",
        ),
    )
    for column in ("query_id", "identity_id", "state"):
        op.create_index(f"ix_identifications_{column}", "identifications", [column])
    op.create_index("ix_identification_images_image_id", "identification_images", ["image_id"])


def downgrade() -> None:
    """Remove them: who was identified is forgotten."""
    op.drop_table("identification_images")
    op.drop_table("identifications")
