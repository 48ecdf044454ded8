"""What was acknowledged to clients, and the check that all of it is still true."""

import hashlib
import io
import json
import random
import threading
import zipfile
from collections import Counter
from dataclasses import dataclass, field

from PIL import Image as Picture
from sqlalchemy import func, select

from app.database.privacy import ERASED
from app.database.sessions import Database
from app.database.tables import Embedding, Image, Job, JobItem
from app.jobs.repository import FINAL
from app.settings import Settings
from tests.end_to_end.violence.stack import Caller, Stack, workers_of
from tests.waiting import until

PEOPLE = 50
POOL = 500
"""Different pictures. One search shows at most 100 people with 20 images each: these fit, so that it shows all."""


def jpeg(number: int) -> bytes:
    """A small picture that no other number has; every eighth one is large enough for a thumbnail of its own."""
    rng = random.Random(number)
    blocks = Picture.frombytes("RGB", (4, 8), rng.randbytes(96))
    target = io.BytesIO()
    blocks.resize((160, 320) if number % 8 == 0 else (32, 64)).save(target, "JPEG")
    return target.getvalue()


def person(number: int) -> str | None:
    """Who is on a picture; some are unnamed."""
    return None if number % 20 == 7 else f"P-{number % PEOPLE}"


@dataclass
class Batch:
    """Pictures that were sent together, by name in the archive."""

    key: str
    numbers: dict[str, int]
    job_id: str = ""
    ended: bool = False

    def at(self, position: int) -> int:
        """The picture at a place of the manifest."""
        return list(self.numbers.values())[position]

    def archive(self) -> bytes:
        """As a zip with its manifest."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as packed:
            rows = [{"file": name, "identity": person(number)} for name, number in self.numbers.items()]
            packed.writestr("manifest.jsonl", "\n".join(json.dumps(row) for row in rows))
            for name, number in self.numbers.items():
                packed.writestr(name, jpeg(number))
        return target.getvalue()


@dataclass
class Ledger:
    """All that clients were told. Written under `lock`.

    Attributes:
        asked: images whose deletion was asked for, before it was.
        gone: images whose deletion was answered.
        unsure: images whose deletion was asked for and never answered.
        clouded: batch keys and people: the person was deleted while the batch was under way, so that its images may
            have come before (and are gone) or after it.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    batches: list[Batch] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    clouded: set[tuple[str, str]] = field(default_factory=set)

    def doom(self, images: list[int], who: str | None) -> None:
        """A deletion will be asked for: of some images, or of a person with these and maybe more."""
        with self.lock:
            self.asked.update(images)
            if who is not None:
                self.clouded |= {(batch.key, who) for batch in self.batches if not batch.ended}

    def deleted(self, images: list[int], *, answered: bool) -> None:
        """The deletion was answered, or never will be."""
        with self.lock:
            (self.gone if answered else self.unsure).update(images)


