"""A composed query to vectors: everything at once through the encoder's queues, and each thing once."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session
from torch import Tensor

from app.core import Core
from app.embedding.service import Vectors
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
from app.search.understanding import check_query, understand
from app.search.wording import Content, Queued, Wording, denied_part, given_back, submit_denied
from app.vectors.repository import LogRepository

_OF_A_PART = (QueryEmptyError, QueryTooLongError, QueryLanguageUnsupportedError, QueryNotUnderstoodError, PictureError)


class QueryEncoder:
    """One query under one version. `begin`, then wait for what it returns, then `query`.

    Args:
        files: pictures by the names under which they were sent.
        vectors: those that were encoded by this version before, by their SHA-256, which is their name in `asked` then.
    """

    def __init__(
        self,
        core: Core,
        model: LoadedModel,
        asked: ComposedQuery,
        files: Mapping[str, bytes],
        vectors: Mapping[str, Vectors] | None = None,
    ) -> None:
        self._core, self._model, self._asked, self._files = core, model, asked, files
        self._before, self._wordings = dict(vectors or {}), dict[str, Wording]()
        self._places = [
            *((f"parts[{at}]", part, False) for at, part in enumerate(asked.parts)),
            *((f"negatives[{at}]", part, True) for at, part in enumerate(asked.negatives)),
        ]
        self._stored: dict[Content, Vectors] = {("picture", name): vector for name, vector in self._before.items()}

    def begin(self) -> Queued:
        """Read what is stored and queue what is to be encoded. Decodes pictures: not for the event loop.

        Raises:
            PicturesDifferError, PictureError, QueryEmptyError, QueryTooLongError: something cannot be a part.
            ImageNotFoundError, IdentityNotFoundError, ImageNotEncodedError: something is not in the gallery.
            EncoderBusyError: too many are waiting.
        """
        self._check_names()
        with self._core.database.read() as session:
            for _, part, _ in self._places:
                self._stored |= self._read(session, part)
        queued: Queued = {}
        with given_back(queued):
            for place, part, negative in self._places:
                with _named(place):
                    self._submit(place, part, negative, queued)
        return queued

    def query(self, encoded: Mapping[Content, Any]) -> Query:
        """The query, from the results of what `begin` queued.

        Raises:
            QueryNotUnderstoodError: the model knows no word of a part.
        """
        made, steered, warned = list[Part](), list[Part](), list[Warned]()
        for place, part, negative in self._places:
            with _named(place):
                one, denied, warnings = self._part(place, part, negative, encoded)
            made.append(one)
            steered += denied
            warned += [warning for warning in warnings if warning not in warned]
        shown = [] if self._asked.include_examples else [part for _, part, _ in self._places]
        return Query(
            (*made, *steered),
            {
                "parts": [self._defined(part) for part in self._asked.parts],
                "negatives": [self._defined(part) for part in self._asked.negatives],
                "include_examples": self._asked.include_examples,
            },
            tuple(warned),
            composed=True,
            without_images=frozenset(part.image_id for part in shown if part.image_id is not None),
            without_identities=frozenset(part.identity_id for part in shown if part.identity_id is not None),
            uploaded={
                self._sha256(part.picture): vector.vector
                for (_, part, _), vector in zip(self._places, made, strict=True)
                if part.picture is not None
            },
        )

    def _check_names(self) -> None:
        named = {part.picture for _, part, _ in self._places if part.picture is not None}
        if missing := sorted(named - set(self._files) - set(self._before)):
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

    def _submit(self, place: str, part: ComposedPart, negative: bool, queued: Queued) -> None:
        encoder, limits = self._model.encoder, self._core.settings
        if part.text is not None and negative:
            text = check_query(part.text, limits.max_query_chars)
            understand(text, encoder.spec.tokenizer)  # refuses other languages; what is denied is denied as it stands
            submit_denied(self._model, text, queued)
        elif part.text is not None:
            self._wordings[place] = Wording(self._model, part.text, limits.max_query_chars)
            self._wordings[place].submit(queued)
        elif part.picture is not None and not {("picture", part.picture)} & (queued.keys() | self._stored.keys()):
            decoded = self._core.decoding.submit(partial(self._decoded, self._files[part.picture]))
            queued["picture", part.picture] = encoder.submit_picture(decoded.result())

    def _decoded(self, data: bytes) -> Tensor:
        limits = self._core.settings
        picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        return self._model.encoder.encoder.preprocess(picture.image)

    def _part(
        self, place: str, part: ComposedPart, negative: bool, encoded: Mapping[Content, Any]
    ) -> tuple[Part, list[Part], list[Warned]]:
        """The part, what its description denies, and what the asker should know."""
        if part.text is not None and negative:
            one, warned = denied_part(self._model, part.text.strip(), encoded, part.weight)
            return one, [], warned
        if part.text is not None:
            return self._wordings[place].parts(encoded, part.weight)
        content = _content(part)
        vector = self._stored[content] if content in self._stored else encoded[content]
        return Part(vector, "image", part.weight, negative), [], []

    def _defined(self, part: ComposedPart) -> dict[str, Any]:
        kind, value = _content(part)
        told: Any = {"sha256": self._sha256(str(value))} if kind == "picture" else value
        return {kind: told, "weight": part.weight}

    def _sha256(self, name: str) -> str:
        return name if name in self._before else hashlib.sha256(self._files[name]).hexdigest()


def _content(part: ComposedPart) -> Content:
    return next((name, getattr(part, name)) for name in CONTENTS if getattr(part, name) is not None)


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
