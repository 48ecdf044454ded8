"""Identity and clothing descriptions of images, by a multimodal model or by rules from the captions that are there."""

from training.captioning.descriptions import PersonTexts, load_descriptions, texts_of
from training.captioning.split import split_description

__all__ = ["PersonTexts", "load_descriptions", "split_description", "texts_of"]
