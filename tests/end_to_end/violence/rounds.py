"""One round: clients send, delete and search, something is killed at a seeded moment and started again."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from app.database.sessions import Database
from app.database.tables import Job
from app.jobs.repository import FINAL
from app.settings import Settings
from tests.end_to_end.violence.ledger import (
    POOL,
    Batch,
    Inspection,
    Ledger,
    all_final,
    images_of,
    jpeg,
    person,
    search,
)
from tests.end_to_end.violence.stack import Caller, Stack
from tests.waiting import until

BATCH = 60


class Rounds:
    """Rounds over one stack, whose data folder stays."""

    def __init__(self, stack: Stack, settings: Settings, seed: str) -> None:
        self._stack, self._settings, self._seed = stack, settings, seed
        self.ledger = Ledger()
        self.database = Database(settings.database)
        self.struck = self.searches = 0
        """Kills that met a job under way; searches that were answered."""

    def run(self, number: int, victims: tuple[str, ...]) -> None:
        """One round, and the inspection after it."""
        rng = random.Random(f"{self._seed} {number}")
        batches = [self._batch(rng, f"{number}-{part}") for part in range(2)]
        seeds = [rng.getrandbits(64) for _ in range(3)]
        stop = threading.Event()
        with ThreadPoolExecutor(4) as pool:
            others = [pool.submit(self._delete, seeds[0], stop), pool.submit(self._search, seeds[1], stop)]
            posting = pool.submit(self._post, batches)
            try:
                self._await_moment(rng, batches)
                self.struck += not self._idle(batches)
                self._stack.kill(*victims)
                self._stack.start()
                posting.result()
                until(lambda: all_final(self._settings, len(self.ledger.batches)), "every job ends")
            finally:
                stop.set()
                self._stack.up.set()  # nobody waits for what does not come
            for other in others:
                other.result()
        for batch in batches:
            batch.ended = True
        Inspection(self._stack, self.ledger, self._settings).check(random.Random(seeds[2]))

    def _batch(self, rng: random.Random, key: str) -> Batch:
        """New pictures, known ones, and some that are in it twice."""
        numbers = rng.sample(range(POOL), BATCH)
        numbers += rng.sample(numbers, BATCH // 10)
        batch = Batch(key, {f"{place:03}.jpg": number for place, number in enumerate(numbers)})
        self.ledger.batches.append(batch)
        return batch

    def _await_moment(self, rng: random.Random, batches: list[Batch]) -> None:
        """During the upload, or when a seeded part of what was sent is taken in."""
        upload, share, later = rng.random() < 0.2, rng.uniform(0, 0.8), rng.uniform(0, 0.1)
        if not upload:
            wanted = int(share * BATCH * len(batches))
            until(lambda: self._done(batches) >= wanted, "the jobs get on")
        time.sleep(later)

    def _done(self, batches: list[Batch]) -> int:
        keys = [f"batch:{batch.key}" for batch in batches]
        with self.database.read() as session:
            done = session.scalar(select(func.sum(Job.done)).where(Job.idempotency_key.in_(keys)))
        return int(done or 0)

    def _idle(self, batches: list[Batch]) -> bool:
        keys = [f"batch:{batch.key}" for batch in batches]
        with self.database.read() as session:
            states = list(session.scalars(select(Job.state).where(Job.idempotency_key.in_(keys))))
        return len(states) == len(batches) and set(states) <= FINAL

    def _post(self, batches: list[Batch]) -> None:
        with Caller(self._stack) as caller:
            for batch in batches:
                body, headers = {"archive": ("batch.zip", batch.archive())}, {"Idempotency-Key": batch.key}
                response = caller.insist("POST", "/v1/gallery/batches", files=body, headers=headers)
                assert response.status_code == 202, response.text
                batch.job_id = response.json()["id"]

    def _delete(self, seed: int, stop: threading.Event) -> None:
        """Delete images and people that searches show, one after the other."""
        rng = random.Random(seed)
        with Caller(self._stack) as caller:
            while not stop.wait(rng.uniform(0.02, 0.15)):
                if candidates := search(caller, jpeg(rng.randrange(POOL))):
                    chosen = rng.choice(candidates)
                    if rng.random() < 0.15:
                        self._delete_person(caller, chosen["identity"])
                    else:
                        image = rng.choice(images_of([chosen]))
                        self.ledger.doom([image], None)
                        self._ask(caller, f"/v1/images/{image}", [image])

    def _delete_person(self, caller: Caller, identity: Any) -> None:  # noqa: ANN401  JSON
        path = f"/v1/identities/{identity['id']}"
        if (detail := caller.ask("GET", path)) is not None:
            assert detail.status_code == 200, detail.text
            images = [image["id"] for image in detail.json()["images"]]
            self.ledger.doom(images, identity["external_id"])
            self._ask(caller, path, images)

    def _ask(self, caller: Caller, path: str, images: list[int]) -> None:
        response = caller.ask("DELETE", path)
        assert response is None or response.status_code == 204, response.text
        self.ledger.deleted(images, answered=response is not None)

    def _search(self, seed: int, stop: threading.Event) -> None:
        """Search for what was reported as ingested, at each server in turn."""
        rng = random.Random(seed)
        with Caller(self._stack) as caller:
            while not stop.wait(rng.uniform(0, 0.05)):
                caller.name = rng.choice(self._stack.names)
                known = self._reported(rng, caller)
                caller.name = rng.choice(self._stack.names)  # what one server reported, the next search at any finds
                with self.ledger.lock:
                    gone = set(self.ledger.gone)
                candidates = search(caller, jpeg(known[1] if known else 0))
                if candidates is not None:
                    self._check(images_of(candidates), gone, known)

    def _check(self, found: list[int], gone: set[int], known: tuple[int, int, str] | None) -> None:
        assert len(found) == len(set(found)), "an image twice in one answer"
        assert not gone.intersection(found), "a deleted image in an answer"
        self.searches += 1
        if known is not None and known[0] not in found:
            with self.ledger.lock:
                hidden = known[0] in self.ledger.asked or (known[2], person(known[1]) or "") in self.ledger.clouded
            assert hidden, f"image {known[0]} was reported and is not found"

    def _reported(self, rng: random.Random, caller: Caller) -> tuple[int, int, str] | None:
        """An image that the server reports as ingested: id, picture number, key of its batch."""
        batch = rng.choice(self.ledger.batches[-2:])
        if not batch.job_id:
            return None
        response = caller.ask("GET", f"/v1/jobs/{batch.job_id}/items", params={"status": "ingested", "limit": 1000})
        if response is None:
            return None
        assert response.status_code == 200, response.text
        items = [item for item in response.json()["items"] if item["image_id"] not in self.ledger.asked]
        if not items:
            return None
        item = rng.choice(items[-8:])  # the newest ones
        return item["image_id"], batch.at(item["position"]), batch.key


def check_from_scratch(settings: Settings, images: int) -> None:
    """What this process reads of the data folder, with and without the snapshots, is what the servers said."""
    from app.core import opened

    with opened(settings) as core:
        core.active.follow()
        view = core.active.current().view("image")
        assert view.count == images
        view.rebuild()
        assert view.count == images
