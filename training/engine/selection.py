"""Which epoch a run keeps: it is measured on `data.select_on`, and the best one becomes the checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from models.checkpoint import save_checkpoint
from models.encoder import PersonEncoder
from training.calibration.learning import calibrate
from training.datasets.images import ImageSource
from training.engine.model_card import model_card
from training.engine.state import Position
from training.errors import DatasetError, NothingRelevantError
from training.evaluation import Embedded, Metrics, embed_split, measure_pictures
from training.events import EventLog
from training.recipe import Recipe
from training.records import PersonData, Split

BEST = "best"
Sources = Mapping[Split, ImageSource]


class Selection:
    """Measures, and keeps the best, by R@1 of text to image.

    Args:
        folder: receives best/ and metrics.json.
        sources, beside: images of the data set and of its `pictures`, by split.
    """

    def __init__(
        self, recipe: Recipe, data: PersonData, folder: Path, sources: Sources, beside: Sources | None = None
    ) -> None:
        self._recipe, self._data, self._folder = recipe, data, folder
        self._sources, self._beside = sources, beside or {}
        self._split: Split = recipe.data.select_on

    def measure(self, encoder: PersonEncoder, epoch: int, position: Position, log: EventLog, **words: object) -> None:
        """Write the event `evaluation` with `words`; if this is the best so far, save it and note it in `position`.

        The event has text to image as `metrics`. It also has image to image, by what was compared, where there is a
        second data set or a space for pictures alone.
        """
        split = self._split
        embedded = embed_split(encoder, self._data.splits[split], self._sources[split])
        metrics, pictures = embedded.measure(), self._measure_pictures(encoder, embedded)
        told = {name: _short(found) for name, found in pictures.items()}
        seconds = round(position.seconds, 2)
        log.write("evaluation", epoch=epoch, split=split, metrics=_short(metrics), **told, **words, seconds=seconds)
        if metrics.r1 > position.best:
            position.best, position.best_epoch = metrics.r1, epoch
            card = model_card(self._recipe, self._data, metrics, epoch, position.seconds, pictures)
            save_checkpoint(encoder, self._folder / BEST, card=card, precision=self._recipe.stored)
            content = {"split": split, "epoch": epoch, **metrics.to_dict(), **told}
            (self._folder / "metrics.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def calibrate(self, device: torch.device, log: EventLog) -> None:
        """Learn what the best checkpoint's scores mean. A split of single images teaches nothing, and fails nothing."""
        try:
            rule = calibrate(self._folder / BEST, self._data, self._split, device=device)
        except DatasetError as error:
            log.write("calibration", skipped=error.message)
        else:
            log.write("calibration", **rule.to_dict())

    def _measure_pictures(self, encoder: PersonEncoder, embedded: Embedded) -> dict[str, Metrics]:
        """On the second data set, or on the first where the encoder has a space for pictures alone."""
        beside = self._data.pictures
        if beside and beside.splits[self._split]:
            embedded = embed_split(encoder, beside.splits[self._split], self._beside[self._split])
        elif not embedded.has_two_spaces:
            return {}
        try:
            return measure_pictures(embedded)
        except NothingRelevantError:  # a split of single images; text to image chooses the epoch in any case
            return {}


def _short(metrics: Metrics) -> dict[str, float | int | list[float]]:
    return {name: value for name, value in metrics.to_dict().items() if name != "curve"}
