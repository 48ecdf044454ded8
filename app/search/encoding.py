"""A composed query to vectors: everything at once through the encoder's queues, and each thing once."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.core import Core
from app.embedding.service import TextEmbedding, Vectors
from app.errors import (
    ImageNotEncodedError,
    PictureError,
    PicturesDifferError,
    QueryEmptyError,
    QueryLanguageUnsupportedError,
    QueryNotUnderstoodError,
    QueryTooLongError,
)
from app.gallery import pictures
from app.identities.service import IdentityService
from app.registry.active import LoadedModel
from app.search.query import Part, Query
from app.search.repository import SearchRepository
from app.search.schemas import CONTENTS, ComposedPart, ComposedQuery, Warned
from app.search.scope import Scope
from app.search.service import check_query
from app.search.understanding import Understood, text_warnings, understand
from app.vectors.repository import LogRepository
from models.encoder import Space
from models.fusion import ANYBODY, in_person

Content = tuple[str, str | int]
"""What a part consists of: one of `CONTENTS`, and its value."""
Encoded = TextEmbedding | Vectors
_OF_A_PART = (
    QueryEmptyError,
    QueryTooLongError,
    QueryNotUnderstoodError,
    QueryLanguageUnsupportedError,
    PictureError,
)


class QueryEncoder:
    """One query under one version. `begin`, then wait for what it returns, then `query`.

    Args:
        files: pictures by the names under which they were sent.
    """

    def __init__(self, core: Core, model: LoadedModel, asked: ComposedQuery, files: Mapping[str, bytes]) -> None:
        self._core, self._model, self._asked, self._files = core, model, asked, files
        self._places = [
            *((f"parts[{at}]", part, False) for at, part in enumerate(asked.parts)),
            *((f"negatives[{at}]", part, True) for at, part in enumerate(asked.negatives)),
        ]
        self._stored: dict[Content, Vectors] = {}

    def begin(self) -> "dict[Content, Future[Any]]":
        """Read what is stored and queue what is to be encoded. Decodes pictures: not for the event loop.

        Raises:
            PicturesDifferError, PictureError, QueryEmptyError, QueryTooLongError: something cannot be a part. Likewise
                QueryNotUnderstoodError, QueryLanguageUnsupportedError.
            ImageNotFoundError, IdentityNotFoundError, ImageNotEncodedError: something is not in the gallery.
            EncoderBusyError: too many are waiting.
        """
        self._check_names()
        with self._core.database.read() as session:
            for _, part, _ in self._places:
                self._stored |= self._read(session, part)
        queued: dict[Content, Future[Any]] = {}
        try:
            for place, part, negative in self._places:
                with _named(place):
                    self._submit(part, negative, queued)
        except BaseException:
            for future in queued.values():
                future.cancel()
            raise
        return queued

    def query(self, encoded: Mapping[Content, Encoded]) -> Query:
        """The query, from the results of what `begin` queued.

        Raises:
            QueryNotUnderstoodError: the model knows no word of a part.
        """
        made, warned = [], list[Warned]()
        for place, part, negative in self._places:
            with _named(place):
                vector, warnings = self._vector(part, negative, encoded)
            space: Space = "text" if part.text is not None else "image"
            made.append(Part(vector, space, part.weight, negative))
            warned += [warning for warning in warnings if warning not in warned]
        shown = [] if self._asked.include_examples else [part for _, part, _ in self._places]
        return Query(
            tuple(made),
            {
                "parts": [self._defined(part) for part in self._asked.parts],
                "negatives": [self._defined(part) for part in self._asked.negatives],
                "include_examples": self._asked.include_examples,
            },
            tuple(warned),
            composed=True,
            without_images=frozenset(part.image_id for part in shown if part.image_id is not None),
            without_identities=frozenset(part.identity_id for part in shown if part.identity_id is not None),
        )

    def _check_names(self) -> None:
        named = {part.picture for _, part, _ in self._places if part.picture is not None}
        if missing := sorted(named - set(self._files)):
            raise PicturesDifferError(
                f"no file named {missing[0][:200]!r} came with the query; send it as multipart/form-data, the query in "
                "the field `query` and the pictures in `files`"
            )
        if unused := sorted(set(self._files) - named):
            raise PicturesDifferError(f"no part names the file {unused[0][:200]!r}; leave it out, or add a part")

    def _read(self, session: Session, part: ComposedPart) -> dict[Content, Vectors]:
        log, space = LogRepository(session), self._model.encoder.spec.stored("image")
        service = IdentityService(session)
        if part.image_id is not None:
            service.image(part.image_id)
            images = [part.image_id]
        elif part.identity_id is not None:
            service.identity(part.identity_id)
            images = list(SearchRepository(session, Scope()).of_identities([part.identity_id]))
        else:
            return {}
        found = log.vectors(self._model.version_id, space, images)
        if not found:
            raise ImageNotEncodedError(min(images, default=0))
        return {_content(part): _direction(np.stack(list(found.values())))}

    def _submit(self, part: ComposedPart, negative: bool, queued: "dict[Content, Future[Any]]") -> None:
        encoder, limits = self._model.encoder, self._core.settings
        if part.text is not None:
            text = check_query(part.text, limits.max_query_chars)
            read = self._understood(text, negative)
            for words in (in_person(text), ANYBODY) if negative else (read.text,):
                if ("text", words) not in queued:
                    queued["text", words] = encoder.submit_text(words)
        elif part.picture is not None and ("picture", part.picture) not in queued:
            data = self._files[part.picture]
            picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
            queued["picture", part.picture] = encoder.submit_picture(encoder.encoder.preprocess(picture.image))

    def _vector(
        self, part: ComposedPart, negative: bool, encoded: Mapping[Content, Encoded]
    ) -> tuple[Vectors, list[Warned]]:
        if part.text is None:
            found = self._stored.get(_content(part))
            return _as_vector(encoded[_content(part)]) if found is None else found, []
        text = part.text.strip()
        if not negative:
            read = self._understood(text, negative)
            embedding = encoded["text", read.text]
            assert isinstance(embedding, TextEmbedding)
            return embedding.vector, [*read.warnings, *text_warnings(embedding)]
        return self._denied(text, encoded)

    def _understood(self, text: str, negative: bool) -> Understood:
        """What is to be encoded of a part's words; all of it, where they are denied anyway."""
        read = understand(text, self._model.encoder.spec.tokenizer)
        return Understood(text) if negative else read

    def _denied(self, text: str, encoded: Mapping[Content, Encoded]) -> tuple[Vectors, list[Warned]]:
        having = encoded["text", in_person(text)]
        anybody = encoded["text", ANYBODY]
        assert isinstance(having, TextEmbedding)
        assert isinstance(anybody, TextEmbedding)
        # Whether the model knows the thing must be asked of its own words: those put around it are always known.
        own = self._model.encoder.encoder.tokenize([text])
        vector = having.vector if anybody.empty else having.vector - anybody.vector
        told = TextEmbedding(vector, own.unknown[0], own.corrected[0], own.truncated[0], own.empty[0])
        return vector, text_warnings(told)

    def _defined(self, part: ComposedPart) -> dict[str, Any]:
        kind, value = _content(part)
        if kind == "picture":
            value = hashlib.sha256(self._files[str(value)]).hexdigest()
        return {kind: value, "weight": part.weight}


def _content(part: ComposedPart) -> Content:
    return next((name, getattr(part, name)) for name in CONTENTS if getattr(part, name) is not None)


def _as_vector(encoded: Encoded) -> Vectors:
    return encoded.vector if isinstance(encoded, TextEmbedding) else encoded


def _direction(stored: NDArray[np.float16]) -> Vectors:
    """(n, dim) stored vectors to the (dim,) unit vector of their mean; the first where they cancel each other out."""
    mean = stored.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        mean = stored[0].astype(np.float64)
        length = float(np.linalg.norm(mean))
    return np.asarray(mean / length, np.float32)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Errors say which part they are about."""
    try:
        yield
    except _OF_A_PART as error:
        raise type(error)(f"{place}: {error.message}") from error
