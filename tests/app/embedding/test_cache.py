"""The cache of texts: what counts as the same text, its bounds, its counters."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.embedding import cache
from app.embedding.cache import TextCache, TextEmbedding, folded
from models.checkpoint import DEMO, read_info
from models.tokenizers import Tokenizer, TokenizerSpec, WordPieceTokenizer

WORDS = "a man in a red coat with a black backpack t-shirt it's blue jeans 42 [mask] müller"
NASTY = "aAsSkK09 '-.,;:!?()/+\"&<>[]#_\t\n\r\x0b\x0c\x1c\x85\xa0\u2003\u017f\u0130\u0131\u212aÅåß\u03a3\u03c3\u03c2"
WHOLE = ("&lt;", "&Lt;", "&AMP;", "[MASK]", "[UNK]", "<end_of_text>", "  ")
TEXTS = st.lists(
    st.one_of(st.sampled_from([*WORDS.split(), *NASTY, *WHOLE]), st.characters(codec="utf-8")), max_size=12
).map("".join)


@pytest.fixture(scope="module", params=["words", "clip_bpe", "wordpiece"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Every kind that there is; that of the shipped checkpoint with its vocabulary."""
    if request.param == "words":
        return Tokenizer.build(read_info(DEMO).spec.tokenizer)
    vocabulary = WordPieceTokenizer.vocabulary_of([WORDS] * 3, minimum=1, limit=100)
    return Tokenizer.build(TokenizerSpec(request.param, 77, vocabulary if request.param == "wordpiece" else ()))


def variants(text: str) -> list[str]:
    """What somebody might type who means the same."""
    spaced = text.replace(" ", "  \t")
    return [text.upper(), text.lower(), text.title(), text.swapcase(), f" {text}\n", spaced, folded(text), text.strip()]


@given(text=TEXTS)
@example(text="&Lt; &LT; Red")
@example(text="[MASK] coat")
@example(text="a\x1cb c")
@example(text="İstanbul K")
@settings(deadline=None, max_examples=150)
def test_texts_of_one_key_have_the_same_tokens(tokenizer: Tokenizer, text: str) -> None:
    alike = [other for other in variants(text) if folded(other) == folded(text)]
    found = tokenizer([text, *alike])
    assert all(row.equal(found.ids[0]) for row in found.ids)
    assert len(set(found.empty)) == len(set(found.truncated)) == 1


@given(st.text(st.sampled_from([*"abcXYZ0189 \t\r\n.,;:!?'\"()/+-"]), max_size=60))
@settings(deadline=None, max_examples=150)
def test_case_and_spaces_of_plain_texts_make_no_difference(tokenizer: Tokenizer, text: str) -> None:
    """The other way round: such texts do share a key, or the test above would be about nothing."""
    alike = [other for other in variants(text) if folded(other) == folded(text)]
    assert len(alike) == len(variants(text))
    found = tokenizer([text, *alike])
    assert all(row.equal(found.ids[0]) for row in found.ids)


def embedding(value: float, **told: object) -> TextEmbedding:
    fields = {"unknown": (), "corrected": (), "truncated": False, "empty": False, **told}
    return TextEmbedding(np.full(4, value, np.float32), **fields)  # type: ignore[arg-type]


def test_what_was_kept_is_found_under_any_spelling_of_it() -> None:
    kept = TextCache(10_000)
    kept.put(kept.key("a Red  coat"), embedding(1))
    assert (found := kept.get(kept.key("A red coat"))) is not None
    assert found.vector.tolist() == [1, 1, 1, 1]
    assert kept.get(kept.key("a red hat")) is None
    assert (kept.hits, kept.misses) == (1, 1)


def test_nobody_can_change_what_is_kept() -> None:
    kept, own = TextCache(10_000), embedding(1)
    kept.put(kept.key("x"), own)
    own.vector[:] = 2
    first = kept.get(kept.key("x"))
    assert first is not None
    first.vector[:] = 3
    second = kept.get(kept.key("x"))
    assert second is not None
    assert second.vector.tolist() == [1, 1, 1, 1]


def test_warnings_that_quote_are_of_use_for_the_same_words_alone() -> None:
    kept = TextCache(10_000)
    kept.put(kept.key("Zebra coat"), embedding(1, unknown=("Zebra",)))
    assert kept.get(kept.key("Zebra coat")) is not None
    assert kept.get(kept.key("zebra coat")) is None


def test_the_least_recently_used_goes_first_and_memory_is_bounded() -> None:
    kept = TextCache(3 * 700)
    for name in ("a", "b", "c"):
        kept.put(kept.key(name), embedding(1))
    assert kept.get(kept.key("a")) is not None
    kept.put(kept.key("d"), embedding(1))
    assert [name for name in "abcd" if kept.get(kept.key(name)) is not None] == ["a", "c", "d"]
    kept.put(kept.key("long"), embedding(1, unused="x" * 5000))
    assert kept.get(kept.key("long")) is None
    assert kept.size <= 3 * 700
    assert len(kept) == 3


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    kept = TextCache(0)
    kept.put(kept.key("a"), embedding(1))
    assert kept.get(kept.key("a")) is None
    assert len(kept) == 0


def test_what_was_not_asked_for_in_a_while_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, now = TextCache(10_000), time.monotonic()
    kept.put(kept.key("old"), embedding(1))
    monkeypatch.setattr("app.embedding.cache.time.monotonic", lambda: now + cache.KEEP_S - 60)
    kept.put(kept.key("young"), embedding(1))
    monkeypatch.setattr("app.embedding.cache.time.monotonic", lambda: now + cache.KEEP_S + 60)
    kept.sweep()
    assert (kept.get(kept.key("old")), len(kept)) == (None, 1)


def test_no_text_is_kept() -> None:
    kept = TextCache(10_000)
    kept.put(kept.key("a man with a scar"), embedding(1))
    assert "scar" not in repr(vars(kept))


def test_many_threads_lose_nothing() -> None:
    kept, barrier = TextCache(50 * 700), threading.Barrier(8)

    def use(number: int) -> int:
        barrier.wait(60)
        found = 0
        for step in range(400):
            name = f"text {(step * (number + 3)) % 80}"
            if (known := kept.get(kept.key(name))) is None:
                kept.put(kept.key(name), embedding(float(name.split()[1])))
            else:
                assert known.vector[0] == float(name.split()[1])
                found += 1
        return found

    with ThreadPoolExecutor(8) as pool:
        hits = sum(pool.map(use, range(8)))
    assert (kept.hits, kept.hits + kept.misses) == (hits, 8 * 400)
    assert kept.size <= 50 * 700
    assert kept.size == sum(entry.size for entry in kept._entries.values())
