"""Keys: what lets somebody in."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them, empty: until the first key is made, a server on loopback is open."""
    op.create_table(
        "access_keys",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("prefix", sa.String(8), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("limited", sa.Boolean(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.Column("last_used_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_access_keys"),
        sa.UniqueConstraint("prefix", name="uq_access_keys_prefix"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "access_key_collections",
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("collection_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "collection_id", name="pk_access_key_collections"),
        sa.ForeignKeyConstraint(["key_id"], ["access_keys.id"], name="fk_access_key_collections_key_id_access_keys"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name="fk_access_key_collections_collection_id_collections"
        ),
    )
    for table in ("queries", "jobs"):
        op.add_column(table, sa.Column("key_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_access_key_collections_collection_id", "access_key_collections", ["collection_id"])


def downgrade() -> None:
    """Remove them: whoever had a key has none."""
    for table in ("queries", "jobs"):
        op.drop_column(table, "key_id")
    op.drop_table("access_key_collections")
    op.drop_table("access_keys")
