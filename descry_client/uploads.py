"""Multipart bodies that are read while they are sent, so that a folder of any size needs little memory."""

import mimetypes
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
MANIFESTS = ("manifest.jsonl", "manifest.csv")
_CHUNK = 256 * 1024
Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes of all) while a body is sent. After a retry it begins again at 0."""


@dataclass(frozen=True)
class Part:
    """One part of a multipart body: a file on disk, or bytes."""

    field: str
    content: Path | bytes
    filename: str | None = None

    @property
    def kind(self) -> str:
        """The media type, where the part is a body of its own."""
        return "application/octet-stream"

    @property
    def length(self) -> int:
        """Bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def pieces(self) -> Iterator[bytes]:
        """The content, from its beginning."""
        return read(self.content)

    def head(self) -> bytes:
        """The lines before the content."""
        lines = [f'Content-Disposition: form-data; name="{_quoted(self.field)}"']
        if self.filename is not None:
            kind = mimetypes.guess_type(self.filename)[0] or "application/octet-stream"
            lines = [f'{lines[0]}; filename="{_quoted(self.filename)}"', f"Content-Type: {kind}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Multipart:
    """A body that can be sent several times."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = list(parts)
        self._boundary = secrets.token_hex(16).encode()
        between = len(self._boundary) + 6
        # Before each part "\r\n--boundary\r\n", the first without its line end; after all "\r\n--boundary--\r\n".
        self.length = sum(between + len(part.head()) + part.length for part in self._parts) + between

    @property
    def kind(self) -> str:
        """The media type."""
        return f"multipart/form-data; boundary={self._boundary.decode()}"

    def pieces(self) -> Iterator[bytes]:
        """The body from its beginning. Files are opened one at a time.

        Raises:
            OSError: a file cannot be read, or has not the length that it had when the body was made.
        """
        for number, part in enumerate(self._parts):
            yield (b"\r\n" if number else b"") + b"--" + self._boundary + b"\r\n" + part.head()
            yield from part.pieces()
        yield b"\r\n--" + self._boundary + b"--\r\n"


def read(content: Path | bytes) -> Iterator[bytes]:
    """A content in pieces."""
    if isinstance(content, bytes):
        yield from (content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK))
        return
    with content.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def counted(pieces: Iterable[bytes], total: int, progress: Progress | None) -> Iterator[bytes]:
    """The pieces, while `progress` is told of them."""
    sent = 0
    for piece in pieces:
        yield piece
        sent += len(piece)
        if progress is not None:
            progress(sent, total)


def folder_parts(folder: Path) -> list[Part]:
    """The pictures of a folder and of those below it, with its manifest if it has one.

    Files that are no pictures by their name, and names that begin with a dot, are left out.

    Raises:
        ValueError: the folder has no pictures, or two manifests.
    """
    files: list[Path] = []
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]  # `os.walk` goes into these only
        files += [Path(place, name) for name in names if not name.startswith(".")]
    files.sort()
    parts = [
        Part("files", path, path.relative_to(folder).as_posix()) for path in files if path.suffix.lower() in PICTURES
    ]
    manifests = [folder / name for name in MANIFESTS if (folder / name).is_file()]
    if not parts:
        raise ValueError(f"{folder} has no pictures ({', '.join(PICTURES)})")
    if len(manifests) > 1:
        raise ValueError(f"{folder} has both {' and '.join(MANIFESTS)}; keep one of them")
    return [*parts, *(Part("manifest", path, path.name) for path in manifests)]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
