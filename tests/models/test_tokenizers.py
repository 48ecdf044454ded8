import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.tokenizers import PAD, UNKNOWN, ClipTokenizer, Tokenizer, TokenizerSpec, WordTokenizer, words_of

WORDS = ("a", "red", "jacket", "jackets", "backpack", "trousers", "man", "woman")


@pytest.fixture
def words() -> WordTokenizer:
    return WordTokenizer(TokenizerSpec("words", 6, WORDS))


def test_known_words_get_their_own_ids(words: WordTokenizer) -> None:
    found = words(["A red JACKET!", "man"])
    assert found.ids.tolist() == [[2, 3, 4], [8, PAD, PAD]]
    assert found.unknown == ((), ())
    assert found.empty == (False, False)


def test_a_misspelt_word_is_read_as_its_neighbour_and_told(words: WordTokenizer) -> None:
    found = words(["red jaket with a bakpack"])
    assert found.corrected == ((("jaket", "jacket"), ("bakpack", "backpack")),)
    assert found.unknown == (("with",),)
    assert found.ids[0].tolist() == [3, 4, UNKNOWN, 2, 6]


def test_nonsense_is_empty_and_named(words: WordTokenizer) -> None:
    found = words(["qqqq zzzz qqqq", "", "?!"])
    assert found.empty == (True, True, True)
    assert found.unknown == (("qqqq", "zzzz"), (), ())


def test_long_texts_are_cut_and_told(words: WordTokenizer) -> None:
    found = words(["red " * 7, "red " * 6])
    assert found.truncated == (True, False)
    assert found.ids.shape == (2, 6)


def test_no_texts_give_an_empty_batch(words: WordTokenizer) -> None:
    assert words([]).ids.shape == (0, 1)


def test_vocabulary_is_ordered_and_bounded() -> None:
    texts = ["red red blue", "blue red green", "T-shirt"]
    assert WordTokenizer.vocabulary_of(texts, minimum=1, limit=3) == ("red", "blue", "green")
    assert WordTokenizer.vocabulary_of(texts, minimum=2, limit=9) == ("red", "blue")
    assert words_of("T-shirt, it's") == ["t", "shirt", "it's"]


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_gives_ids_in_range(texts: list[str]) -> None:
    tokenizer = WordTokenizer(TokenizerSpec("words", 6, WORDS))
    ids = tokenizer(texts).ids
    assert ids.shape[0] == len(texts)
    assert bool(((ids >= 0) & (ids < tokenizer.size)).all())


@pytest.mark.parametrize(
    ("kind", "length", "vocabulary"),
    [("words", 6, ()), ("clip_bpe", 77, ("a",)), ("words", 1, ("a",)), ("words", 6, ("a", "a"))],
)
def test_a_spec_that_makes_no_sense_is_refused(kind: str, length: int, vocabulary: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"token|vocabulary"):
        TokenizerSpec(kind, length, vocabulary)  # type: ignore[arg-type]


def test_clip_tokens_agree_with_open_clip() -> None:
    import open_clip

    texts = ["A woman in a red coat, carrying a bag.", "x " * 100, ""]
    ours = Tokenizer.build(TokenizerSpec("clip_bpe", 77))
    theirs = open_clip.SimpleTokenizer()(texts)
    found = ours(texts)
    assert torch.equal(found.ids, theirs)
    assert found.truncated == (False, True, False)
    assert found.empty == (False, False, True)


def test_the_mask_token_is_never_typed() -> None:
    tokenizer = ClipTokenizer(TokenizerSpec("clip_bpe", 77))
    assert 49405 not in tokenizer(["jekyll and hyde"]).ids


def test_word_pieces_know_which_ids_are_words() -> None:
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "coat")
    pieces = Tokenizer.build(TokenizerSpec("wordpiece", 8, vocabulary))
    ids = pieces(["red coat", "red"]).ids
    assert pieces.words(ids).tolist() == [[False, True, True, False], [False, True, False, False]]
    assert vocabulary[pieces.mask_id] == "[MASK]"
    assert bool(pieces.words(torch.tensor([pieces.mask_id])))
