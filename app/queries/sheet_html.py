"""A sheet of results as one HTML file: pictures inside, nothing loaded, no script, fit for printing."""

import base64
import hashlib
from html import escape

from app.queries.sheet import WARNING, Sheet, caption, figures, named
from app.search.schemas import Candidate, ScoredImage

_STYLE = """
@page { size: A4; margin: 14mm 12mm 16mm; }
* { box-sizing: border-box; }
body { font: 10.5pt/1.4 system-ui, "DejaVu Sans", sans-serif; color: #111; background: #fff; margin: 1.5rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
.notice { font-weight: 700; border: 2px solid #8a1c1c; color: #8a1c1c; padding: .4rem .7rem; margin: 0 0 1rem; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .15rem .8rem; margin: 0 0 1.2rem; }
dt { color: #555; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
ol { list-style: none; margin: 0; padding: 0; }
li.candidate { border-top: 1px solid #bbb; padding: .6rem 0 .8rem; break-inside: avoid; }
h2 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
h2 .rank { color: #555; margin-right: .4rem; }
.figures { color: #333; margin: .1rem 0 .5rem; }
.verdict, .identification { font-weight: 700; }
.identification { margin: 0 0 .5rem; }
.weak { color: #555; font-style: italic; }
ul.images { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .8rem; }
ul.images li { width: 7.5rem; font-size: .78rem; color: #333; overflow-wrap: anywhere; break-inside: avoid; }
ul.images img { display: block; height: 9.5rem; max-width: 100%; object-fit: contain; object-position: left; }
.gone { height: 9.5rem; border: 1px dashed #999; color: #555; padding: .4rem; }
footer { border-top: 1px solid #bbb; margin-top: 1rem; padding-top: .5rem; color: #555; font-size: .85rem; }
@media print { body { margin: 0; padding: 0; max-width: none; } }
"""
CSP = (
    "default-src 'none'; img-src data:; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'"
)
"""What the file allows itself, also when it is opened from a disk."""


def as_html(sheet: Sheet) -> str:
    """The file."""
    heading = "".join(f"<dt>{escape(name)}</dt><dd>{_own(value)}</dd>\n" for name, value in sheet.heading())
    candidates = "".join(_candidate(sheet, rank, one) for rank, one in enumerate(sheet.answer.candidates, start=1))
    nobody = "" if candidates else "<p>No candidate was found.</p>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(CSP)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex, nofollow">\n'
        f"<title>Descry: results of query {escape(sheet.query.id[:12])}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f'<body>\n<h1>Search results</h1>\n<p class="notice" role="note">{WARNING}</p>\n'
        f"<dl>\n{heading}</dl>\n<ol>\n{candidates}</ol>\n{nobody}"
        f"<footer>{WARNING} Scores can be compared within this sheet only.</footer>\n</body>\n</html>\n"
    )


def _candidate(sheet: Sheet, rank: int, candidate: Candidate) -> str:
    verdict = {"confirm": "confirmed", "reject": "rejected"}.get(sheet.verdicts.get(candidate.identity.id, ""), "")
    marks = f' <span class="verdict">({verdict} by a reader)</span>' if verdict else ""
    if sheet.answer.weak_below is not None and candidate.score < sheet.answer.weak_below:
        marks += ' <span class="weak">weak match</span>'
    said = f'<p class="identification">{_own(said)}</p>\n' if (said := sheet.identification(candidate)) else ""
    images = "".join(_image(sheet, rank, image) for image in candidate.images)
    return (
        f'<li class="candidate"><h2><span class="rank">{rank}.</span>{_own(named(candidate))}</h2>\n'
        f'<p class="figures">{escape(figures(candidate))}, identity {candidate.identity.id}{marks}</p>\n'
        f'{said}<ul class="images">{images}</ul></li>\n'
    )


def _image(sheet: Sheet, rank: int, image: ScoredImage) -> str:
    data = sheet.thumbnails.get(image.id)
    if data is None:
        picture = '<div class="gone">The picture is not there any more.</div>'
    else:
        inline = base64.b64encode(data).decode()
        picture = f'<img alt="Image {image.id} of candidate {rank}" src="data:image/jpeg;base64,{inline}">'
    return f"<li>{picture}{'<br>'.join(map(_own, caption(image)))}</li>"


def _own(text: str) -> str:
    """Text from outside: no markup, and marks of writing direction in it reach no further than itself."""
    return f"<bdi>{escape(text)}</bdi>"
