"""The schemas of an OpenAPI document as a Python module of pydantic models, for `descry_client`."""

import json
import keyword
import textwrap
from typing import Any

_HEAD = '''"""What the API takes and gives. Written by `python -m app.reference` from docs/openapi.json: do not edit."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """What all have in common. Fields that a newer server adds are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, serialize_by_alias=True, protected_namespaces=())
'''
_WIDTH = 118
_LEAST_SHARED = 4
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def models_module(document: dict[str, Any]) -> str:
    """The source of the module. Forms with files, which no model can carry, are left out."""
    schemas = document["components"]["schemas"]
    names = [name for name in schemas if not name.startswith("Body_")]
    parents = {name: _parent(name, names, schemas) for name in names}
    ordered = _ordered(names, parents, schemas)
    return "\n\n".join([_HEAD, *(_model(name, parents[name], schemas) for name in ordered)])


def _parent(name: str, names: list[str], schemas: dict[str, Any]) -> str | None:
    """The largest model of which this one has every field and more: the document does not tell of inheritance."""

    def fields(of: str) -> dict[str, tuple[str, bool]]:
        schema = schemas[of]
        required = schema.get("required", ())
        return {key: (annotation(one), key in required) for key, one in schema.get("properties", {}).items()}

    own = fields(name).items()
    found = [other for other in names if len(fields(other)) >= _LEAST_SHARED and fields(other).items() < own]
    return max(found, key=lambda other: (len(fields(other)), other), default=None)


def _ordered(names: list[str], parents: dict[str, str | None], schemas: dict[str, Any]) -> list[str]:
    """What a model names comes before it."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        text = json.dumps(schemas[name])
        if (parent := parents[name]) is not None:
            visit(parent)
        for other in names:
            if other != name and f'"#/components/schemas/{other}"' in text:
                visit(other)
        done.append(name)

    for name in sorted(names):
        visit(name)
    return done


def _model(name: str, parent: str | None, schemas: dict[str, Any]) -> str:
    schema, above = schemas[name], schemas[parent]["properties"] if parent else {}
    lines = [f"class {name}({parent or 'Model'}):", *_docstring(schema.get("description", f"{name}."))]
    required = set(schema.get("required", ()))
    fields = [
        _field(key, value, key in required) for key, value in schema.get("properties", {}).items() if key not in above
    ]
    return "\n".join([*lines, *([""] if fields else []), *fields, ""])


def _docstring(text: str) -> list[str]:
    paragraphs = [textwrap.wrap(" ".join(part.split()), _WIDTH - 8) for part in text.split("\n\n")]
    lines = [line for paragraph in paragraphs for line in ["", *paragraph]][1:]
    if len(lines) == 1:
        return [f'    """{lines[0]}"""']
    return [f'    """{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """']


def _field(key: str, schema: dict[str, Any], required: bool) -> str:
    name = f"{key}_" if keyword.iskeyword(key) else key
    kind = annotation(schema)
    alias = f'alias="{key}"' if name != key else ""
    if required:
        value = f" = Field({alias})" if alias else ""
    else:
        default = schema.get("default")
        if default is None and "None" not in kind.split(" | "):
            kind += " | None"
        told = f"default_factory={kind.split('[')[0]}" if isinstance(default, dict | list) else ""
        plain = f'"{default}"' if isinstance(default, str) else repr(default)
        value = f" = Field({told or f'default={plain}'}, {alias})" if alias else f" = {plain}"
        value = f" = Field({told})" if told and not alias else value
    line = f"    {name}: {kind}{value}"
    assert len(line) <= _WIDTH + 2, line
    return line


def annotation(schema: dict[str, Any]) -> str:
    """The Python type of a schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(annotation(one) for one in choices))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(json.dumps(value) for value in values)}]"
    kind = schema.get("type")
    if kind == "array":
        return f"list[{annotation(schema['items'])}]" if "items" in schema else "list[Any]"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"dict[str, {annotation(inner)}]" if isinstance(inner, dict) else "dict[str, Any]"
    if schema.get("format") == "date-time":
        return "datetime"
    return _PLAIN.get(str(kind), "Any")
