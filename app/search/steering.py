"""A description that denies something, as a query of parts: what is there, less what is not."""

from collections.abc import Mapping
from dataclasses import replace

from app.core import Core
from app.registry.active import LoadedModel
from app.search.encoding import Content, Encoded, QueryEncoder
from app.search.query import Query
from app.search.schemas import PARTS, ComposedPart, ComposedQuery, Warned
from app.search.understanding import Understood


def steering(core: Core, model: LoadedModel, read: Understood) -> QueryEncoder:
    """The encoder of such a query. More than `PARTS` denials are left out, as they are of any query."""
    denied = [ComposedPart(text=thing) for thing in read.denied[:PARTS]]
    return QueryEncoder(core, model, ComposedQuery(parts=[ComposedPart(text=read.text)], negatives=denied), {})


def steered_query(encoder: QueryEncoder, read: Understood, text: str, encoded: Mapping[Content, Encoded]) -> Query:
    """The query, from the results of what `encoder` began.

    Args:
        text: as it was typed.
    """
    made = encoder.query(encoded)
    things = ", ".join(f"“{thing}”" for thing in read.denied[:PARTS])
    warned = Warned(
        code="negation_steered",
        message=f"people without {things} are preferred: it was taken out of the description and is searched against, "
        "as the field `negatives` of a composed search does it",
    )
    return replace(made, definition={"text": text}, warnings=(warned, *made.warnings))
