"""A JPEG without anything but its picture, bit by bit as it came.

Most pictures that arrive are plain baseline JPEGs. Encoding one again to be rid of its metadata would cost more than
decoding it and lose a little quality. `strip` copies the tables, the frame and the scan, and writes a header of its
own; everything that could carry something else makes it give up, and the picture is then encoded anew.

What a scan holds behind its last block no marker shows; decoders skip it in silence. `Watched` sees it in the decoding
that is done anyway: a decoder that has the whole picture before it asks for the last byte was given too many bytes
(libjpeg looks up to 8 bytes ahead, so fewer than that stay unseen). Restart intervals and further scans
have such places too, which cannot be seen from outside: JPEGs that have them are encoded anew.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_HEADER = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00]")
_DQT, _SOF0, _DHT, _SOS, _APP0, _APP1, _APP14, _APP15, _COM = 0xDB, 0xC0, 0xC4, 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_YCC_IDS = b"\x01\x02\x03"


@dataclass(frozen=True, slots=True)
class Bare:
    """A JPEG that consists of its picture alone.

    Attributes:
        data: the file.
        tail: where its last byte of picture begins.
        turned: whether the original had a segment that may say how the picture is turned.
    """

    data: bytes
    tail: int
    turned: bool


class Watched(io.BytesIO):
    """The bytes of a `Bare`, which notice whether their reader needed the last of them."""

    def __init__(self, bare: Bare) -> None:
        super().__init__(bare.data)
        self._tail = bare.tail
        self.needed_all = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Never across the tail."""
        at = self.tell()
        if at >= self._tail:
            self.needed_all = True
            return super().read(size)
        return super().read(self._tail - at if size is None or size < 0 else min(size, self._tail - at))


@dataclass(slots=True)
class _Seen:
    """What the segments before the scan said."""

    quantisers: set[int] = field(default_factory=set)
    coders: set[int] = field(default_factory=set)
    frame: bytes = b""
    jfif: bool = False
    adobe: bool = False
    turned: bool = False


def strip(data: bytes) -> Bare | None:
    """The picture of a baseline JPEG in one scan and nothing else of the file; None if that cannot be had safely."""
    try:
        return _strip(data)
    except IndexError:  # a segment that ends too early
        return None


def _strip(data: bytes) -> Bare | None:
    seen, kept = _Seen(), [_HEADER]
    at = _segments(data, seen, kept)
    if at is None:
        return None
    after = at + 2 + (data[at + 2] << 8 | data[at + 3])
    found = _MARKER.search(data, after)
    if not _scan_is_whole(data[at + 4 : after], seen) or found is None:
        return None
    if found.group() != _END or found.start() < after + 2:
        return None
    kept += [data[at : found.start()], _END]
    whole = b"".join(kept)
    last = len(whole) - (4 if whole[-4:-2] == b"\xff\x00" else 3)
    return Bare(whole, last, seen.turned)


def _segments(data: bytes, seen: _Seen, kept: list[bytes]) -> int | None:
    """Collect the segments that are kept; returns where the scan begins."""
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        after = at + 2 + length
        body = data[at + 4 : after]
        if length < 2 or len(body) != length - 2:
            return None
        if marker == _SOS:
            return at
        if not _APP0 <= marker <= _APP15 and marker != _COM:
            if not _is_plain(marker, body, seen):
                return None
            kept.append(data[at:after])
        elif not _note_application(marker, body, seen):
            return None
        at = after
    return None


def _is_plain(marker: int, body: bytes, seen: _Seen) -> bool:
    """Whether a segment is a table or the frame, for the first time, and has the form that it must have."""
    if marker == _DQT:
        return _split(body, seen.quantisers, lambda at: 65 if body[at] < 4 else 0)
    if marker == _DHT:
        return _split(body, seen.coders, lambda at: 17 + sum(body[at + 1 : at + 17]) if body[at] & 0xEF < 4 else 0)
    if marker != _SOF0 or seen.frame:
        return False
    seen.frame = body
    return body[0] == 8 and body[5] in (1, 3) and len(body) == 6 + 3 * body[5]


def _split(body: bytes, known: set[int], length_at: Callable[[int], int]) -> bool:
    """Take the tables of a segment apart; False unless each is new and they fill it exactly."""
    at = 0
    while at < len(body):
        length = length_at(at)
        if length == 0 or body[at] in known:
            return False
        known.add(body[at])
        at += length
    return at == len(body)


def _note_application(marker: int, body: bytes, seen: _Seen) -> bool:
    """Remember what a dropped segment says of colours and orientation; False if the colours are not the usual ones."""
    seen.turned |= marker == _APP1
    seen.jfif |= marker == _APP0 and body[:5] == b"JFIF\0"
    if marker == _APP14 and body[:5] == b"Adobe":
        seen.adobe = True
        return len(body) >= 12 and body[11] == 1
    return True


def _scan_is_whole(scan: bytes, seen: _Seen) -> bool:
    """Whether the one scan has all components of the frame, with tables that are all there and no others."""
    frame = seen.frame
    if not frame:
        return False
    count = frame[5]
    ids, quantisers = frame[6::3], set(frame[8::3])
    if scan[:1] != bytes([count]) or scan[1 + 2 * count :] != b"\x00\x3f\x00" or scan[1 : 1 + 2 * count : 2] != ids:
        return False
    used = scan[2 : 2 + 2 * count : 2]
    coders = {table >> 4 for table in used} | {table & 15 | 16 for table in used}
    # As libjpeg decides it; red, green and blue themselves are rare enough to be encoded anew.
    usual = count == 1 or seen.jfif or seen.adobe or ids == _YCC_IDS
    return usual and quantisers == seen.quantisers and coders == seen.coders
