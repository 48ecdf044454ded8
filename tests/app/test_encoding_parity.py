"""Ingest, encoding of what is stored, and a query see the same pixels of a picture, and make the same vector of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import delete

from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.database.tables import Embedding
from app.database.tables import Image as Stored
from app.gallery import pictures
from app.gallery.sources import open_source
from app.vectors.repository import LogRepository
from models.checkpoint import save_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from tests.app.test_near_duplicates import scene

WORDS = ("red", "coat", "person")
SIZES = ((120, 240), (37, 91), (900, 1400))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "p"
    made.mkdir()
    for number, size in enumerate(SIZES):
        scene(number).resize(size).save(made / f"{number}.jpg", quality=85, subsampling=number % 3)
        scene(number + 10).resize(size).convert("L").save(made / f"{number}-grey.jpg", quality=85)
    return made


def test_the_same_pixels_and_vectors_everywhere(empty_core: Core, folder: Path, tmp_path: Path) -> None:
    core = empty_core
    torch.manual_seed(7)
    save_checkpoint(build(compact_spec(WORDS, height=96, width=48)).eval(), tmp_path / "model", card="# random\n")
    version = register_checkpoint(core, tmp_path / "model", "random").id
    activate_version(core, version)
    assert {outcome.status for outcome in core.ingest().run(open_source(folder))} == {"ingested"}
    _, _, encoder = core.active.load_encoder(version)
    with core.database.read() as session:
        rows = session.query(Stored).order_by(Stored.id).all()
        first = LogRepository(session).vectors(version, "text", [row.id for row in rows])
    for row in rows:
        data, kept = (folder / str(row.source_name)).read_bytes(), core.store.read(row.store_name)
        assert kept is not None
        pixels = [
            encoder.encoder.preprocess(pictures.decode(one, max_pixels=10**8, max_bytes=10**8).image)
            for one in (data, kept)
        ]
        assert torch.equal(*pixels)
        with Image.open(folder / str(row.source_name)) as plain:  # nothing between Pillow and the network
            assert torch.equal(pixels[0], encoder.encoder.preprocess(plain))
        asked = encoder.submit_picture(pixels[0]).result(30)
        assert np.abs(asked - first[row.id].astype(np.float32)).max() < 1e-3  # float16
    with core.database.write() as session:
        session.execute(delete(Embedding))
    assert core.activation.encode_missing(version, encoder)
    with core.database.read() as session:
        again = LogRepository(session).vectors(version, "text", [row.id for row in rows])
    for image_id, vector in first.items():
        assert np.abs(again[image_id].astype(np.float32) - vector.astype(np.float32)).max() < 1e-3
