"""Confidence for a version that came without: learnt on the gallery itself, before the version answers.

What is asked: descriptions, and pictures, of people whom no retraining was trained on (`images.split`). Where no
retraining has split the gallery, or too few are held out, a version from outside is asked about all named people who
are described; one that was trained here has seen them. Candidates are all images of which it is known whom they show,
so that the curve holds for a gallery as large as this one. See decision 0014.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.database.tables import ModelVersion
from app.embedding.service import EncoderService
from app.registry.repository import Described, KnownRepository, ModelRepository
from app.registry.service import ModelService
from app.vectors.repository import LogRepository
from models.calibration import FORMAT
from models.confidence import ConfidenceCurve, confidence_curves
from models.encoder import SPACES, EncoderSpec, Space

LEAST_QUERIES, LEAST_PEOPLE = 50, 20
"""Descriptions (or pictures) and people that must be held out; fewer say nothing about others."""
_MOST_QUERIES, _MOST_IMAGES, _PIECE = 1_000, 50_000, 256
_DATA, _HELD_OUT, _NAMED = "the gallery", "held-out people", "named people"
UNCALIBRATED = "uncalibrated"
"""Section of a calibration: by space, why there is no curve."""
Going = Callable[[], bool]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What became of a calibration.

    Attributes:
        curves: those that were learnt now.
        missing: by space, why there is none.
    """

    curves: dict[Space, ConfidenceCurve]
    missing: dict[Space, str]

    def lines(self) -> list[tuple[str, str]]:
        """(level, words) for people."""
        told = [("info", _words(space, curve)) for space, curve in self.curves.items()]
        return told + [("warning", f"no confidence for {space} queries: {why}") for space, why in self.missing.items()]


