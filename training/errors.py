"""Errors of the training package.

DescryError (models.errors)
+-- DatasetError     a data set on disk is missing, half complete or malformed
|   +-- ParsedCaptionsError    a file of parsed captions is malformed, or is not of these captions
+-- ParserError      the parser that was asked for is not installed
+-- RecipeError      a recipe has an unknown field or a value out of range
+-- TrainingError    a run cannot start, go on or be resumed
|   +-- LossNotFiniteError    a loss or gradient is not a number
+-- ResourceError    the machine has no more of something; `status` is the exit status that says so
|   +-- MemoryEndedError      no memory left, on the machine or on the GPU
|   +-- DiskFullError         no room on a disk
+-- FileUnusableError  a file or folder that was named cannot be read or written
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


class LossNotFiniteError(TrainingError):
    """A loss or a gradient is not a number; the event `nan` names the batch."""

    code: ClassVar[str] = "loss_not_finite"


class ResourceError(DescryError):
    """The machine has no more of what a run needs.

    `status` is the exit status of the process: the message may not reach a full disk.
    """

    code: ClassVar[str] = "resource_ended"
    status: ClassVar[int] = 1


class MemoryEndedError(ResourceError):
    """There is no more memory, on the machine, under the process's limit, or on the GPU."""

    code: ClassVar[str] = "out_of_memory"
    status: ClassVar[int] = 12  # ENOMEM


class DiskFullError(ResourceError):
    """A disk is full."""

    code: ClassVar[str] = "disk_full"
    status: ClassVar[int] = 28  # ENOSPC


_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory", "std::bad_alloc", "can't start new")
_NO_ROOM = ("no space left on device", "disk quota exceeded", "file too large (os error 27)")
"""The last one is safetensors' word for a limit on the size of files."""


def resource_error(error: BaseException) -> ResourceError | None:
    """What a library raised, as our error, if it means that memory or disk have ended."""
    found: BaseException | None = error
    while found is not None:
        words = str(found).lower()
        if isinstance(found, ResourceError):
            return found
        if isinstance(found, MemoryError) or any(text in words for text in _NO_MEMORY):
            return MemoryEndedError(
                f"no memory left ({_first_line(found)}): lower `batch`, raise `accumulate`, or allow the process more"
            )
        if any(text in words for text in _NO_ROOM) or (isinstance(found, OSError) and found.errno in (27, 28, 122)):
            return DiskFullError(
                f"a disk is full ({_first_line(found)}): make room; the run goes on from its last state"
            )
        found = found.__cause__ or found.__context__
    return None


class FileUnusableError(DescryError):
    """A file or folder that was named cannot be read or written; the message names it."""

    code: ClassVar[str] = "file_unusable"


def file_error(error: BaseException) -> FileUnusableError | None:
    """What the system says of a file, as our error, where it names one."""
    if not isinstance(error, OSError) or error.filename is None:
        return None
    return FileUnusableError(f"{error.filename} cannot be read or written: {error.strerror}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class EvaluationError(DescryError):
    """A checkpoint cannot be measured on this data."""

    code: ClassVar[str] = "evaluation_failed"


class NothingRelevantError(EvaluationError):
    """No query has a relevant image in the gallery, so that no metric is defined."""

    code: ClassVar[str] = "nothing_relevant"


class DescriptionsError(DescryError):
    """A file of descriptions is damaged or in use, or the endpoint that writes them cannot be asked (any further)."""

    code: ClassVar[str] = "descriptions_failed"
