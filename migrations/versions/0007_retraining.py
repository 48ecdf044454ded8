"""On which side of a retraining an image stands, and what a job tells beside its counts."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; no image has been trained on yet."""
    op.add_column("images", sa.Column("split", sa.String(8), nullable=True))
    op.add_column("jobs", sa.Column("progress", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Remove them. A retraining after the next upgrade may test on what was trained on before."""
    op.drop_column("jobs", "progress")
    op.drop_column("images", "split")
