"""What a query asked: the body of its request, with the SHA-256 of each uploaded picture in its place.

text       {"query": "a woman in a red coat", "limit": 10, "filters": {...}, ...}
image      {"picture": {"sha256": "..."}, "limit": 10, ...}
composed   {"parts": [{"text": "...", "weight": 1}, {"picture": {"sha256": "..."}}, {"image_id": 7}, ...],
            "negatives": [{"text": "..."}, ...], ...}
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.search.schemas import SearchOptions

OPTIONS = ("limit", "images_per_identity", "collection", "filters", "group_by")
"""What is not the question itself; without `cursor`, a page of the answer, and `purpose`, which has a column."""


def definition(content: Mapping[str, Any], options: SearchOptions) -> dict[str, Any]:
    """The definition of a query from what it asks (`Query.definition`) and its options; those that are null are left
    out."""
    return {**content, **options.model_dump(mode="json", include=set(OPTIONS), exclude_none=True)}


def parts_of(asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every part of a definition: what is sought, then what is not."""
    if "query" in asked:
        yield {"text": asked["query"]}
    if "picture" in asked:
        yield {"picture": asked["picture"]}
    yield from asked.get("parts", ())
    yield from asked.get("negatives", ())


def fingerprints(asked: Mapping[str, Any]) -> list[str]:
    """SHA-256 of the uploaded pictures of a definition, each once, in order."""
    return list(dict.fromkeys(part["picture"]["sha256"] for part in parts_of(asked) if part.get("picture")))


def texts(asked: Mapping[str, Any]) -> list[str]:
    """The words of a definition that say what is sought; not those of its negatives."""
    sought = {name: value for name, value in asked.items() if name != "negatives"}
    return [part["text"] for part in parts_of(sought) if part.get("text")]


def unpacked(asked: Mapping[str, Any], vectors: bytes | None) -> dict[str, NDArray[np.float32]]:
    """The stored vectors of uploaded pictures by SHA-256; empty if there are none or they were erased."""
    names = fingerprints(asked)
    if not names or vectors is None:
        return {}
    rows = np.frombuffer(vectors, "<f4").reshape(len(names), -1).astype(np.float32)
    return dict(zip(names, rows, strict=True))


def in_words(asked: Mapping[str, Any]) -> str:
    """A definition for people: what is sought, and what is not."""
    sought = [_part(part) for part in parts_of({name: v for name, v in asked.items() if name != "negatives"})]
    unwanted = [_part(part) for part in asked.get("negatives", ())]
    return " + ".join(sought) + "".join(f" - {part}" for part in unwanted)


def _part(part: Mapping[str, Any]) -> str:
    if part.get("text"):
        words = f"“{part['text']}”"
    elif part.get("picture"):
        words = f"uploaded picture {part['picture']['sha256'][:12]}"
    elif part.get("image_id"):
        words = f"image {part['image_id']}"
    else:
        words = f"identity {part.get('identity_id')}"
    weight = part.get("weight", 1)
    return words if weight == 1 else f"{weight:g} times {words}"
