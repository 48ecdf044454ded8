"""Typed errors of the synthetic set."""

from models.errors import DescryError


class SyntheticSetError(DescryError):
    """A synthetic set cannot be written to, or read from, a folder."""

    code = "synthetic_set_invalid"
