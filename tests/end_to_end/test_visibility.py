"""What one replica reports as ingested, the very next search finds: there, and at another one on the same database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.settings import Settings
from tests.contract import postgres
from tests.end_to_end.test_service_process import checkpoint
from tests.end_to_end.violence.ledger import Batch, images_of, jpeg, search
from tests.end_to_end.violence.stack import Caller, Stack
from tests.waiting import until

__all__ = ["checkpoint"]
COUNT = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgres.server() as server, postgres.fresh_database(server) as url:
        yield url


def test_the_next_search_finds_what_was_reported(database_url: str, checkpoint: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, device="cpu")
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "random").id)
    stack = Stack(settings.data_dir, servers=2, separate=True, extra={"DESCRY_DATABASE_URL": database_url})
    batch = Batch("", {f"{number:03}.jpg": number for number in range(COUNT)})
    seen: set[int] = set()
    with stack.running(), Caller(stack, "server 0") as first, Caller(stack, "server 1") as second:
        sent = first.ask("POST", "/v1/gallery/batches", files={"archive": ("a.zip", batch.archive())})
        assert sent is not None
        path = f"/v1/jobs/{sent.json()['id']}/items"

        def look() -> bool:
            answer = first.ask("GET", path, params={"status": "ingested", "limit": 1000})
            assert answer is not None
            new = {item["image_id"]: item["name"] for item in answer.json()["items"] if item["image_id"] not in seen}
            for image_id, name in sorted(new.items())[-2:]:
                picture = jpeg(batch.numbers[name])
                assert image_id in images_of(search(first, picture)), "at the replica that reported it"
                assert image_id in images_of(search(second, picture)), "at another replica"
            seen.update(new)
            return len(seen) == COUNT

        until(look, "every picture is taken in")
