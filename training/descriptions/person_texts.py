"""What is said of the person and what of the clothes, for every image-text pair of a train split (methods.md 8)."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.captioning import PersonTexts, load_descriptions, split_description
from training.captioning.split import RULES
from training.errors import TrainingError
from training.records import Record, pairs_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PairTexts:
    """One entry for each pair of `training.records.pairs_of`, in its order.

    Attributes:
        identity, clothing: never empty: the whole caption stands in for a part of which it says nothing.
        generated: whether a model wrote the texts, looking at the image; False where the caption was split by rules.
    """

    identity: tuple[str, ...]
    clothing: tuple[str, ...]
    generated: tuple[bool, ...]

    @property
    def fingerprint(self) -> int:
        """A number in [0, 2^63) that other texts would not have."""
        digest = hashlib.sha256("\0".join((*self.identity, *self.clothing)).encode() + bytes(self.generated))
        return int.from_bytes(digest.digest()[:8], "big") >> 1


def read_pair_texts(records: Sequence[Record], file: Path | None, root: Path) -> PairTexts:
    """The texts of every pair: a model's from a file of descriptions where it has them, else by the rules.

    Args:
        file: of `training.captioning`; None splits every caption by rules.
        root: the data set's folder.

    Raises:
        DescriptionsError: the file is missing or damaged.
        TrainingError: it describes none of the images.
    """
    if file is None:
        return pair_texts(records, {})
    described = load_descriptions(file, root)
    missing = sum(record.path not in described for record in records)
    if missing == len(records):
        raise TrainingError(f"{file} describes none of the {len(records)} train images below {root}")
    if missing:
        _log.warning("%s lacks %d of %d train images: their captions are split by rules", file, missing, len(records))
    return pair_texts(records, described)


def pair_texts(records: Sequence[Record], described: Mapping[Path, tuple[PersonTexts, ...]]) -> PairTexts:
    """As `read_pair_texts`, from what was read.

    An image's captions take its generated texts in turn, so that those in several styles are all used.
    """
    identity, clothing, generated = [], [], []
    place: dict[int, int] = {}
    for index, caption in pairs_of(records):
        number = place[index] = place.get(index, -1) + 1
        texts, written = _texts(caption, number, described.get(records[index].path, ()))
        identity.append(texts.identity or caption)
        clothing.append(texts.clothing or caption)
        generated.append(written)
    return PairTexts(tuple(identity), tuple(clothing), tuple(generated))


def _texts(caption: str, number: int, known: Sequence[PersonTexts]) -> tuple[PersonTexts, bool]:
    """The texts of an image's caption, the `number`-th from 0, and whether a model wrote them."""
    if written := [texts for texts in known if texts.model != RULES]:
        return written[number % len(written)], True
    split = next((texts for texts in known if texts.style == f"caption-{number}"), None)
    return split or split_description(caption), False
