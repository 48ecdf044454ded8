"""The confidence of a checkpoint, learnt on a split: see `models.confidence_fit`."""

import numpy as np
import torch

from models.confidence import ConfidenceCurve
from models.confidence_fit import Integers, first_candidates, fit_curve
from models.encoder import Space
from training.evaluation import Embedded, ExactScores


def fit_confidence(embedded: Embedded, data: str, split: str) -> dict[Space, ConfidenceCurve]:
    """The curve of each space for which a split has enough queries."""
    found: dict[Space, ConfidenceCurve] = {}
    for space, (scores, ids, everybody, own) in questions(embedded).items():
        candidates = first_candidates(scores, ids, everybody, own)
        curve = fit_curve(*candidates, data=data, split=split, identities=len(set(everybody.tolist())))
        if curve is not None:
            found[space] = curve
    return found


def questions(embedded: Embedded) -> dict[Space, tuple[ExactScores, Integers, Integers, Integers]]:
    """The queries of a split as `first_candidates` wants them: its descriptions, and its pictures."""
    everybody = _apart(embedded.gallery_ids)
    asked = np.arange(len(everybody))[embedded.gallery_ids >= 0]
    pictures = ExactScores(embedded.portraits[torch.from_numpy(asked)], embedded.portraits)
    return {
        "text": (embedded.text_scores(), embedded.query_ids, everybody, np.full(len(embedded.queries), -1)),
        # A picture is no candidate for itself.
        "image": (pictures, embedded.gallery_ids[asked], everybody, asked),
    }


def _apart(ids: Integers) -> Integers:
    """Nobody in particular (-1) is somebody else each time."""
    apart = ids.copy()
    nobody = ids < 0
    apart[nobody] = -1 - np.arange(int(nobody.sum()))
    return apart
