"""Contact sheets: the images of some identities of a set, with their descriptions."""

import json
from pathlib import Path
from textwrap import wrap
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from training.synthetic.errors import SyntheticSetError

_TILE = (96, 224)
_GAP, _MARGIN, _TEXT = 6, 20, 76
_INK, _PAPER, _FAINT = (38, 42, 48), (250, 250, 248), (120, 126, 134)
_FACE = 13


def contact_sheet(
    set_folder: Path, out_path: Path, identities: int = 12, columns: int = 3, split: str | None = None
) -> Path:
    """Draw `identities` people spread over the set (or over one split), `columns` cards per row, and save it to
    `out_path`.

    Each card shows a person's images side by side and one description beneath. The format follows the suffix of
    `out_path`. Raises SyntheticSetError if the folder is no synthetic set, ValueError if a count is below 1.
    """
    if identities < 1 or columns < 1:
        raise ValueError("identities and columns must be at least 1")
    people = _people(set_folder, split)
    step = max(1, len(people) // identities)
    chosen = people[::step][:identities]
    most = max(len(records) for records in chosen)
    width = max(240, most * (_TILE[0] + _GAP) - _GAP)
    height = _TILE[1] + _TEXT
    rows = -(-len(chosen) // columns)
    size = (_MARGIN + columns * (width + _MARGIN), _MARGIN + rows * (height + _MARGIN))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, records in enumerate(chosen):
        row, column = divmod(number, columns)
        corner = (_MARGIN + column * (width + _MARGIN), _MARGIN + row * (height + _MARGIN))
        _card(sheet, draw, set_folder, records, corner, width, number)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out_path, quality=86)
    return out_path


def _people(folder: Path, split: str | None) -> list[list[dict[str, Any]]]:
    try:
        records: list[dict[str, Any]] = json.loads((folder / "reid_raw.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SyntheticSetError(f"{folder} is no readable synthetic set: {error}") from error
    people: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        if split is None or record["split"] == split:
            people.setdefault(record["id"], []).append(record)
    if not people:
        raise SyntheticSetError(f"{folder} has no identity in the split {split!r}")
    return list(people.values())


def _card(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    folder: Path,
    records: list[dict[str, Any]],
    corner: tuple[int, int],
    width: int,
    number: int,
) -> None:
    """One identity: its images in a row, and the description of one of them."""
    left, top = corner
    for index, record in enumerate(records):
        with Image.open(folder / "imgs" / record["file_path"]) as image:
            tile = image.convert("RGB").resize(_TILE, Image.Resampling.BICUBIC)
        sheet.paste(tile, (left + index * (_TILE[0] + _GAP), top))
    described = number % len(records)
    edge = left + described * (_TILE[0] + _GAP)
    draw.line((edge, top + _TILE[1] + 4, edge + _TILE[0] - 1, top + _TILE[1] + 4), fill=_FAINT, width=2)
    font = ImageFont.load_default(_FACE)
    lines = wrap(records[described]["captions"][0], max(20, int(width / 6.3)))
    for line, text in enumerate(lines[:4]):
        draw.text((left, top + _TILE[1] + 10 + line * 16), text, fill=_INK, font=font)
