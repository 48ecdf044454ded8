"""Pictures: decoded to pixels that can be kept, or refused by name; without the memory that a header asks for."""

import hypothesis.strategies as st

from app.errors import PictureError
from app.gallery.likeness import look
from app.gallery.pictures import decode, encode, thumbnail
from tests.fuzz.harness import Record, fuzz, mutated, often
from tests.fuzz.samples import pictures, pngs

MOST_PIXELS, MOST_BYTES = 50_000, 60_000
sound = st.deferred(lambda: st.sampled_from(pictures()))
given = often((2, sound), (8, mutated(sound)), (3, pngs()), (2, mutated(pngs())), (1, st.binary(max_size=200)))


def test_pictures_are_decoded_or_refused(record_property: Record) -> None:
    def read(data: bytes) -> str:
        try:
            picture = decode(data, max_pixels=MOST_PIXELS, max_bytes=MOST_BYTES)
        except PictureError as error:
            error.message.encode()
            return type(error).__name__
        assert picture.image.mode == "RGB"
        kept = encode(picture)
        again = decode(kept, max_pixels=MOST_PIXELS, max_bytes=1 << 24)
        assert again.size == picture.size
        assert b"maker" not in kept
        small = thumbnail(picture)
        assert small is None or decode(small, max_pixels=MOST_PIXELS, max_bytes=1 << 24)
        look(picture.image)
        return "decoded"

    seen = fuzz(given, read, record_property)
    assert {"decoded", "DamagedImageError", "NotAnImageError"} <= set(seen)
