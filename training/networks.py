"""The encoder that a recipe starts from."""

from models.clip_baseline import ClipBaseline, compact_spec, load_pretrained, open_clip_spec
from models.encoder import PersonEncoder
from models.registry import build
from models.tokenizers import WordTokenizer
from training.errors import TrainingError
from training.recipe import Recipe
from training.records import Record


def build_encoder(recipe: Recipe, train: tuple[Record, ...]) -> PersonEncoder:
    """A fresh encoder; `compact` learns its vocabulary from the train split's descriptions.

    Raises:
        TrainingError: a train split without descriptions.
        BackboneError: an unknown open_clip model, or weights that cannot be had.
    """
    part = recipe.encoder
    if part.backbone != "compact":
        encoder = build(open_clip_spec(part.backbone, height=part.height, width=part.width))
        assert isinstance(encoder, ClipBaseline)
        if part.pretrained:
            load_pretrained(encoder, part.pretrained)
        return encoder
    texts = [text for record in train for text in record.descriptions]
    words = WordTokenizer.vocabulary_of(texts, minimum=part.word_minimum, limit=part.vocabulary)
    if not words:
        raise TrainingError(
            f"the {len(train)} train images have no word in their descriptions that occurs {part.word_minimum} times"
        )
    return build(compact_spec(words, height=part.height, width=part.width, length=part.length, **part.options))
