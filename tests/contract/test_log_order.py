"""Writers at the same time: numbers are committed in their order, so that a reader never skips a row."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.database.sessions import Database
from app.errors import ExternalIdTakenError
from app.gallery.repository import ImageRepository
from app.identities.repository import IdentityRepository
from app.identities.schemas import IdentityPatch
from app.identities.service import IdentityService
from app.registry.repository import ModelRepository
from app.vectors.repository import LogRepository, NewEmbedding
from tests.contract.test_repositories import image, version

WRITERS, ROUNDS, READERS, DIM = 6, 12, 3, 4


def write_some(database: Database, writer: int, model: int) -> list[int]:
    """Transactions that last, with additions and deletions; returns the images that are left."""
    dice, left = random.Random(writer), []
    for turn in range(ROUNDS):
        with database.write() as session:
            (identity,) = IdentityRepository(session).add_provisional(1)
            log, first = LogRepository(session), 10_000 * writer + 10 * turn
            ids = ImageRepository(session).add([image(first + n, identity) for n in range(dice.randint(1, 3))])
            log.add([NewEmbedding(number, model, "text", np.ones(DIM, np.float16)) for number in ids])
            time.sleep(dice.random() * 0.004)  # numbers are taken, and others want to commit
            if turn % 3 == 2:
                log.delete(ids[:1])
                ImageRepository(session).delete(ids[:1])
                ids = ids[1:]
        left += ids
    return left


def follow(database: Database, model: int, finished: Callable[[], bool]) -> list[int]:
    """What a reader has that applied the log piece by piece while it grew."""
    seen: dict[int, None] = {}
    after = 0
    while True:
        last = finished()  # asked first: the round after the last commit sees it
        with database.read() as session:
            for change in LogRepository(session).changes(model, "text", DIM, after=after):
                seen.update(dict.fromkeys(change.ids.tolist()))
                for gone in change.deleted.tolist():
                    seen.pop(gone, None)
                assert change.sequence >= after
                after = change.sequence
        if last:
            return sorted(seen)


def test_no_reader_skips_a_row(database: Database) -> None:
    with database.write() as session:
        model = ModelRepository(session).add(**version("one"))
    done = threading.Event()
    with ThreadPoolExecutor(WRITERS + READERS) as pool:
        readers = [pool.submit(follow, database, model, done.is_set) for _ in range(READERS)]
        try:
            writers = [pool.submit(write_some, database, writer, model) for writer in range(WRITERS)]
            expected = sorted(number for writer in writers for number in writer.result())
        finally:
            done.set()
        assert len(expected) > WRITERS * ROUNDS
        for reader in readers:
            assert reader.result() == expected


def test_what_was_checked_is_still_true_at_the_commit(database: Database) -> None:
    with database.write() as session:
        people = IdentityRepository(session).add_provisional(8)

    def name(identity: int) -> bool:
        try:
            with database.write() as session:
                IdentityService(session).change(identity, IdentityPatch(external_id="the same"))
                time.sleep(0.02)  # checked, and not written yet
        except ExternalIdTakenError:  # and not an IntegrityError
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(name, people)) == 1


def test_two_ingests_make_one_identity_of_one_name(database: Database) -> None:
    def resolve(_turn: int) -> int:
        with database.write() as session:
            found = IdentityRepository(session).resolve(["A-17"])["A-17"]
            time.sleep(0.005)  # others look for it before it is committed
            return found

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(resolve, range(16)))) == 1