@dataclass(frozen=True, slots=True)
class _Known:
    """Images of which it is known whom they show: ids (G,), identities (G,), vectors (G, D) float32 by stored space."""

    ids: Integers
    people: Integers
    vectors: dict[Space, torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Material:
    """What a version is asked about, and among whom; `few` says why that is too little."""

    asked: list[Described]
    split: str
    few: str | None
    known: _Known


class GalleryCalibration:
    """Learns curves on the gallery of a database, and writes them down with a version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def learn(
        self, version_id: int, encoder: EncoderService, going: Going = lambda: True, *, anew: bool = False
    ) -> Learnt | None:
        """Learn what a version lacks, or with `anew` everything; the gallery is encoded for it (a few images may lack).

        Returns:
            What was found, which is written down; None if `going` said to stop.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._database.read() as session:
            row = ModelService(session).find(version_id)
            present = confidence_curves(row.calibration or {})
            wanted = [space for space in SPACES if anew or space not in present]
            if not wanted:
                return Learnt({}, {})
            material = _material(session, row, encoder.spec, wanted)
        found = Learnt({}, {})
        for space in wanted:
            if material.few is not None:
                found.missing[space] = material.few
                continue
            vectors = self._encoded(material, encoder, going) if space == "text" else None
            if not going():
                return None
            _fit(space, encoder.spec.stored(space), material, vectors, found)
        self._write(version_id, found)
        return found

    def _encoded(self, material: _Material, encoder: EncoderService, going: Going) -> torch.Tensor:
        """Vectors (Q, D) of the descriptions; zeros where the model knows no word, or where it was stopped."""
        vectors = np.zeros((len(material.asked), encoder.spec.spaces["text"].dim), np.float32)
        for start in range(0, len(material.asked), _PIECE):
            if not going():
                break
            texts = [one.description for one in material.asked[start : start + _PIECE]]
            for place, embedding in enumerate(encoder.encode_descriptions(texts), start):
                if not embedding.empty:
                    vectors[place] = embedding.vector
        return torch.from_numpy(vectors)

    def _write(self, version_id: int, found: Learnt) -> None:
        with self._database.write() as session:
            row = ModelService(session).find(version_id)
            content: dict[str, Any] = {"format": FORMAT, **(row.calibration or {})}
            curves = {space: curve.to_dict() for space, curve in found.curves.items()}
            content["confidence"] = {**content.get("confidence", {}), **curves}
            # A rule about who is there, from other data, would contradict a curve that is of this gallery.
            rules = content.get("presence", {})
            content["presence"] = {space: rule for space, rule in rules.items() if space not in curves}
            why = {**content.get(UNCALIBRATED, {}), **found.missing}
            content[UNCALIBRATED] = {space: words for space, words in why.items() if space not in content["confidence"]}
            ModelRepository(session).calibrate(version_id, {name: part for name, part in content.items() if part})


def _material(session: Session, row: ModelVersion, spec: EncoderSpec, wanted: list[Space]) -> _Material:
    split, (asked, people) = _HELD_OUT, _asked(session, held_out=True)
    few = _too_few(asked, split)
    if few is not None and row.job_id is None and row.parent_id is None:
        split, (asked, people) = _NAMED, _asked(session, held_out=False)
        few = _too_few(asked, split)
    if few is not None:
        nothing = np.empty(0, np.int64)
        return _Material(asked, split, few, _Known(nothing, nothing, {}))
    return _Material(asked, split, None, _known(session, row, {spec.stored(space) for space in wanted}, people))


def _asked(session: Session, *, held_out: bool) -> tuple[list[Described], dict[int, int]]:
    """Descriptions of images, and the images that are looked through for them: of each picture one copy."""
    repository = KnownRepository(session)
    asked = repository.described(held_out=held_out, most=_MOST_QUERIES)
    images = repository.images(most=_MOST_IMAGES, people={one.identity_id for one in asked}) if asked else {}
    return [one for one in asked if one.image_id in images], images


def _too_few(asked: list[Described], split: str) -> str | None:
    people = len({one.identity_id for one in asked})
    if len(asked) >= LEAST_QUERIES and people >= LEAST_PEOPLE:
        return None
    return (
        f"{len(asked):,} descriptions of {people:,} {split} were there; it takes {LEAST_QUERIES} of {LEAST_PEOPLE}. "
        "Describe more images; `descry models calibrate` learns it then"
    )


def _known(session: Session, row: ModelVersion, homes: set[Space], people: dict[int, int]) -> _Known:
    log = LogRepository(session)
    found = {home: log.vectors(row.id, home, list(people)) for home in homes}
    ids = [image_id for image_id in people if all(image_id in vectors for vectors in found.values())]
    matrices = {
        home: torch.from_numpy(np.stack([vectors[image_id] for image_id in ids]).astype(np.float32))
        for home, vectors in found.items()
        if ids
    }
    return _Known(np.array(ids, np.int64), np.array([people[image_id] for image_id in ids], np.int64), matrices)


def _fit(space: Space, home: Space, material: _Material, texts: torch.Tensor | None, found: Learnt) -> None:
    """Add the curve of a space, or why there is none. `texts`: vectors of the descriptions; else pictures are asked."""
    from models.confidence_fit import LEAST, first_candidates, fit_curve  # scikit-learn takes a second

    known = material.known
    rows = {image_id: row for row, image_id in enumerate(known.ids.tolist())}
    own = np.array([rows.get(one.image_id, -1) for one in material.asked], np.int64)
    kept = own >= 0 if texts is None else texts.any(dim=1).numpy()
    people = np.array([one.identity_id for one in material.asked], np.int64)[kept]
    if not len(known.ids) or not kept.any():
        found.missing[space] = "nothing that could be asked is encoded or understood"
        return
    gallery = known.vectors[home]
    asked = gallery[torch.from_numpy(own[kept])] if texts is None else texts[torch.from_numpy(kept)]
    none = np.full(len(people), -1)
    scores, right, queries = first_candidates(
        lambda first, last: asked[first:last] @ gallery.T, people, known.people, own[kept] if texts is None else none
    )
    count = len(np.unique(known.people))
    curve = fit_curve(scores, right, queries, data=_DATA, split=material.split, identities=count)
    if curve is None:
        found.missing[space] = (
            f"of the first candidates of {len(np.unique(queries)):,} queries {int(right.sum()):,} are right and "
            f"{int((~right).sum()):,} are not; it takes {LEAST} of either"
        )
    else:
        found.curves[space] = curve


def _words(space: Space, curve: ConfidenceCurve) -> str:
    return (
        f"confidence of {space} queries learnt from {curve.queries:,} of {curve.split} among {curve.identities:,} "
        f"({curve.kind}): calibration error {curve.error:.3f}"
    )
