"""Collections: every image belongs to one, and the same bytes are taken once in each."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from app.errors import ConflictError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FOREIGN = "fk_images_collection_id_collections"
_UNIQUE, _OLD_UNIQUE = "uq_images_collection_id_sha256", "uq_images_sha256"


def upgrade() -> None:
    """Put every image that there is into the collection `default`."""
    collections = op.create_table(
        "collections",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
        sa.UniqueConstraint("name", name="uq_collections_name"),
        sqlite_autoincrement=True,
    )
    # No number of our own: PostgreSQL's sequence would give it out a second time.
    op.bulk_insert(collections, [{"name": "default", "created_at": datetime.now(UTC)}])
    op.add_column("images", sa.Column("collection_id", _ID, nullable=True))
    op.execute("UPDATE images SET collection_id = (SELECT id FROM collections WHERE name = 'default')")
    last = _last_number()
    with op.batch_alter_table("images", table_kwargs={"sqlite_autoincrement": True}) as images:
        images.alter_column("collection_id", existing_type=_ID, nullable=False)
        images.create_foreign_key(_FOREIGN, "collections", ["collection_id"], ["id"])
        images.drop_constraint(_OLD_UNIQUE, type_="unique")
        images.create_unique_constraint(_UNIQUE, ["collection_id", "sha256"])
    _keep_number(last)


def downgrade() -> None:
    """Forget the collections.

    Raises:
        ConflictError: some bytes lie in several collections; deleting pictures is nobody's decision but the owner's.
    """
    twice = op.get_bind().execute(
        sa.text("SELECT count(*) FROM (SELECT sha256 FROM images GROUP BY sha256 HAVING count(*) > 1) AS twice")
    )
    if count := twice.scalar_one():
        raise ConflictError(
            f"{count} pictures lie in several collections, which the older schema cannot hold; keep one of each"
        )
    last = _last_number()
    with op.batch_alter_table("images", table_kwargs={"sqlite_autoincrement": True}) as images:
        images.drop_constraint(_UNIQUE, type_="unique")
        images.drop_constraint(_FOREIGN, type_="foreignkey")
        images.drop_column("collection_id")
        images.create_unique_constraint(_OLD_UNIQUE, ["sha256"])
    _keep_number(last)
    op.drop_table("collections")


def _last_number() -> int | None:
    """The last number that SQLite gave to an image; it may be above those of the images that are left."""
    if op.get_bind().dialect.name != "sqlite":
        return None
    last = op.get_bind().execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'images'")).scalar_one_or_none()
    return None if last is None else int(last)


def _keep_number(last: int | None) -> None:
    # SQLite changes a table by making it anew, and would then give numbers of deleted images out again.
    if last is not None:
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'images'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('images', {last})")
