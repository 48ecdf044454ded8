"""A multipart body, written to the staging area while it arrives."""

import hashlib
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.batches.archives import unpack
from app.batches.staging import Stage
from app.errors import BatchError
from app.gallery.sources import MANIFESTS
from app.settings import Settings


class Receiver:
    """Takes the parts `files` (many), `manifest` (one, .jsonl or .csv), or `archive` (one, alone)."""

    def __init__(self, content_type: str, stage: Stage, settings: Settings) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise BatchError("send multipart/form-data with parts `files` and `manifest`, or one part `archive`")
        self._stage, self._settings = stage, settings
        self._digest = hashlib.sha256()
        self._field, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._target: IO[bytes] | None = None
        self._archive: Path | None = None
        self._parts = {"files": 0, "manifest": 0, "archive": 0}
        self._ended = False
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._on_end,
                "on_end": self._on_finish,
            },
        )

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            BatchError: or one of its kind; the batch is refused.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BatchError(f"the multipart body cannot be read: {error}") from error

    def finish(self) -> str:
        """Unpack the archive if there is one; returns a fingerprint of the whole request.

        Raises:
            BatchError: or one of its kind; the batch is refused.
        """
        if not self._ended:
            raise BatchError("the multipart body ends too early")
        if not self._parts["files"] and not self._parts["archive"]:
            raise BatchError("the batch has no files: send parts `files`, or one part `archive`")
        if self._archive is not None:
            unpack(self._archive, self._stage, self._settings)
            self._stage.reserve(-self._archive.stat().st_size)
            self._archive.unlink()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file that is being written, if the body broke off within it."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        try:
            name, filename = (options.get(key, b"").decode() for key in (b"name", b"filename"))
        except UnicodeDecodeError:
            raise BatchError("names of parts and files must be UTF-8") from None
        if name not in self._parts:
            raise BatchError(f"there is no part {name[:50]!r}: send `files` and `manifest`, or `archive`")
        self._parts[name] += 1
        if self._parts["archive"] and sum(self._parts.values()) > 1:
            raise BatchError("an archive comes alone, with its manifest inside")
        if self._parts["manifest"] > 1:
            raise BatchError("send one manifest")
        self._digest.update(f"{name}\0{filename}\0".encode())
        self._target = self._open(name, filename)

    def _open(self, name: str, filename: str) -> IO[bytes]:
        if name == "archive":
            self._archive = self._stage.folder / "archive"
            return self._archive.open("xb")
        if name == "manifest":
            filename = next((found for found in MANIFESTS if filename.endswith(Path(found).suffix)), "")
            if not filename:
                raise BatchError("the manifest's file name must end in .jsonl or .csv")
        return self._stage.create(filename)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        assert self._target is not None
        self._digest.update(data[start:end])
        take = self._stage.reserve if self._parts["archive"] else self._stage.account
        take(end - start)
        self._target.write(data[start:end])

    def _on_end(self) -> None:
        self._digest.update(b"\0\0")
        self.close()

    def _on_finish(self) -> None:
        self._ended = True
