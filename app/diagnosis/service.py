"""All looks, one after the other. None changes anything, and none that breaks keeps the others from being taken."""

import logging
from collections.abc import Callable, Iterator

from app.diagnosis.data import data
from app.diagnosis.installation import installation
from app.diagnosis.machine import machine
from app.diagnosis.schemas import Finding, fail
from app.settings import Settings

_log = logging.getLogger(__name__)
LOOKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (installation, machine, data)


def diagnose(settings: Settings) -> Iterator[Finding]:
    """What is right and wrong with this installation and its data."""
    for look in LOOKS:
        try:
            yield from look(settings)
        except Exception as error:  # noqa: BLE001  a look that breaks is itself a finding
            _log.debug("a look failed", exc_info=True)
            told = f"the look at it failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
            yield fail(look.__name__, told, "this is an error of Descry, or damage that nobody foresaw: report it")
