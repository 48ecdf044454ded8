"""A process is killed after it sent its commit: its pictures wait for what the database makes of it."""

import threading
from pathlib import Path

from app.core import Core
from tests.app.conftest import IngestFolder
from tests.app.toy import picture


def test_recovery_waits_for_a_writer_that_is_still_committing(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    if core.database.engine.dialect.name == "sqlite":
        with core.database.write(), core.database.settled() as session:
            assert session is not None  # SQLite undoes the transaction of a dead process: nothing to wait for
        return
    picture(tmp_path / "p" / "1.jpg", "red")
    entered, recovered = threading.Event(), threading.Event()

    def recover() -> None:
        entered.set()
        with core.database.settled():
            recovered.set()

    with core.database.write():
        thread = threading.Thread(target=recover)
        thread.start()
        assert entered.wait(60)
        assert not recovered.wait(0.3), "it reads beside a writer that may still commit"
    thread.join(60)
    assert recovered.is_set()
    assert [outcome.status for outcome in ingest(tmp_path / "p")] == ["ingested"]
