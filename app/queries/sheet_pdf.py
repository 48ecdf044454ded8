"""A sheet of results as a PDF. Its font is DejaVu Sans, which comes with matplotlib; it has no Chinese, Japanese or
Korean: what it lacks is shown as a box, with a line that says so."""

import io
import secrets
from importlib.util import find_spec
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import WrapMode
from PIL import Image as Picture

from app.errors import ConfigurationError
from app.queries.sheet import WARNING, Sheet, caption, figures, moment, named
from app.search.schemas import Candidate, ScoredImage

_FONT = "DejaVu"
_MARGIN, _LINE, _NAMES = 12.0, 4.6, 30.0
"""Millimetres."""
_WIDE, _HIGH, _GAP, _SMALL = 32.0, 36.0, 3.0, 3.1
"""Of a picture's place, and of a line below it."""
_CHARS = 600
"""Of one value; the longest query has 2,000 and a page must stay a page."""
_BOX = "\N{WHITE SQUARE}"


def as_pdf(sheet: Sheet) -> bytes:
    """The file.

    Raises:
        ConfigurationError: matplotlib's fonts are not installed.
    """
    page = _Page(sheet)
    page.add_page()
    page.head()
    for rank, candidate in enumerate(sheet.answer.candidates, start=1):
        page.candidate(rank, candidate)
    if not sheet.answer.candidates:
        page.text_block("No candidate was found.")
    if page.lacking:
        page.text_block(f"{_BOX} stands for a character that this file's font lacks; the HTML sheet has it.")
    return bytes(page.output())


