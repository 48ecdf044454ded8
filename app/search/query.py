"""A query after encoding."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.search.schemas import SearchOptions, Warned
from models.encoder import Space


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that was asked for, encoded.

    Attributes:
        vector: (dim,) unit-norm, in `space`. Of words that are denied it is a difference of two such vectors, as
            `app.search.encoding` makes it.
        space: the space of the query: `text` for words, `image` for pictures.
        weight: above 0.
        negative: whether what is like it is to be left behind.
        learnt: whether feedback has moved it, so that its scores mean something else than those of plain queries.
        words: how many of them were encoded; None for a picture, or where nobody counted.
    """

    vector: NDArray[np.float32]
    space: Space
    weight: float = 1.0
    negative: bool = False
    learnt: bool = False
    words: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for.

    Attributes:
        parts: at least one that is not negative.
        definition: what was asked, JSON-ready: the body of the request without its options, with {"sha256": ...} in the
            place of each uploaded picture.
        warnings: what the asker should know about it.
        composed: whether the answer says how each part contributed, even if there is one part only.
        without_images, without_identities: what is not in the answer, because it is a part itself or was rejected.
        id: of a query that is asked again; else the answer gets a new one.
        uploaded: the vectors of uploaded pictures, by SHA-256.
    """

    parts: tuple[Part, ...]
    definition: dict[str, Any]
    warnings: tuple[Warned, ...] = ()
    composed: bool = False
    without_images: frozenset[int] = frozenset()
    without_identities: frozenset[int] = frozenset()
    id: str | None = None
    uploaded: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def digest(self, options: SearchOptions) -> str:
        """What tells this question from another one, whatever page of it is asked for; 16 hex digits."""
        asked = options.model_dump(mode="json", include={"collection", "filters", "group_by"})
        text = json.dumps([self.definition, asked], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
