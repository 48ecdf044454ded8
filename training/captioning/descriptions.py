"""The file of identity and clothing descriptions, as training reads it.

JSON lines, appended to and never rewritten. Who reads descriptions needs two kinds of line and may skip all others:

    {"event": "image",  "image": SHA-256 of the file, "path": relative to the data set's folder, with slashes}
    {"event": "answer", "image": SHA-256, "prompt": ..., "model": ..., "style": ..., "accepted": true,
     "identity": ..., "clothing": ...}

One picture at two paths has two `image` lines and one answer. A later answer under the same key replaces an earlier
one. The rules' answers have the model "rules", the styles "caption-0", "caption-1" in the order of a record's
descriptions, and an empty text where the caption says nothing. The other events are `ledger.py`'s.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import DescriptionsError

if TYPE_CHECKING:
    from training.records import Record


@dataclass(frozen=True, slots=True)
class PersonTexts:
    """What does not change with clothes, and the clothes, of one image in words; where from.

    Attributes:
        identity, clothing: a text each; empty only from rules, where the caption said nothing of it.
        style: name of the style it was asked in, or "caption-N".
        model: who wrote it; "rules" is `split.py`.
        prompt: version of the question, or of the rules.
    """

    identity: str
    clothing: str
    style: str
    model: str
    prompt: str


def load_descriptions(file: Path, root: Path | None = None) -> dict[Path, tuple[PersonTexts, ...]]:
    """All accepted texts by image path, each path's in the order in which they were first written.

    Args:
        root: the data set's folder; paths then begin with it, as `Record.path` does. None leaves them relative.

    Raises:
        DescriptionsError: no such file, or a damaged line (a half last line, left by a kill, is none).
    """
    texts: dict[str, dict[tuple[str, str, str], PersonTexts]] = {}
    paths: dict[str, str] = {}
    for line in read_lines(file):
        if line["event"] == "image":
            paths[line["path"]] = line["image"]
        elif line["event"] == "answer" and line["accepted"]:
            key = (line["prompt"], line["model"], line["style"])
            texts.setdefault(line["image"], {})[key] = PersonTexts(
                line["identity"], line["clothing"], style=line["style"], model=line["model"], prompt=line["prompt"]
            )
    base = root or Path()
    return {base / path: tuple(texts[image].values()) for path, image in paths.items() if image in texts}


def texts_of(
    records: "Sequence[Record]", described: Mapping[Path, tuple[PersonTexts, ...]]
) -> list[tuple[PersonTexts, ...]]:
    """One entry a record, in order; an empty one where nothing was written. The caller says how many are empty."""
    return [described.get(record.path, ()) for record in records]


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of descriptions; a last line without its end is left out.

    Raises:
        DescriptionsError: as `load_descriptions`.
    """
    try:
        handle = file.open("rb")
    except OSError as error:
        raise DescriptionsError(f"{file} cannot be read: {error.strerror}") from error
    with handle:
        for number, raw in enumerate(handle, start=1):
            if raw.endswith(b"\n"):
                yield _line(raw, f"line {number} of {file}")


_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "image": dict.fromkeys(("image", "path"), lambda value: isinstance(value, str)),
    "answer": {
        **dict.fromkeys(("image", "prompt", "model", "style"), lambda value: isinstance(value, str)),
        "accepted": lambda value: isinstance(value, bool),
    },
}


def _line(raw: bytes, where: str) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise DescriptionsError(f"{where} is damaged ({error}); take the line out by hand, or the file") from error
    if not isinstance(line, dict) or not isinstance(line.get("event"), str):
        raise DescriptionsError(f"{where} is no line of a file of descriptions")
    fields = dict(_FIELDS.get(line["event"], {}))
    if line.get("accepted") is True:
        fields |= dict.fromkeys(("identity", "clothing"), lambda value: isinstance(value, str))
    for name, fits in fields.items():
        if not fits(line.get(name)):
            raise DescriptionsError(f"{where} has no usable {name!r}")
    return line