class _Page(FPDF):
    """Pages with the notice above and the numbers below."""

    def __init__(self, sheet: Sheet) -> None:
        super().__init__(format="A4")
        self.sheet = sheet
        self.lacking = False
        # What is replaced by the number of pages; a fixed one could stand in somebody's query.
        self.alias_nb_pages(f"{{{secrets.token_hex(2)}}}")
        self.set_margins(_MARGIN, _MARGIN, _MARGIN)
        self.set_auto_page_break(True, margin=16)
        for style, name in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(_FONT, style, _fonts() / name)
        self.set_title(f"Descry: results of query {sheet.query.id}")
        self.set_creator("Descry")
        self.set_creation_date(sheet.made_at)
        self.set_font(_FONT, size=9)
        self._glyphs = self.fonts[_FONT.lower()].cmap  # type: ignore[union-attr]  # a TrueType font has one

    def header(self) -> None:
        """The notice on every page."""
        self.set_font(_FONT, "B", 9)
        self.set_text_color(138, 28, 28)
        self.cell(0, 6, WARNING, new_x="LMARGIN", new_y="NEXT")
        self.set_text_color(17)
        self.ln(2)

    def footer(self) -> None:
        """Number of the page, query and time on every page."""
        self.set_y(-12)
        self.set_font(_FONT, size=7)
        self.set_text_color(90)
        told = f"Query {self.sheet.query.id}, made {moment(self.sheet.made_at)}"
        self.cell(120, 5, told)
        self.cell(0, 5, f"page {self.page_no()} of {self.str_alias_nb_pages}", align="R")
        self.set_text_color(17)

    def head(self) -> None:
        """Title and what was asked."""
        self.set_font(_FONT, "B", 15)
        self.cell(0, 9, "Search results", new_x="LMARGIN", new_y="NEXT")
        for name, value in self.sheet.heading():
            self.set_font(_FONT, size=8.5)
            self.set_text_color(90)
            self.cell(_NAMES, _LINE, name)
            self.set_text_color(17)
            self.multi_cell(
                0, _LINE, self.known(value), new_x="LMARGIN", new_y="NEXT", align="L", wrapmode=WrapMode.CHAR
            )
        self.ln(2)

    def candidate(self, rank: int, candidate: Candidate) -> None:
        """One candidate with its pictures, not torn between pages while it fits on one."""
        each = _WIDE + _GAP
        a_row = int((self.epw + _GAP) // each)
        below = max(len(caption(image)) for image in candidate.images)
        rows = [candidate.images[start : start + a_row] for start in range(0, len(candidate.images), a_row)]
        row_height = _HIGH + (below + 1) * _SMALL + 2
        self.room_for(14 + min(len(rows), 1) * row_height)
        self.set_draw_color(187)
        left = self.l_margin + self.c_margin
        self.line(left, self.get_y(), left + self.epw - 2 * self.c_margin, self.get_y())
        self.ln(1.5)
        self.set_font(_FONT, "B", 10)
        title = self.known(f"{rank}. {named(candidate)}")
        self.multi_cell(0, 5, title, new_x="LMARGIN", new_y="NEXT", align="L", wrapmode=WrapMode.CHAR)
        self.set_font(_FONT, size=8.5)
        self.cell(0, _LINE, self._told(candidate), new_x="LMARGIN", new_y="NEXT")
        if said := self.sheet.identification(candidate):
            self.set_font(_FONT, "B", 8.5)
            self.multi_cell(0, _LINE, self.known(said), new_x="LMARGIN", new_y="NEXT", align="L")
        self.ln(1)
        for row in rows:
            self.room_for(row_height)
            top = self.get_y()
            for place, image in enumerate(row):
                self.picture(image, self.l_margin + place * each, top)
            self.set_xy(self.l_margin, top + row_height)

    def picture(self, image: ScoredImage, x: float, y: float) -> None:
        """One picture with the lines below it."""
        data = self.sheet.thumbnails.get(image.id)
        self.set_font(_FONT, size=6)
        if data is None:
            self.set_xy(x, y)
            self.multi_cell(_WIDE, _SMALL, "The picture is not there any more.", align="L")
        else:
            with Picture.open(io.BytesIO(data)) as opened:
                width, height = opened.size
            scale = min(_WIDE / width, _HIGH / height)
            self.image(io.BytesIO(data), x + self.c_margin, y, width * scale, height * scale)
        for number, line in enumerate(caption(image)):
            self.set_xy(x, y + _HIGH + 0.8 + number * _SMALL)
            self.cell(_WIDE, _SMALL, self.cut(self.known(line), _WIDE))

    def text_block(self, text: str) -> None:
        """A paragraph."""
        self.set_font(_FONT, size=8.5)
        self.multi_cell(0, _LINE, text, new_x="LMARGIN", new_y="NEXT", align="L")

    def room_for(self, height: float) -> None:
        """Begin a page unless there is that much room on this one."""
        if self.get_y() + height > self.page_break_trigger:
            self.add_page()

    def known(self, text: str) -> str:
        """Text with a box for what the font has no glyph for; on one line, and not endless."""
        flat = " ".join(text.split())
        flat = flat if len(flat) <= _CHARS else f"{flat[:_CHARS]} ..."
        found = "".join(char if ord(char) in self._glyphs else _BOX for char in flat)
        self.lacking = self.lacking or found != flat
        return found

    def cut(self, text: str, width: float) -> str:
        """Text that fits into a width of one line."""
        if self.get_string_width(text) <= width - 2 * self.c_margin:
            return text
        while text and self.get_string_width(f"{text}...") > width - 2 * self.c_margin:
            text = text[:-1]
        return f"{text}..."

    def _told(self, candidate: Candidate) -> str:
        verdict = {"confirm": "confirmed", "reject": "rejected"}.get(self.sheet.verdicts.get(candidate.identity.id, ""))
        weak = self.sheet.answer.weak_below is not None and candidate.score < self.sheet.answer.weak_below
        told = [figures(candidate), f"identity {candidate.identity.id}"]
        told += [f"{verdict} by a reader"] if verdict else []
        return ", ".join([*told, "weak match"] if weak else told)


def _fonts() -> Path:
    spec = find_spec("matplotlib")
    folder = Path(spec.origin or "").parent / "mpl-data" / "fonts" / "ttf" if spec is not None else None
    if folder is None or not (folder / "DejaVuSans.ttf").is_file():
        raise ConfigurationError("the fonts of matplotlib are not installed, with which a PDF is written; take html")
    return folder
