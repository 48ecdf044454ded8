"""What is wrong with a field of a recipe, in words; of one that there is not, which one may have been meant."""

import difflib
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel, ValidationError


def told(error: ValidationError, record: type[BaseModel]) -> str:
    """All problems of a record, each with its field.

    Args:
        error: what the check of `record` raised.
        record: whose fields are suggested.
    """
    names = list(_fields(record))
    problems = []
    for one in error.errors():
        field = ".".join(map(str, one["loc"]))
        what = _unknown(field, names) if one["type"] == "extra_forbidden" else one["msg"]
        problems.append(": ".join(filter(None, [field, what])))
    return "; ".join(problems)


def _unknown(field: str, names: list[str]) -> str:
    last = field.rpartition(".")[2]
    same = [name for name in names if name.rpartition(".")[2] == last]
    near = same[:3] or difflib.get_close_matches(field, names, n=2, cutoff=0.8)
    return "there is no such field" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _fields(record: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Names of a record's fields and those of its sections."""
    for name, field in record.model_fields.items():
        yield f"{prefix}{name}"
        for inner in (field.annotation, *get_args(field.annotation)):
            if not prefix and isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _fields(inner, f"{name}.")
