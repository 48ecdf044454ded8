import pytest
import torch
from hypothesis import example, given
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


PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "coat", "##s", "t", "-", "shirt", ".", "r", "##e")
KINDS = {
    "words": TokenizerSpec("words", 40, ("a", "red", "coat", "t", "shirt", "jacket")),
    "clip_bpe": TokenizerSpec("clip_bpe", 77),
    "wordpiece": TokenizerSpec("wordpiece", 40, PIECES),
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def any_kind(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.build(KINDS[request.param])


@pytest.mark.parametrize(
    "text",
    [
        "A red coat.",
        "  A  RED\tcoats,\n and a T-shirt ",
        "",
        "?!",
        "red coat " * 40,
        "jekyll in red",
        "a café-coloured jaket, it's İstanbul's ΣΑΣ red coat 1998",
        "a &amp; red &lt;coat&gt; â€œredâ€\x9d coat",
    ],
)
def test_every_token_says_where_it_stands(any_kind: Tokenizer, text: str) -> None:
    ids = any_kind([text]).ids[0]
    places = any_kind.places(text)
    framed = [] if any_kind.spec.kind == "words" else [0, len(places) - 1]
    assert len(places) == int((ids != PAD).sum())
    assert all(places[n] == (0, 0) for n in framed)
    inner = [place for n, place in enumerate(places) if n not in framed]
    assert all(0 <= start <= end <= len(text) for start, end in inner)
    assert inner == sorted(inner)
    # A token found alone at its place is the same token, where that is a whole word.
    for number, (start, end) in enumerate(places):
        word = text[start:end].lower()
        if word in ("red", "coat", "a"):
            alone = any_kind([word]).ids[0]
            assert int(alone[1 if framed else 0]) == int(ids[number])
    if "red" in text.lower() and "&" not in text:
        assert any(text[start:end].lower() == "red" for start, end in places)


def test_clips_pieces_of_one_word_divide_it() -> None:
    tokenizer = Tokenizer.build(KINDS["clip_bpe"])
    text = "wearing turtlenecked jäckets"
    pieces = [text[start:end] for start, end in tokenizer.places(text)[1:-1]]
    assert pieces[0] == "wearing"
    assert len(pieces) > 3
    assert "".join(dict.fromkeys(pieces)).startswith("wearingturtlenecked")
    assert tokenizer.places("&amp; red")[2] == (6, 9)
    assert tokenizer.places("jekyll in")[1:-1] == ((7, 9),)


@example(texts=["\r"])
@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_text_has_as_many_places_as_tokens(any_kind: Tokenizer, texts: list[str]) -> None:
    for text in texts:
        places = any_kind.places(text)
        kept = any_kind([text]).ids[0].nonzero().flatten().tolist()  # CLIP has a piece "!" with the id of padding
        assert len(places) == (kept[-1] + 1 if kept else 0)
        assert all(0 <= start <= end <= len(text) for start, end in places)


@pytest.mark.parametrize("kind", ["words", "clip_bpe", "wordpiece"])
def test_the_words_that_did_not_fit_are_named(kind: str) -> None:
    if kind == "clip_bpe":
        pytest.importorskip("open_clip")
    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "back", "##pack", ",", "é")
    spec = {
        "words": TokenizerSpec("words", 4, WORDS),
        "clip_bpe": TokenizerSpec("clip_bpe", 6),
        "wordpiece": TokenizerSpec("wordpiece", 6, tuple(dict.fromkeys(pieces))),
    }[kind]
    tokenizer = Tokenizer.build(spec)
    text = "A  red jacket a man, RED trousers."
    assert tokenizer([text]).truncated == (True,)
    assert tokenizer.unused(text) == "man, RED trousers"
    assert tokenizer([tokenizer.unused(text)]).truncated == (False,)
    assert tokenizer.unused("a red jacket.") == ""


def test_a_word_that_is_cut_in_two_is_not_used() -> None:
    spec = TokenizerSpec("wordpiece", 5, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "back", "##pack"))
    tokenizer = Tokenizer.build(spec)
    assert tokenizer(["a red backpack"]).truncated == (True,)
    assert tokenizer.unused("a red backpack") == "backpack"
