"""A description to parts of a query: what it names is asked for, what it says is not there is denied."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from app.embedding.service import TextEmbedding
from app.errors import QueryNotUnderstoodError
from app.registry.active import LoadedModel
from app.search.query import Part, Query
from app.search.schemas import Warned
from app.search.understanding import check_query, text_warnings, understand
from models.fusion import ANYBODY, in_person

Content = tuple[str, str | int]
"""What a part consists of: its kind, and its value."""
Queued = dict[Content, "Future[Any]"]


class Wording:
    """One description under one version. `submit`, wait, then `parts`.

    Raises:
        QueryEmptyError, QueryTooLongError, QueryLanguageUnsupportedError, QueryNotUnderstoodError: it cannot be asked.
    """

    def __init__(self, model: LoadedModel, text: str, max_chars: int) -> None:
        self._model = model
        self._read = understand(check_query(text, max_chars), model.encoder.spec.tokenizer)

    def submit(self, queued: Queued) -> None:
        """Queue what is not queued yet.

        Raises:
            EncoderBusyError: too many are waiting.
        """
        submit_texts(self._model, [self._read.text], queued)
        for thing in self._read.denied:
            submit_denied(self._model, thing, queued)

    def parts(self, encoded: Mapping[Content, Any], weight: float = 1.0) -> tuple[Part, list[Part], list[Warned]]:
        """What is asked for, what is denied, and what the asker should know.

        Raises:
            QueryNotUnderstoodError: the model knows no word of it.
        """
        told: TextEmbedding = encoded["text", self._read.text]
        asked = Part(told.vector, "text", weight, words=self._read.words)
        denied, warned = [], [*self._read.warnings, *text_warnings(told)]
        for thing in self._read.denied:
            try:
                denied.append(denied_part(self._model, thing, encoded)[0])
            except QueryNotUnderstoodError:  # it is out of the text already, and nobody can be seen with it
                warned.append(Warned(code="unknown_words", message=f"not understood: {thing}"))
        return asked, denied, warned


class DescriptionEncoder:
    """A query that is one description. `begin`, then wait for what it returns, then `query`.

    Raises:
        QueryEmptyError, QueryTooLongError, QueryLanguageUnsupportedError, QueryNotUnderstoodError: it cannot be asked.
    """

    def __init__(self, model: LoadedModel, text: str, max_chars: int) -> None:
        self._text, self._wording = text.strip(), Wording(model, text, max_chars)

    def begin(self) -> Queued:
        """Queue what is to be encoded.

        Raises:
            EncoderBusyError: too many are waiting.
        """
        queued: Queued = {}
        with given_back(queued):
            self._wording.submit(queued)
        return queued

    def query(self, encoded: Mapping[Content, Any]) -> Query:
        """The query, from the results of what `begin` queued.

        Raises:
            QueryNotUnderstoodError: the model knows no word of it.
        """
        asked, denied, warned = self._wording.parts(encoded)
        return Query((asked, *denied), {"query": self._text}, tuple(warned), composed=bool(denied))


@contextmanager
def given_back(queued: Queued) -> Iterator[None]:
    """Gives the places in the encoder's queues back if what is queued together cannot be queued as a whole."""
    try:
        yield
    except BaseException:
        for future in queued.values():
            future.cancel()
        raise


def submit_texts(model: LoadedModel, texts: Iterable[str], queued: Queued) -> None:
    """Queue those texts that are not queued yet."""
    for text in texts:
        if ("text", text) not in queued:
            queued["text", text] = model.encoder.submit_text(text)


def submit_denied(model: LoadedModel, thing: str, queued: Queued) -> None:
    """Queue what `denied_part` needs."""
    submit_texts(model, (in_person(thing), ANYBODY), queued)


def denied_part(
    model: LoadedModel, thing: str, encoded: Mapping[Content, Any], weight: float = 1.0
) -> tuple[Part, list[Warned]]:
    """A part that is like a person with a thing and unlike any person; see decision 0017.

    Raises:
        QueryNotUnderstoodError: the model knows no word of the thing.
    """
    having: TextEmbedding = encoded["text", in_person(thing)]
    anybody: TextEmbedding = encoded["text", ANYBODY]
    # Whether the model knows the thing must be asked of its own words: those put around it are always known.
    own = model.encoder.encoder.tokenize([thing])
    vector = having.vector if anybody.empty else having.vector - anybody.vector
    told = TextEmbedding(vector, own.unknown[0], own.corrected[0], own.truncated[0], own.empty[0])
    return Part(vector, "text", weight, negative=True), text_warnings(told)
