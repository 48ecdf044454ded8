"""32 readers beside a writer, deletions and compaction: every answer is of one state of the gallery."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from app.core import Core
from app.gallery.sources import open_source
from app.identities.service import IdentityService
from app.search.query import Part, Query
from app.search.schemas import SearchOptions
from app.search.service import SearchService
from tests.app.toy import COLOURS, DIM, picture

READERS, ROUNDS, EACH, SEED = 32, 6, 12, 5


def test_answers_have_no_duplicates_and_nothing_deleted(core: Core, tmp_path: Path) -> None:
    gone: set[int] = set()
    present: list[int] = []
    stop = threading.Event()

    def read(seed: int) -> int:
        rng, answers = np.random.default_rng(seed), 0
        while not answers or not stop.is_set():
            deleted = set(gone)
            vector = rng.standard_normal(DIM).astype(np.float32)
            found = _search(core, vector / np.linalg.norm(vector))
            assert len(found) == len(set(found))
            assert not deleted.intersection(found)
            answers += 1
        return answers

    with ThreadPoolExecutor(READERS + 1) as pool:
        readers = [pool.submit(read, SEED + number) for number in range(READERS)]
        keeper = pool.submit(_keep, core, stop)
        try:
            _write(core, tmp_path, present, gone)
        finally:
            stop.set()
        assert all(reader.result() for reader in readers)
        assert keeper.result()
    vector = np.ones(DIM, np.float32) / np.float32(np.sqrt(DIM))
    assert sorted(_search(core, vector)) == sorted(set(present) - gone)
    assert len(present) == ROUNDS * EACH
    assert gone


def _write(core: Core, folder: Path, present: list[int], gone: set[int]) -> None:
    rng = random.Random(SEED)
    names = list(COLOURS)
    for number in range(ROUNDS):
        for part in range(EACH):
            shade = number * EACH + part
            picture(folder / str(number) / f"{part}.png", names[part % len(names)], names[number], shade=shade)
        outcomes = core.ingest().run(open_source(folder / str(number)))
        present += [outcome.image_id for outcome in outcomes if outcome.image_id is not None]
        for image_id in rng.sample(sorted(set(present) - gone), EACH // 3):
            with core.store.change() as files, core.database.write() as session:
                files.doom(IdentityService(session).delete_image(image_id))
            gone.add(image_id)


def _keep(core: Core, stop: threading.Event) -> int:
    rounds = 0
    while not rounds or not stop.is_set():
        core.active.maintain()
        for view in core.active.current().views.values():
            view._index.compact()
        rounds += 1
    return rounds


def _search(core: Core, vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[int]:
    service = SearchService(core.database, core.active.current())
    began = time.perf_counter()
    query = Query((Part(vector, "image"),), {"picture": "-"})
    answer = service.answer(query, SearchOptions(limit=100, images_per_identity=20), started=began)
    return [image.id for candidate in answer.candidates for image in candidate.images]