class Inspection:
    """A look at everything that is left when nothing is under way."""

    def __init__(self, stack: Stack, ledger: Ledger, settings: Settings) -> None:
        self._stack, self._ledger, self._settings = stack, ledger, settings
        database = Database(settings.database)
        try:
            with database.read() as session:
                self.rows = {row.id: row for row in session.scalars(select(Image))}
                self.embeddings = session.scalar(select(func.count()).select_from(Embedding)) or 0
                self.jobs = {job.id: job for job in session.scalars(select(Job))}
                self.items = list(session.scalars(select(JobItem)))
        finally:
            database.close()

    def check(self, rng: random.Random) -> None:
        """Raise an AssertionError that says what is not as it was promised."""
        self._check_jobs()
        self._check_images()
        self._check_traces()
        for name in self._stack.names:
            with Caller(self._stack, name) as caller:
                self._check_search(caller)
                self._check_pictures(caller, rng)

    def _check_jobs(self) -> None:
        sent = {batch.job_id: batch for batch in self._ledger.batches}
        assert set(self.jobs) == set(sent), "each batch that was sent, however often, is one job"
        states = Counter(job.state for job in self.jobs.values())
        errors = {job.id: job.error_message for job in self.jobs.values() if job.error_code}
        assert set(states) <= {"succeeded"}, (states, errors)
        statuses = Counter(item.status for item in self.items)
        assert set(statuses) <= {"ingested", "duplicate"}, statuses
        names = {job_id: list(batch.numbers) for job_id, batch in sent.items()}
        placed = Counter((item.job_id, item.position) for item in self.items)
        assert placed == Counter((job_id, place) for job_id, listed in names.items() for place in range(len(listed)))
        for item in self.items:
            expected = names[item.job_id][item.position] if item.image_id in self.rows else ERASED
            assert item.name == expected, "a file's name is known exactly as long as its image is there"

    def _check_images(self) -> None:
        sent, ledger = {batch.job_id: batch for batch in self._ledger.batches}, self._ledger
        digest = {n: hashlib.sha256(jpeg(n)).hexdigest() for b in ledger.batches for n in b.numbers.values()}
        told: dict[int, str] = {}
        for item in self.items:
            batch = sent[item.job_id]
            number = batch.at(item.position)
            if item.status != "ingested":
                continue
            assert item.image_id is not None
            assert item.image_id not in told, f"image {item.image_id} was reported twice"
            told[item.image_id] = digest[number]
            if item.image_id in self.rows:
                assert self.rows[item.image_id].sha256 == digest[number]
            elif item.image_id not in ledger.gone | ledger.unsure:
                assert (batch.key, person(number)) in ledger.clouded, f"image {item.image_id} is lost"
        assert not set(self.rows) & ledger.gone, "a deleted image is in the database"
        assert set(self.rows) <= set(told), "an image that no item reported is in the database"
        twice = [sha for sha, count in Counter(row.sha256 for row in self.rows.values()).items() if count > 1]
        assert not twice, f"the same bytes twice: {twice}"
        known = set(told.values())
        assert {digest[sent[i.job_id].at(i.position)] for i in self.items} <= known, "a duplicate of nothing"

    def _check_traces(self) -> None:
        folder, data = self._settings.images_dir, self._settings.data_dir
        until(lambda: not list((folder / "journal").glob("*")), "no journal is left")
        until(lambda: not list((data / "staging").glob("*")), "nothing staged is left")
        until(lambda: len(workers_of(data)) == 1, "one worker")
        files = {str(path.relative_to(folder))[:-4] for path in folder.glob("??/??/*.jpg")}
        pictures = {name for name in files if not name.endswith(".thumb")}
        assert pictures == {row.store_name for row in self.rows.values()}, "files and rows are the same set"
        assert {name.removesuffix(".thumb") for name in files - pictures} <= pictures
        assert not list((data / "index").glob("*.partial*"))
        assert self.embeddings == len(self.rows)

    def _check_search(self, caller: Caller) -> None:
        found = images_of(search(caller, jpeg(0)))
        assert sorted(found) == sorted(self.rows), "the index holds what the database holds, each image once"

    def _check_pictures(self, caller: Caller, rng: random.Random) -> None:
        for image_id in rng.sample(sorted(self.rows), min(20, len(self.rows))):
            for kind in ("file", "thumbnail"):
                response = caller.insist("GET", f"/v1/images/{image_id}/{kind}")
                assert response.status_code == 200
                with Picture.open(io.BytesIO(response.content)) as picture:
                    picture.load()
        for image_id in rng.sample(sorted(self._ledger.gone), min(20, len(self._ledger.gone))):
            for path in (f"/v1/images/{image_id}", f"/v1/images/{image_id}/file"):
                assert caller.insist("GET", path).status_code == 404


def search(caller: Caller, picture: bytes) -> list[dict[str, object]] | None:
    """Every image of the gallery, as a search by picture ranks it."""
    form = {"limit": 100, "images_per_identity": 20}
    response = caller.ask("POST", "/v1/search/image", files={"file": ("q.jpg", picture)}, data=form)
    if response is None:
        return None
    assert response.status_code == 200, response.text
    candidates: list[dict[str, object]] = response.json()["candidates"]
    return candidates


def images_of(candidates: list[dict[str, object]] | None) -> list[int]:
    """Image ids of an answer."""
    assert candidates is not None
    return [image["id"] for candidate in candidates for image in candidate["images"]]  # type: ignore[attr-defined]


def all_final(settings: Settings, count: int) -> bool:
    """Whether there are that many jobs and none is under way."""
    database = Database(settings.database)
    try:
        with database.read() as session:
            states = list(session.scalars(select(Job.state)))
        return len(states) == count and set(states) <= FINAL
    finally:
        database.close()
