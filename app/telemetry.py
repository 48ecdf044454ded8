"""Logging: one line of key=value text for each event, with the request that it belongs to."""

import logging
import re
import sys
import uuid
from contextvars import ContextVar

_request: ContextVar[str] = ContextVar("descry_request_id", default="-")
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id() -> str:
    """Id of the request that is being answered, or "-"."""
    return _request.get()


def begin_request(offered: str | None) -> str:
    """Name the request: as the client names it if that is harmless in a log line, else by a new id."""
    name = offered if offered and _ACCEPTED.fullmatch(offered) else uuid.uuid4().hex
    _request.set(name)
    return name


class _Format(logging.Formatter):
    """time level logger request message; line breaks in data stay data."""

    def format(self, record: logging.LogRecord) -> str:
        record.request = request_id()
        text = super().format(record)
        return text if record.exc_info else text.replace("\n", "\\n").replace("\r", "\\r")


def configure_logging(level: str = "INFO") -> None:
    """Send the logs of Descry and of its server to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format("%(asctime)s %(levelname)s %(name)s request=%(request)s %(message)s"))
    for name in ("app", "models", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    logging.getLogger("uvicorn.access").disabled = True  # `app.guard` writes the access line, with its request id
