"""The table of all settings, from `app.settings` as it is written there: names, defaults, limits, docstrings."""

import ast
import inspect
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from app.settings import PROTECTED_ATTRIBUTES, Settings

_HEAD = """# Settings

Every setting of server, worker and verbs. Each is an environment variable; a value that cannot be is refused at the
start, with its name. `python -m app.reference` writes this page from [app/settings.py](../app/settings.py).

Servers and workers of one gallery need the same data folder, database, store and limits.

| variable | default | what it is |
|---|---|---|
"""
_TAIL = """
Beside these: `AWS_*` (credentials of a bucket), `OTEL_EXPORTER_OTLP_ENDPOINT` (where traces go), `DESCRY_DESCRIBE_URL`,
`DESCRY_DESCRIBE_MODEL` and `DESCRY_DESCRIBE_KEY` ([descriptions by a model](captioning.md)), and what Compose reads
([env.example](../deploy/env.example)).
"""
_UNITS = ((2**30, "GiB"), (2**20, "MiB"))


def settings_page() -> str:
    """`docs/settings.md`.

    Raises:
        KeyError: a setting has no docstring.
    """
    told = docstrings()
    rows = []
    for name, field in Settings.model_fields.items():
        text = _cell(f"{told[name]}{_choices(field)}{_limits(field)}")
        rows.append(f"| `DESCRY_{name.upper()}` | {_default(name, field)} | {text} |\n")
    return _HEAD + "".join(rows) + _TAIL


def docstrings() -> dict[str, str]:
    """What stands below each setting, by its name."""
    (written,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(written, ast.ClassDef)
    found = {}
    for one, below in zip(written.body, written.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(below, ast.Expr):
            found[one.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(name: str, field: FieldInfo) -> str:
    value: Any = field.default
    if value == PROTECTED_ATTRIBUTES:
        return f"{len(PROTECTED_ATTRIBUTES)} names"
    value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    if value is None or value in ("", ()):
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value and name.endswith("_bytes"):
        unit = next(((size, word) for size, word in _UNITS if value % size == 0), None)
        return f"`{value}`" if unit is None else f"`{value}` ({value // unit[0]} {unit[1]})"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _choices(field: FieldInfo) -> str:
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    return f" One of {', '.join(f'`{word}`' for word in words)}." if words else ""


def _limits(field: FieldInfo) -> str:
    low = next((f"at least {rule.ge}" for rule in field.metadata if isinstance(rule, Ge)), "")
    above = next((f"above {rule.gt}" for rule in field.metadata if isinstance(rule, Gt)), "")
    high = next((f"at most {rule.le}" for rule in field.metadata if isinstance(rule, Le)), "")
    told = ", ".join(word for word in (low, above, high) if word)
    return f" ({told})" if told else ""
