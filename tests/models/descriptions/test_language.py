"""Other languages are told from English, and English is not refused."""

from random import Random

import pytest

from models.descriptions.language import read_language
from tests.models.descriptions.test_denials import SENTENCES
from training.synthetic.captions import describe
from training.synthetic.person import identity_of, pictures_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Eine Frau mit langen schwarzen Haaren trägt einen roten Mantel", "German"),
        ("rote Jacke, blaue Hose", "German"),
        ("un homme avec une veste noire et un sac à dos", "French"),
        ("femme en robe rouge", "French"),
        ("hombre con camisa roja y pantalón negro", "Spanish"),
        ("uomo con giacca rossa", "Italian"),
        ("homem com casaco vermelho", "Portuguese"),
        ("man met rode jas", "Dutch"),
        ("mężczyzna w czerwonej kurtce", "Polish"),
        ("man i röd jacka", "Swedish, Danish or Norwegian"),
        ("kırmızı ceketli adam", "Turkish"),  # noqa: RUF001
        ("一个穿红色外套的女人", "Chinese"),
        ("赤いコートの女性", "Japanese"),
        ("빨간 코트를 입은 여자", "Korean"),
        ("мужчина в красной куртке", "Russian or another language in Cyrillic letters"),
        ("رجل يرتدي سترة حمراء", "Arabic or another language in Arabic letters"),
        ("άνδρας με κόκκινο μπουφάν", "Greek"),
        ("ჩემი წითელი ქურთუკი", "a language in Georgian letters"),
    ],
)
def test_other_languages_are_named(text: str, language: str) -> None:
    found = read_language(text)
    assert (found.language, found.understood) == (language, False)


@pytest.mark.parametrize("text", ["", " ", "🙂🙂", "... !!", "12345", "asdf qwer zxcv", "mies punaisessa takissa"])
def test_what_says_nothing_is_not_understood(text: str) -> None:
    found = read_language(text)
    assert (found.language, found.understood) == (None, False)


@pytest.mark.parametrize(
    "text",
    [
        "red",
        "adidas",
        "LADY IN RED",
        "wmoan rde jakcet",
        "John Smith from Accounting in a red coat",
        "la dame in the red dress",
        "man in 红色 jacket",
        "red jacket café",
        "ＲＥＤ ＣＯＡＴ",  # noqa: RUF001
        "tall guy w/ backpack & sun-glasses 🙂",
        *SENTENCES,
    ],
)
def test_english_passes(text: str) -> None:
    assert read_language(text).understood


def test_generated_descriptions_pass_and_so_do_their_misspellings() -> None:
    rng, texts = Random(3), []
    for number in range(40):
        identity = identity_of(3, "test", number)
        for picture in pictures_of(identity, 3, "test", number, 1):
            texts += [describe(identity, picture.sight, rng).text for _ in range(10)]
    assert len(texts) == 400
    for text in texts:
        typed = list(text)
        for place in rng.sample(range(len(typed) - 1), min(3, len(typed) - 1)):
            typed[place], typed[place + 1] = typed[place + 1], typed[place]
        assert read_language(text).understood, text
        assert read_language("".join(typed)).understood, "".join(typed)
