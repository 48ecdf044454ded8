"""Tracks of images, the history of identities, association runs, and the calibration of model versions."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)
_RUN = "association_runs.id"
_TRACK = "ix_images_collection_id_track"


def upgrade() -> None:
    """Add them; images from before have no track."""
    op.add_column("images", sa.Column("track", sa.String(200), nullable=True))
    op.create_index(_TRACK, "images", ["collection_id", "track"])
    op.add_column("model_versions", sa.Column("calibration", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "association_runs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("linkage", sa.String(16), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("window_s", sa.Float(), nullable=True),
        sa.Column("instants_apart", sa.Boolean(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job_id", sa.String(36), nullable=True),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("undo", sa.JSON(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("undone_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_association_runs"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "association_groups",
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("identity_ids", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_association_groups"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["association_runs.id"], name="fk_association_groups_run_id_association_runs"
        ),
    )
    op.create_table(
        "identity_history",
        sa.Column("id", _ID, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("actor", sa.String(200), nullable=True),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("from_id", sa.BigInteger(), nullable=False),
        sa.Column("to_id", sa.BigInteger(), nullable=False),
        sa.Column("image_ids", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("run_id", _ID, nullable=True),
        sa.Column("undone_at", _INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identity_history"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["association_runs.id"], name="fk_identity_history_run_id_association_runs"
        ),
        sqlite_autoincrement=True,
    )
    for column in ("from_id", "to_id", "run_id"):
        op.create_index(f"ix_identity_history_{column}", "identity_history", [column])


def downgrade() -> None:
    """Remove them. What was merged stays merged; how it was before is forgotten."""
    for table in ("identity_history", "association_groups", "association_runs"):
        op.drop_table(table)
    op.drop_column("model_versions", "calibration")
    op.drop_index(_TRACK, "images")
    op.drop_column("images", "track")
