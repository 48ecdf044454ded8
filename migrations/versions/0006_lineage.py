"""Where model versions come from, what a gate said of them, and whose vectors were removed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("recipe", sa.JSON(none_as_null=True)),
    ("data_fingerprint", sa.String(64)),
    ("parent_id", sa.BigInteger()),
    ("job_id", sa.String(36)),
    ("gate", sa.JSON(none_as_null=True)),
    ("retired_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Add them; versions from before were registered by hand and need no gate."""
    op.add_column("model_versions", sa.Column("standing", sa.String(16), nullable=False, server_default="registered"))
    for name, kind in _COLUMNS:
        op.add_column("model_versions", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Remove them. A candidate, also one that was refused, is then a version like every other."""
    for name, _ in reversed(_COLUMNS):
        op.drop_column("model_versions", name)
    op.drop_column("model_versions", "standing")
