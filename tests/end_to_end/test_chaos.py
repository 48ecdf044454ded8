"""Rounds of kill -9 among uploads, ingest, deletions and searches: what was acknowledged stays true.

`DESCRY_CHAOS_ROUNDS` and `DESCRY_CHAOS_SEED` set how many and which; a failure prints its seed. With
`DESCRY_CHAOS_PROCESSES=3` each server answers with three processes, which are killed one by one, also as they start.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.settings import Settings
from tests.contract import postgres
from tests.end_to_end.test_service_process import checkpoint, data
from tests.end_to_end.violence.rounds import Rounds, check_from_scratch
from tests.end_to_end.violence.stack import Stack

__all__ = ["checkpoint", "data"]
pytestmark = pytest.mark.long
ROUNDS = int(os.environ.get("DESCRY_CHAOS_ROUNDS", "5"))
SEED = os.environ.get("DESCRY_CHAOS_SEED", "1")
BESIDE = [("server 0",), ("worker",), ("server 0", "worker"), ("group",), ("worker", "server 0")]
"""What dies where the worker is the server's companion: it notices the server's death and ends, unless it dies too."""
APART = [("worker",), ("server 0",), ("server 0", "worker"), ("server 1",), ("worker", "server 0", "server 1")]
PROCESSES = int(os.environ.get("DESCRY_CHAOS_PROCESSES", "1"))
OF_SEVERAL = [
    *(("child 1",), ("child 0",), ("child 1", "child 1"), ("child 0", "child 2"), ("child 0", "child 0", "worker")),
    *(("child 0", "child 1"), ("server 0",), ("worker", "child 1")),
]
"""In place of both; the first process brings the worker, which ends with it. One that is named twice dies again as it
starts."""


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with postgres.server() as server, postgres.fresh_database(server) as url:
        yield url


def violate(stack: Stack, settings: Settings, victims: list[tuple[str, ...]], rounds: int) -> None:
    victims = OF_SEVERAL if PROCESSES > 1 else victims
    order = random.Random(SEED).sample(victims, len(victims))
    with stack.running():
        violence = Rounds(stack, settings, SEED)
        for number in range(rounds):
            try:
                violence.run(number, order[number % len(order)])
            except BaseException as error:
                error.add_note(f"DESCRY_CHAOS_SEED={SEED}, round {number}, killed: {order[number % len(order)]}")
                raise
        assert violence.struck, "no kill met a job under way"
        assert violence.searches
        assert violence.ledger.gone
        with violence.database.read() as session:
            from app.gallery.repository import ImageRepository

            images = ImageRepository(session).count()
        violence.database.close()
        stack.stop()
    check_from_scratch(settings, images)


def test_nothing_acknowledged_is_lost_when_server_and_worker_are_killed(data: Path) -> None:
    violate(Stack(data, processes=PROCESSES), Settings(data_dir=data, device="cpu"), BESIDE, ROUNDS)


def test_nor_with_two_servers_and_a_worker_on_postgresql(postgres_url: str, checkpoint: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=postgres_url, device="cpu")
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "random").id)
    extra = {"DESCRY_DATABASE_URL": postgres_url}
    stack = Stack(settings.data_dir, servers=2, separate=True, processes=PROCESSES, extra=extra)
    violate(stack, settings, APART, max(2, ROUNDS // 3))
