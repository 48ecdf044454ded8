"""The OpenAPI document as one page of plain HTML: no script, nothing from another host."""

import json
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any

Document = dict[str, Any]


def reference_page(document: Document) -> str:
    """The page for an OpenAPI document."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups[operation.get("tags", ["other"])[0]].append(_operation(document, method, path, operation))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in groups.items())
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(info["title"])} API</title><link rel="stylesheet" href="/docs/style.css"></head><body>'
        f"<h1>{escape(info['title'])} API</h1>"
        f'<p class="hint">Version {escape(info["version"])}. {escape(info.get("summary", ""))} '
        'For programs: <a href="/openapi.json">openapi.json</a>. Errors are <code>Problem</code> documents '
        "(RFC 9457); match on their <code>code</code>.</p>"
        f"{sections}<h2>schemas</h2>{schemas}</body></html>"
    )


def _operation(document: Document, method: str, path: str, operation: Document) -> str:
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    if parameters := operation.get("parameters"):
        rows = [(item["name"], item["in"], _type(item.get("schema", {}))) for item in parameters]
        parts.append(_table(("Parameter", "In", "Type"), rows))
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{escape(media)}</code></p>{_fields(_resolved(document, content['schema']))}")
        if media == "application/json":
            parts.append(f"<pre>{escape(_curl(document, path, content['schema']))}</pre>")
    answers = [
        (status, ", ".join(_type(content.get("schema", {})) for content in answer.get("content", {}).values()),
         answer["description"])
        for status, answer in sorted(operation["responses"].items())
    ]  # fmt: skip
    parts.append(_table(("Status", "Answer", "Meaning"), answers))
    title = f"<b>{escape(method.upper())}</b> <code>{escape(path)}</code>"
    return f"<details><summary>{title}</summary>{''.join(parts)}</details>"


def _schema(name: str, schema: Document) -> str:
    text = f"<p>{escape(schema.get('description', ''))}</p>"
    return (
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{text}{_fields(schema)}</details>'
    )


def _fields(schema: Document) -> str:
    required = schema.get("required", [])
    rows = [
        (name + ("" if name in required else " (optional)"), _type(field), _meaning(field))
        for name, field in schema.get("properties", {}).items()
    ]
    return _table(("Field", "Type", "Meaning"), rows) if rows else ""


def _meaning(field: Document) -> str:
    limits = {"minimum": "at least", "maximum": "at most", "default": "default", "maxLength": "characters at most"}
    told = [f"{words} {field[key]}" for key, words in limits.items() if key in field]
    return " ".join([field.get("description", ""), ", ".join(told)]).strip()


def _type(schema: Document) -> str:
    if reference := schema.get("$ref"):
        return str(reference).rsplit("/", 1)[-1]
    if options := schema.get("anyOf"):
        return " or ".join(_type(option) for option in options)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))


def _resolved(document: Document, schema: Document) -> Document:
    if "$ref" not in schema:
        return schema
    found: Document = document["components"]["schemas"][_type(schema)]
    return found


def _curl(document: Document, path: str, schema: Document) -> str:
    fields = _resolved(document, schema).get("properties", {})
    body = {name: field["examples"][0] for name, field in fields.items() if field.get("examples")}
    return f"curl http://127.0.0.1:8000{path} -H 'content-type: application/json' -d '{json.dumps(body)}'"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
