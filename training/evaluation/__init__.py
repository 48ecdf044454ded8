"""Retrieval quality: embed a split, rank, measure text-to-image and image-to-image (methods.md 3)."""

from training.evaluation.embedded import Embedded, ExactScores, embed_split, measure_pictures
from training.evaluation.metrics import (
    CURVE,
    AveragePrecision,
    Integers,
    Metrics,
    Protocol,
    Removal,
    average_precision_of,
    relevant_ranks,
    retrieval_metrics,
)

__all__ = [
    "CURVE",
    "AveragePrecision",
    "Embedded",
    "ExactScores",
    "Integers",
    "Metrics",
    "Protocol",
    "Removal",
    "average_precision_of",
    "embed_split",
    "measure_pictures",
    "relevant_ranks",
    "retrieval_metrics",
]
