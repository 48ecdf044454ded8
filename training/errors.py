"""Errors of the training package.

DescryError (models.errors)
+-- DatasetError     a data set on disk is missing, half complete or malformed
|   +-- ParsedCaptionsError    a file of parsed captions is malformed, or is not of these captions
+-- ParserError      the parser that was asked for is not installed
+-- RecipeError      a recipe has an unknown field or a value out of range
+-- TrainingError    a run cannot start, go on or be resumed
+-- EvaluationError  a checkpoint cannot be measured on this data
|   +-- NothingRelevantError   no query has a relevant image
+-- DescriptionsError   a file of descriptions is damaged, or no more of them can be asked for
"""

from typing import ClassVar

from models.errors import DescryError


class DatasetError(DescryError):
    """A data set on disk is missing, half complete or malformed; the message names the file and the entry."""

    code: ClassVar[str] = "dataset_invalid"


class ParsedCaptionsError(DatasetError):
    """A file of parsed captions is malformed, or is not of these captions; the message names the row."""

    code: ClassVar[str] = "parsed_captions_invalid"


class ParserError(DescryError):
    """The parser that was asked for, or its model, is not installed; the message says what to install."""

    code: ClassVar[str] = "parser_unavailable"


class RecipeError(DescryError):
    """A recipe has an unknown field, a missing one, or a value out of range."""

    code: ClassVar[str] = "recipe_invalid"


class TrainingError(DescryError):
    """A run cannot start, cannot be resumed, or went wrong (for instance a loss that is not a number)."""

    code: ClassVar[str] = "training_failed"


class EvaluationError(DescryError):
    """A checkpoint cannot be measured on this data."""

    code: ClassVar[str] = "evaluation_failed"


class NothingRelevantError(EvaluationError):
    """No query has a relevant image in the gallery, so that no metric is defined."""

    code: ClassVar[str] = "nothing_relevant"


class DescriptionsError(DescryError):
    """A file of descriptions is damaged or in use, or the endpoint that writes them cannot be asked (any further)."""

    code: ClassVar[str] = "descriptions_failed"
