"""Logging: a line for each event, as key=value text or as JSON, with the request that it belongs to.

What a line may carry: times, routes, ids, counts, error codes. Never words of a query, pictures or keys.
"""

import json
import logging
import re
import sys
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

_request: ContextVar[str] = ContextVar("descry_request_id", default="-")
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line somewhere, moves the cursor or turns the direction of text; halves of characters."""
LogFormat = Literal["text", "json"]
FIELDS = "descry_fields"
"""Name under which a record carries fields of its own: `log.info("...", extra={FIELDS: {...}})`."""


def request_id() -> str:
    """Id of the request that is being answered, or "-"."""
    return _request.get()


def begin_request(offered: str | None) -> str:
    """Name the request: as the client names it if that is harmless in a log line, else by a new id."""
    name = offered if offered and _ACCEPTED.fullmatch(offered) else uuid.uuid4().hex
    _request.set(name)
    return name


class _Format(logging.Formatter):
    """time level logger request message; line breaks and control characters in data stay data. Lines of a traceback
    may quote data and are indented: no line that begins like one is another one's."""

    def format(self, record: logging.LogRecord) -> str:
        record.request = request_id()
        record.message, record.asctime = record.getMessage(), self.formatTime(record, self.datefmt)
        line = _visible(self.formatMessage(record))
        if not record.exc_info:
            return line
        told = self.formatException(record.exc_info).split("\n")
        return "\n    ".join([line, *(_visible(part) for part in told)])


def _visible(text: str) -> str:
    """A text on one line, which can do nothing to a terminal."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _JsonFormat(logging.Formatter):
    """One JSON object on one line: time, level, logger, request_id, message, the fields of its own, traceback."""

    def __init__(self, place: int | None = None) -> None:
        super().__init__()
        self._of = {} if place is None else {"process": place}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **self._of,
            "request_id": request_id(),
            "message": record.getMessage(),
        }
        own = getattr(record, FIELDS, None)
        if isinstance(own, Mapping):
            line |= {name: value for name, value in own.items() if name not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def formatter(kind: LogFormat, place: int | None = None) -> logging.Formatter:
    """How a record becomes a line; `place` is which of several processes on one port writes it."""
    if kind == "json":
        return _JsonFormat(place)
    of = "" if place is None else f"process={place} "
    return _Format(f"%(asctime)s %(levelname)s %(name)s {of}request=%(request)s %(message)s")


def configure_logging(level: str = "INFO", kind: LogFormat = "text", place: int | None = None) -> None:
    """Send the logs of Descry and of its server to standard error.

    Args:
        place: which of several processes on one port this is, for their lines come together.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(kind, place))
    for name in ("app", "models", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True  # `app.guard` writes the access line, with its request id
