"""The encoder in production: what its callers may rely on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from app.core import Core
from app.embedding.service import EncoderService
from app.errors import EncoderFailedError, EncoderMemoryError, EncoderStalledError
from app.gallery.sources import open_source
from app.settings import Settings
from models.encoder import Space
from tests.app.conftest import IngestFolder
from tests.app.toy import ToyEncoder, picture, toy_spec
from tests.waiting import until


class Watched(ToyEncoder):
    """The toy with a gate, and with little memory."""

    def __init__(self, *, two_spaces: bool = False) -> None:
        super().__init__(toy_spec(two_spaces=two_spaces))
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.texts: list[list[list[int]]] = []
        self.pictures: list[int] = []
        self.room = 10**6
        self.broken = False

    def encode_text(self, token_ids: Tensor) -> Tensor:
        self.texts.append(token_ids.tolist())
        self.entered.set()
        assert self.gate.wait(60)
        if self.broken:
            raise RuntimeError("secret inside")
        if len(token_ids) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode_text(token_ids)

    def encode_image(self, pixels: Tensor) -> dict[Space, Tensor]:
        self.pictures.append(len(pixels))
        if len(pixels) > self.room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return super().encode_image(pixels)


@pytest.fixture
def toy() -> Watched:
    return Watched()


@pytest.fixture
def service(toy: Watched, settings: Settings) -> Iterator[EncoderService]:
    found = EncoderService(toy, settings)
    yield found
    toy.gate.set()
    found.close()


def pixels(shade: int) -> Tensor:
    return torch.full((3, 32, 16), shade, dtype=torch.uint8)


def test_the_same_text_twice_at_once_is_one_pass(service: EncoderService, toy: Watched) -> None:
    toy.gate.clear()
    first = service.submit_text("red coat")
    assert toy.entered.wait(60)
    rest = [service.submit_text(text) for text in ("red coat", "Red  Coat", "blue coat", "blue coat", "red coat")]
    toy.gate.set()
    found = [future.result(60) for future in (first, *rest)]
    assert sum(len(some) for some in toy.texts) == 2
    for one in (1, 2, 5):
        assert np.array_equal(found[one].vector, found[0].vector)
    assert np.array_equal(found[3].vector, found[4].vector)
    assert not np.array_equal(found[0].vector, found[3].vector)
    assert service.submit_text("blue coat").done()
    assert service.cache.hits == 1


def test_versions_share_nothing(service: EncoderService, settings: Settings) -> None:
    service.submit_text("red coat").result(60)
    other = EncoderService(toy := Watched(), settings)
    other.submit_text("red coat").result(60)
    assert len(toy.texts) == 1
    other.close()


def test_a_cache_can_be_turned_off(toy: Watched, settings: Settings) -> None:
    service = EncoderService(toy, settings.model_copy(update={"query_cache_bytes": 0}))
    first, second = (service.submit_text("red coat").result(60).vector for _ in range(2))
    assert np.array_equal(first, second)
    assert len(toy.texts) == 2
    service.close()


def test_a_probe_is_encoded_in_any_case(service: EncoderService, toy: Watched) -> None:
    for _ in range(3):
        service.submit_text("red coat", probe=True).result(60)
    assert len(toy.texts) == 3


def test_a_cached_answer_is_what_encoding_gives(service: EncoderService) -> None:
    text = "a RED coat " + "in a blue coat " * 10
    first, again = (service.submit_text(text).result(60) for _ in range(2))
    assert np.array_equal(first.vector, again.vector)
    assert (again.truncated, again.unused, again.unknown) == (True, first.unused, first.unknown)
    lower = service.submit_text(text.lower()).result(60)
    assert lower.unused == first.unused.lower()


def test_too_little_memory_halves_batches_of_queries_and_of_the_gallery(service: EncoderService, toy: Watched) -> None:
    toy.room = 3
    toy.gate.clear()
    first = service.submit_text("red")
    assert toy.entered.wait(60)
    rest = [service.submit_text(f"{word} coat") for word in ("red", "green", "blue", "yellow", "purple", "orange")]
    toy.gate.set()
    first.result(60)
    found = [future.result(60).vector for future in rest]
    toy.room = 10**6
    alone = [EncoderService(Watched(), Settings(device="cpu")).encode_texts_here([f"{word} coat"])[0].vector
             for word in ("red", "green", "blue", "yellow", "purple", "orange")]  # fmt: skip
    assert np.allclose(found, alone)
    assert [len(some) for some in toy.texts] == [1, 6, 3, 3]
    toy.room = 3
    shades = [pixels(10 * number) for number in range(11)]
    whole = service.encode_here(shades)["text"]
    assert whole.shape == (11, 24)
    assert np.allclose(whole[7], service.encode_here([shades[7]])["text"][0])
    assert max(toy.pictures[2:]) <= 3
    assert service.stats["halvings"] == 3


def test_one_that_does_not_fit_alone_has_a_code_and_the_service_lives(service: EncoderService, toy: Watched) -> None:
    toy.room = 0
    with pytest.raises(EncoderMemoryError):
        service.submit_text("red coat").result(60)
    with pytest.raises(EncoderMemoryError):
        service.submit_picture(pixels(1)).result(60)
    with pytest.raises(EncoderMemoryError):
        service.encode_images([pixels(1), pixels(2)])
    toy.room = 9
    assert service.submit_text("red coat").result(60).vector.shape == (24,)
    assert service.submit_picture(pixels(1)).result(60).shape == (24,)


def test_an_ingest_goes_on_when_pictures_do_not_fit_and_takes_them_later(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, colour in enumerate(("red", "green", "blue")):
        picture(tmp_path / "in" / f"{number}.jpg", colour)
    whole = ToyEncoder.encode_image

    def small(self: ToyEncoder, batch: Tensor) -> dict[Space, Tensor]:
        if len(batch) > 1 or float(batch[:, 2].mean()) > 0.4:  # blue ones are too much
            raise MemoryError
        return whole(self, batch)

    monkeypatch.setattr(ToyEncoder, "encode_image", small)
    outcomes = {outcome.name: outcome for outcome in ingest(tmp_path / "in")}
    assert [outcomes[f"{number}.jpg"].status for number in range(3)] == ["ingested", "ingested", "rejected"]
    assert outcomes["2.jpg"].code == "encoder_out_of_memory"
    monkeypatch.setattr(ToyEncoder, "encode_image", whole)
    again = {outcome.name: outcome.status for outcome in core.ingest().run(open_source(tmp_path / "in"))}
    assert again == {"0.jpg": "duplicate", "1.jpg": "duplicate", "2.jpg": "ingested"}


def test_an_error_of_the_model_is_typed_and_says_nothing_of_the_inside(service: EncoderService, toy: Watched) -> None:
    toy.broken = True
    with pytest.raises(EncoderFailedError) as failed:
        service.submit_text("red coat").result(60)
    assert "secret" not in failed.value.message
    toy.broken = False
    assert service.submit_text("red coat").result(60) is not None
    assert service.trouble is None


def test_a_model_that_hangs_is_told_of_and_survived(toy: Watched, settings: Settings) -> None:
    # Three times as long, and it would end this process, the third trial hanging too.
    service = EncoderService(toy, settings.model_copy(update={"encoder_stall_s": 3.0}))
    toy.gate.clear()
    stuck = service.submit_text("red coat")
    with pytest.raises(EncoderStalledError):
        stuck.result(60)
    assert service.trouble is not None  # the trial hangs too
    pictures = service.submit_picture(pixels(3))
    assert pictures.result(60).shape == (24,)
    toy.gate.set()
    until(lambda: service.trouble is None, "the trial has passed")
    assert service.submit_text("red coat").result(60) is not None
    service.close()


def test_the_warm_up_runs_texts_of_every_length_and_pictures(service: EncoderService, toy: Watched) -> None:
    service.warm_up()
    shapes = {(len(some), len(some[0])) for some in toy.texts}
    assert {(1, 4), (1, 8), (1, 16), (32, 16)} <= shapes
    assert toy.pictures
    assert len(service.cache) == 0
    assert service.stats["texts"]["passes"] == 0


def test_a_version_is_warm_before_it_answers(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = core.active.current()
    order: list[str] = []
    monkeypatch.setattr(EncoderService, "warm_up", lambda self: order.append("warm"))
    core.active._loaded = None
    core.active.warm = True
    core.active.follow()
    assert order == ["warm"]
    assert core.active.current().version_id == loaded.version_id
