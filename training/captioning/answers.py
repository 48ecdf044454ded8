"""What a model said, read with patience: JSON in fences, in prose, with slips, or cut off."""

import json
import re

from training.captioning import checks

FIELDS = ("identity", "clothing")
_NAMES = {
    "identity": ("identity", "identity_description", "person"),
    "clothing": ("clothing", "clothing_description", "clothes"),
}
_SHOWN = 200
_TRAILING_COMMA = re.compile(r",\s*([}\]])")
_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2019": "'", "\u2018": "'"})


class RejectedError(Exception):
    """An answer that training must not read; the reason is said to the model when it is asked again."""


def read_answer(text: str | None, *, refusal: str | None = None, cut: bool = False) -> tuple[str, str]:
    """The (identity, clothing) texts of an answer, checked.

    Args:
        refusal: what the endpoint's own field for refusals says.
        cut: the endpoint says that the answer reached the limit of its length.

    Raises:
        RejectedError: with a reason, about the first thing that is wrong.
    """
    if refusal:
        raise RejectedError(f"the model refused: {refusal[:_SHOWN]}")
    if not text or not text.strip():
        raise RejectedError("the answer is empty")
    found = _fields(text)
    if not found:
        if checks.is_refusal(text):
            raise RejectedError(f"the model refused: {' '.join(text.split())[:_SHOWN]}")
        raise RejectedError("the answer was cut off" if cut else "the answer is no JSON object with both fields")
    for name in FIELDS:
        if name not in found:
            raise RejectedError(f"the field '{name}' is missing" + (", the answer was cut off" if cut else ""))
    for name, why in (("identity", checks.why_not_identity), ("clothing", checks.why_not_clothing)):
        if checks.is_refusal(found[name]):
            raise RejectedError(f"the model refused in the field '{name}': {found[name][:_SHOWN]}")
        if reason := why(found[name]):
            raise RejectedError(f"the text of '{name}' {reason}")
    return found["identity"], found["clothing"]


def _fields(text: str) -> dict[str, str]:
    """The fields that can be made out; of several objects the first that has any."""
    # A slip is mended only where strict reading fails: mending could change a good text.
    for candidate in (text, text.translate(_QUOTES), _TRAILING_COMMA.sub(r"\1", text.translate(_QUOTES))):
        for start in (found.start() for found in re.finditer(r"\{", candidate)):
            if found := _named(_decoded(candidate, start)):
                return found
    return _pieces(text.translate(_QUOTES))


def _decoded(text: str, start: int) -> object:
    try:
        # strict=False lets a bare line break inside a string through to the check that names it.
        return json.JSONDecoder(strict=False).raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def _named(decoded: object) -> dict[str, str]:
    if not isinstance(decoded, dict):
        return {}
    lower = {str(name).lower().strip().replace(" ", "_"): value for name, value in decoded.items()}
    found: dict[str, str] = {}
    for field, names in _NAMES.items():
        value = next((lower[name] for name in names if name in lower), None)
        if isinstance(value, str) and value.strip():
            found[field] = value.strip()
    return found


def _pieces(text: str) -> dict[str, str]:
    """Complete strings behind a field's name, from an object that is broken elsewhere."""
    found: dict[str, str] = {}
    for field, names in _NAMES.items():
        pattern = rf"[\"']?\b(?:{'|'.join(names)})[\"']?\s*:\s*\"((?:[^\"\\]|\\.)*)\""
        if (match := re.search(pattern, text, re.IGNORECASE)) and match.group(1).strip():
            value = _decoded(f'"{match.group(1)}"', 0)
            if isinstance(value, str):
                found[field] = value.strip()
    return found
