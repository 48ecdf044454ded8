"""Encoders that are loaded once, whoever asks for them, and put away when nobody does."""

import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.embedding.shelf import EncoderShelf
from app.settings import Settings
from models.errors import CheckpointError
from tests.app.toy import toy_checkpoint


@pytest.fixture
def shelf(tmp_path: Path) -> EncoderShelf:
    return EncoderShelf(Settings(data_dir=tmp_path / "data", device="cpu"))


def test_what_is_there_is_not_loaded_again(shelf: EncoderShelf, tmp_path: Path) -> None:
    one, other = toy_checkpoint(tmp_path / "one"), toy_checkpoint(tmp_path / "other", words=("red",))
    first, second = shelf.get("1", one), shelf.get("2", other)
    assert first is not second
    assert shelf.get("1", one) is first  # somebody holds it, though another one was asked for since
    assert first.encode_texts_here(["red"])[0].unknown == ()
    assert second.encode_texts_here(["blue"])[0].unknown == ("blue",)


def test_several_at_once_get_the_same(shelf: EncoderShelf, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "one")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: shelf.get("1", folder), range(8)))
    assert len({id(one) for one in found}) == 1


def test_what_is_idle_is_put_away_and_its_memory_is_free(shelf: EncoderShelf, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "one")
    seen = weakref.ref(shelf.get("1", folder))
    gc.collect()
    assert seen() is shelf.get("1", folder)  # nobody holds it, and it waits for who asks next
    assert not shelf.tidy(idle_s=3600)
    assert seen() is not None
    assert shelf.tidy(idle_s=0)
    assert seen() is None
    assert not shelf.tidy(idle_s=0)  # there is none any more
    held = shelf.get("1", folder)
    assert shelf.tidy(idle_s=0)
    assert shelf.get("1", folder) is held


def test_one_that_was_replaced_is_freed_and_those_that_answer_stay(shelf: EncoderShelf, tmp_path: Path) -> None:
    gc.disable()  # or chance would free it
    try:
        seen = weakref.ref(shelf.get("1", toy_checkpoint(tmp_path / "one")))
        answers = shelf.get("2", toy_checkpoint(tmp_path / "two", words=("red",)))
        assert seen() is not None  # it refers to itself
        assert not shelf.tidy([answers], idle_s=3600)
        assert shelf.tidy([answers], idle_s=0)
        assert seen() is None
        assert not shelf.tidy([answers], idle_s=0)  # nothing is left to look for
        assert shelf.get("2", tmp_path / "two") is answers
    finally:
        gc.enable()


def test_who_holds_one_for_long_is_not_asked_for_ever(shelf: EncoderShelf, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "one")
    held = shelf.get("1", folder)
    assert [shelf.tidy(idle_s=0) for _ in range(5)] == [True, True, True, False, False]
    assert shelf.get("1", folder) is held
    assert shelf.tidy(idle_s=0)  # it was asked for again


def test_a_pass_is_use(shelf: EncoderShelf, tmp_path: Path) -> None:
    encoder = shelf.get("1", toy_checkpoint(tmp_path / "one"))
    encoder.used_at -= 3600
    encoder.encode_texts_here(["red"])
    assert time.monotonic() - encoder.used_at < 1800
    assert not shelf.tidy(idle_s=1800)


def test_one_that_is_closed_is_given_to_nobody(shelf: EncoderShelf, tmp_path: Path) -> None:
    folder = toy_checkpoint(tmp_path / "one")
    closed = shelf.get("1", folder)
    closed.close()
    again = shelf.get("1", folder)
    assert again is not closed
    assert again.submit_text("red").result(30).unknown == ()
    again.close()


def test_one_that_cannot_be_loaded_leaves_nothing(shelf: EncoderShelf, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        shelf.get("1", tmp_path / "nowhere")
    assert shelf.get("1", toy_checkpoint(tmp_path / "one")).spec.method == "toy"
