"""Whether a text is English, told by its script, by common words of other languages, and by how much of it is known.

The encoders were trained on English descriptions. Other texts get vectors too, and with them results that mean nothing.
Only what is clear is refused: English with names, brands and misspellings in it passes.
"""

import re
import unicodedata
from dataclasses import dataclass

from models.descriptions.foreign import COMMON
from models.descriptions.words import is_english

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # noqa: RUF001  people type this apostrophe
_SCRIPTS = {
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "CYRILLIC": "Russian or another language in Cyrillic letters",
    "ARABIC": "Arabic or another language in Arabic letters",
    "HEBREW": "Hebrew",
    "GREEK": "Greek",
    "THAI": "Thai",
    "DEVANAGARI": "Hindi or another language in Devanagari letters",
}
_FEW = 3
"""Fewer unknown words may be a brand or a name."""
_MOST_WORDS = 400


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text is made of.

    Attributes:
        words: how many.
        known: how many of them are English words, misspelt ones included.
        language: another language, if it is one; as a noun for a sentence.
    """

    words: int
    known: int
    language: str | None = None

    @property
    def understood(self) -> bool:
        """Whether it may be an English description: a few words that nobody knows may be names."""
        return self.words > 0 and self.language is None and (self.words < _FEW or 4 * self.known > self.words)


def read_language(text: str) -> Reading:
    """Tell English from other languages. Long texts are judged by their first words."""
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKC", text))][:_MOST_WORDS]
    if not words:
        return Reading(0, 0)
    if (script := _script(words)) is not None:
        return Reading(len(words), 0, script)
    strange = [word for word in words if not is_english(word)]
    exact = len(words) - len(strange)
    hits = {language: sum(word in common for word in strange) for language, common in COMMON.items()}
    best = max(hits, key=lambda language: hits[language])
    foreign = hits[best] >= max(2, exact) or (hits[best] > 0 and exact == 0)
    known = exact + sum(is_english(word, misspelt=True) for word in strange)
    return Reading(len(words), known, best if foreign else None)


def _script(words: list[str]) -> str | None:
    """The language of a text that is mostly in another script than Latin."""
    letters = "".join(words)
    if letters.isascii():
        return None
    scripts = [unicodedata.name(letter, "").split(" ")[0] for letter in letters]
    other = [script for script in scripts if script not in ("LATIN", "MODIFIER", "")]
    if 2 * len(other) <= len(scripts):
        return None
    if {"HIRAGANA", "KATAKANA"} & set(other):
        return "Japanese"
    most = max(set(other), key=lambda script: (other.count(script), script))
    return _SCRIPTS.get(most, f"a language in {most.capitalize()} letters")
