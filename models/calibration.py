"""What was learnt about a checkpoint's scores after its training: `calibration.json` in its folder.

A file of its own beside `spec.json`, because vectors do not depend on it: the fingerprint stays as it is when a
checkpoint is calibrated, or calibrated again. Each kind of calibration is a section: `association` (here), `confidence`
(`models.confidence`), `presence` (`models.presence`). Others are kept.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from models.confidence import confidence_curves
from models.errors import CheckpointError
from models.presence import presence_rules

CALIBRATION = "calibration.json"
FORMAT = 1
Linkage = Literal["average", "complete"]
LINKAGES: tuple[Linkage, ...] = ("average", "complete")


@dataclass(frozen=True, slots=True)
class AssociationRule:
    """How images are grouped into persons by their vectors in the `image` space, and how well that went.

    Attributes:
        linkage: what counts of two groups: the mean over their pairs, or the least of them.
        threshold: cosine in (-1, 1) from which on two groups are one person.
        data, split, images, identities: what it was chosen on.
        precision, recall, f1: of pairs of images, in [0, 1], there.
    """

    linkage: Linkage
    threshold: float
    data: str
    split: str
    images: int
    identities: int
    precision: float
    recall: float
    f1: float

    def __post_init__(self) -> None:
        if self.linkage not in LINKAGES:
            raise ValueError(f"linkage is {self.linkage!r}, not one of {', '.join(LINKAGES)}")
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int | float):
            raise TypeError("the threshold is no number")
        if not -1 < self.threshold < 1:
            raise ValueError(f"a cosine threshold lies between -1 and 1, not {self.threshold}")

    def to_dict(self) -> dict[str, Any]:
        """The section, JSON-ready."""
        return asdict(self)


def association_rule(calibration: dict[str, Any]) -> AssociationRule | None:
    """The section `association` of a calibration, if it has one.

    Raises:
        ValueError, TypeError: it is there and cannot be used.
    """
    section = calibration.get("association")
    if section is None:
        return None
    if not isinstance(section, dict):
        raise TypeError("`association` is not an object")
    return AssociationRule(**section)


def read_calibration(folder: Path) -> dict[str, Any]:
    """The calibration of a checkpoint; empty if it has none.

    Raises:
        CheckpointError: the file is damaged, or of another format.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        association_rule(found)
        confidence_curves(found)
        presence_rules(found)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; remove it or calibrate again") from error
    return found


def write_section(folder: Path, name: str, section: dict[str, Any]) -> None:
    """Replace one section of a checkpoint's calibration; the file appears whole or not at all.

    Raises:
        CheckpointError: the present file is damaged.
    """
    content = {"format": FORMAT, **read_calibration(folder), name: section}
    partial = folder / f"{CALIBRATION}.partial"
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(json.dumps(content, indent=1) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(folder / CALIBRATION)
