"""What a description is taken to say, before it is encoded: its language, and what it denies."""

import re
from dataclasses import dataclass
from textwrap import shorten

from app.embedding.service import TextEmbedding
from app.errors import QueryEmptyError, QueryLanguageUnsupportedError, QueryNotUnderstoodError, QueryTooLongError
from app.search.schemas import Warned
from models.descriptions.denials import without_denied
from models.descriptions.language import read_language
from models.tokenizers import TokenizerSpec, words_of

_OWN_WORDS = 0.8
"""Share of a text's words in a model's own vocabulary from which on the model was trained on such texts."""
_SHOWN = 120
_MOST_UNREAD = 10
_ANY_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Understood:
    """A description to encode.

    Attributes:
        text: without what is denied.
        denied: things that it says are not there, for negative parts of the query.
        warnings: what the asker should know.
    """

    text: str
    denied: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()

    @property
    def words(self) -> int:
        """How many words `text` has."""
        return len(words_of(self.text))


def check_query(text: str, max_chars: int) -> str:
    """The description, trimmed.

    Raises:
        QueryEmptyError, QueryTooLongError: nothing is left, or too much.
    """
    text = text.strip()
    if not text:
        raise QueryEmptyError("the description is empty; say what the person looks like")
    if len(text) > max_chars:
        raise QueryTooLongError(f"the description has {len(text):,} characters; at most {max_chars:,} are accepted")
    return text


def understand(text: str, tokenizer: TokenizerSpec) -> Understood:
    """Read a description for a model with this tokenizer.

    Raises:
        QueryLanguageUnsupportedError: it is not English, and the model has not been trained on such texts.
        QueryNotUnderstoodError: it has no words, or none that anybody knows.
    """
    reading = read_language(text)
    if not reading.understood and not _own_words(text, tokenizer):
        if reading.language is not None:
            raise QueryLanguageUnsupportedError(
                f"the description seems to be in {reading.language}; the model understands English descriptions only"
            )
        raise QueryNotUnderstoodError(
            "the description has no words" if reading.words == 0 else "no English words were found in the description"
        )
    unread = _unread(text, tokenizer)
    steered = without_denied(text)
    if not steered.denied:
        return Understood(text, warnings=unread)
    things = ", ".join(f"“{thing}”" for thing in steered.denied)
    message = (
        f"a description is matched by what it names, so {things} was taken out of it; who shows it comes later in the "
        "answer"
    )
    return Understood(steered.text, steered.denied, (Warned(code="negation_steered", message=message), *unread))


def _unread(text: str, tokenizer: TokenizerSpec) -> tuple[Warned, ...]:
    """Words in other letters within an English description, which a tokenizer of words passes over."""
    if tokenizer.kind != "words":
        return ()
    words = dict.fromkeys(word for word in _ANY_WORD.findall(text) if not words_of(word))
    if not words:
        return ()
    return (Warned(code="unknown_words", message=f"not understood: {', '.join(list(words)[:_MOST_UNREAD])}"),)


def _own_words(text: str, tokenizer: TokenizerSpec) -> bool:
    words, known = words_of(text), frozenset(tokenizer.vocabulary) if tokenizer.kind == "words" else frozenset[str]()
    return bool(words) and sum(word in known for word in words) >= _OWN_WORDS * len(words)


def text_warnings(embedding: TextEmbedding) -> list[Warned]:
    """What the tokenizer made of a description.

    Raises:
        QueryNotUnderstoodError: the model knows no word of it.
    """
    if embedding.empty:
        words = f" (unknown: {', '.join(embedding.unknown[:10])})" if embedding.unknown else ""
        raise QueryNotUnderstoodError(
            f"the active model knows no word of this description{words}; describe clothes, colours, hair and what is "
            "carried, in English"
        )
    found: list[Warned] = []
    if embedding.unknown:
        found.append(Warned(code="unknown_words", message=f"not understood: {', '.join(embedding.unknown)}"))
    for typed, read in embedding.corrected:
        found.append(Warned(code="spelling_corrected", message=f"“{typed}” was read as “{read}”"))
    if embedding.truncated:
        rest = shorten(embedding.unused, _SHOWN, placeholder=" …")
        found.append(Warned(code="query_truncated", message=f"the description is long; its end was not used: “{rest}”"))
    return found
