"""The gallery: identities, images, embeddings as a log, model versions."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create every table, and the one row of `head`."""
    op.create_table(
        "identities",
        sa.Column("id", _ID, nullable=False),
        sa.Column("external_id", sa.String(200), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint("external_id", name="uq_identities_external_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "images",
        sa.Column("id", _ID, nullable=False),
        sa.Column("identity_id", _ID, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("camera", sa.String(200), nullable=True),
        sa.Column("captured_at", _INSTANT, nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("source_name", sa.Text(), nullable=True),
        sa.Column("store_name", sa.String(80), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name="fk_images_identity_id_identities"),
        sa.UniqueConstraint("sha256", name="uq_images_sha256"),
        sa.UniqueConstraint("store_name", name="uq_images_store_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_images_identity_id", "images", ["identity_id"])
    op.create_table(
        "model_versions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("folder", sa.String(80), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("activated_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sa.UniqueConstraint("name", name="uq_model_versions_name"),
        sa.UniqueConstraint("fingerprint", name="uq_model_versions_fingerprint"),
        sqlite_autoincrement=True,
    )
    _create_log()


def _create_log() -> None:
    op.create_table(
        "embeddings",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image_id", _ID, nullable=False),
        sa.Column("model_version_id", _ID, nullable=False),
        sa.Column("space", sa.String(16), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_embeddings"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_embeddings_image_id_images"),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name="fk_embeddings_model_version_id_model_versions"
        ),
        sa.UniqueConstraint(
            "image_id", "model_version_id", "space", name="uq_embeddings_image_id_model_version_id_space"
        ),
    )
    op.create_index(
        "ix_embeddings_model_version_id_space_sequence", "embeddings", ["model_version_id", "space", "sequence"]
    )
    op.create_table(
        "deletions",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_deletions"),
    )
    head = op.create_table(
        "head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("history", sa.String(32), nullable=False),
        sa.Column("active_version_id", _ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_head"),
        sa.ForeignKeyConstraint(
            ["active_version_id"], ["model_versions.id"], name="fk_head_active_version_id_model_versions"
        ),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "history": secrets.token_hex(16), "active_version_id": None}])


def downgrade() -> None:
    """Remove every table."""
    for table in ("head", "deletions", "embeddings", "model_versions", "images", "identities"):
        op.drop_table(table)
