"""Which words of a description an image bears out, and where in it. Nothing here may run in the event loop."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pictures

from app.core import Core
from app.embedding.service import TextEmbedding
from app.errors import ImageNotEncodedError, ImageNotFoundError, ModelNotExplainableError
from app.explanations.explainer import PhraseVectors
from app.explanations.schemas import PhraseSupport, SupportAnswer
from app.gallery import pictures
from app.identities.service import IdentityService
from app.registry.active import LoadedModel
from app.search.schemas import ModelRef, Warned
from app.search.understanding import text_warnings
from app.vectors.view import VectorView
from models.descriptions.things import COMMON, NamedThing, alternatives, named_things
from models.heat import NotExplainableError, heat
from models.overlay import overlay
from models.support import support

PHRASES = 12
"""Most phrases of a description that are looked at."""
LONGEST_SIDE = 1024
"""Of an overlay, in pixels: a heat map has no more detail than that."""
_VECTORS = PhraseVectors()


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A picture with heat laid over it, as PNG, and the cosine of the text and the image."""

    png: bytes
    score: float


class ExplanationService:
    """Explains with one loaded model version."""

    def __init__(self, core: Core, model: LoadedModel) -> None:
        self._core, self._model = core, model

    @property
    def version_id(self) -> int:
        """The model version that explains."""
        return self._model.version_id

    def support(self, image_id: int, query: str, embedding: TextEmbedding) -> SupportAnswer:
        """What an image bears out of a description.

        Args:
            query: as `check_query` returns it.
            embedding: of the whole of it.

        Raises:
            ImageNotFoundError, ImageNotEncodedError: there is none, or it has no vector under this version.
            QueryNotUnderstoodError: the model knows no word of the description.
        """
        warnings = text_warnings(embedding)
        self._image(image_id)
        view = self._model.view("text")
        view.catch_up()
        score = _score(view, embedding.vector, image_id)
        things = named_things(query)
        if not things:
            warnings.append(Warned(code="no_phrases", message="no thing was found in the description, only the whole"))
        elif len(things) > PHRASES:
            message = f"the first {PHRASES} of {len(things)} phrases were looked at"
            warnings.append(Warned(code="phrases_left_out", message=message))
        return SupportAnswer(
            image_id=image_id,
            model_version=ModelRef(id=self._model.version_id, name=self._model.name),
            score=score,
            phrases=[self._phrase(view, image_id, thing) for thing in things[:PHRASES]],
            warnings=warnings,
        )

    def _phrase(self, view: VectorView, image_id: int, thing: NamedThing) -> PhraseSupport:
        encoder = self._model.encoder
        score, stands_out = None, None
        if not encoder.encoder.tokenize([thing.text]).empty[0]:
            score, others = self._scores(view, image_id, [thing.text])[0], alternatives(thing.text)
            if others is not None:
                rest = [self._scores(view, image_id, some) for some in (others.colours, others.things, COMMON)]
                stands_out = round(support(score, *rest), 4) if rest[-1] else None
        return PhraseSupport(
            text=thing.text,
            start=thing.span.start,
            end=thing.span.end,
            absent=thing.absent,
            score=score,
            support=stands_out,
        )

    def _scores(self, view: VectorView, image_id: int, phrases: Sequence[str]) -> list[float]:
        """Cosines of those phrases of which the model knows a word; the others would all have one and the same."""
        if not phrases:
            return []
        empty = self._model.encoder.encoder.tokenize(phrases).empty
        known = [phrase for phrase, nothing in zip(phrases, empty, strict=True) if not nothing]
        return [_score(view, vector, image_id) for vector in _VECTORS.of(self._model.encoder, known)] if known else []

    def heatmap(self, image_id: int, embedding: TextEmbedding) -> Heatmap:
        """Where an image speaks for a description or a phrase.

        Raises:
            ImageNotFoundError: there is none.
            QueryNotUnderstoodError: the model knows no word of the text.
            ModelNotExplainableError: the network cannot tell places apart.
        """
        text_warnings(embedding)
        picture, encoder = self._picture(image_id), self._model.encoder
        vector = torch.from_numpy(embedding.vector)
        pixels = encoder.encoder.preprocess(picture)
        try:
            found = heat(encoder.encoder, pixels, vector - _VECTORS.common(encoder))
        except NotExplainableError as error:
            raise ModelNotExplainableError(error.message) from error
        seen = self._core.showing.veiled(picture)
        seen.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        buffer = io.BytesIO()
        overlay(seen, found.values).save(buffer, "PNG")
        return Heatmap(buffer.getvalue(), _cosine(float(found.vector @ vector)))

    def _image(self, image_id: int) -> str:
        with self._core.database.read() as session:
            return IdentityService(session).image(image_id).store_name

    def _picture(self, image_id: int) -> Pictures.Image:
        data = self._core.store.read(self._image(image_id))
        if data is None:
            raise ImageNotFoundError(image_id)
        limits = self._core.settings
        most = max(limits.max_upload_bytes, len(data))
        return pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=most).image


def _score(view: VectorView, vector: NDArray[np.float32], image_id: int) -> float:
    hits = view.scores(vector, np.array([image_id], np.int64))
    if not len(hits.ids):
        raise ImageNotEncodedError(image_id)
    return _cosine(float(hits.scores[0]))


def _cosine(score: float) -> float:
    """Vectors are kept in half precision, so that their length, and with it a score, may be 1.000005."""
    return max(-1.0, min(1.0, score))
