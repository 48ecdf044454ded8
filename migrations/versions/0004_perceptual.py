"""Perceptual hash of images, and which of them look like an earlier one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = {**{f"look_{band}": sa.Integer() for band in range(4)}, "near_duplicate_of": sa.BigInteger()}


def upgrade() -> None:
    """Add the columns; images from before have no hash."""
    for name, kind in _COLUMNS.items():
        op.add_column("images", sa.Column(name, kind, nullable=True))
        op.create_index(f"ix_images_{name}", "images", [name])


def downgrade() -> None:
    """Remove them."""
    for name in _COLUMNS:
        op.drop_index(f"ix_images_{name}", "images")
        op.drop_column("images", name)
