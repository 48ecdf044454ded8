"""Traces through OpenTelemetry (extra `otel`): off unless an address to send them to is set, or DESCRY_TRACES=true.

Names and attributes say what is done, never for whom, with which words or on which picture.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from app.errors import TracesNotInstalledError
from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_ADDRESSES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Role = Literal["server", "worker"]
Value = str | int | float | bool


class _Held:
    provider: "TracerProvider | None" = None


def wanted(settings: Settings) -> bool:
    """Whether traces are to be sent."""
    if settings.traces is not None:
        return settings.traces
    return any(os.environ.get(name) for name in _ADDRESSES) and os.environ.get("OTEL_SDK_DISABLED", "") != "true"


def configure_tracing(settings: Settings, role: Role, exporter: "SpanExporter | None" = None) -> bool:
    """Begin to trace, if that is asked for; returns whether.

    Args:
        exporter: where spans go, instead of the address of `OTEL_EXPORTER_OTLP_ENDPOINT`; each span at once.

    Raises:
        TracesNotInstalledError: it is asked for, and the extra `otel` is not installed.
    """
    if not wanted(settings):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError as error:
        raise TracesNotInstalledError(
            "traces are asked for (DESCRY_TRACES or OTEL_EXPORTER_OTLP_ENDPOINT), and OpenTelemetry is not installed: "
            "uv pip install -c constraints.txt -e '.[cpu,otel]', or set DESCRY_TRACES=false"
        ) from error
    end_tracing()
    name = os.environ.get("OTEL_SERVICE_NAME", f"descry-{role}")
    # A provider of our own, not the process's: another library's (DBOS has one) must not get or change these spans.
    _Held.provider = TracerProvider(resource=Resource.create({"service.name": name}))
    _Held.provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter()) if exporter is None else SimpleSpanProcessor(exporter)
    )
    return True


def end_tracing() -> None:
    """Send what is left, and trace no more."""
    provider, _Held.provider = _Held.provider, None
    if provider is not None:
        provider.shutdown()


@contextmanager
def span(name: str, attributes: Mapping[str, Value] | None = None) -> Iterator[dict[str, Value]]:
    """A span for the length of a block, below the one that is open. What is put into the given dict is added at
    its end.

    Nothing happens where nothing is traced. Of an exception its class is kept, not its text.
    """
    told: dict[str, Value] = {}
    provider = _Held.provider
    if provider is None:
        yield told
        return
    from opentelemetry.trace import Status, StatusCode

    tracer = provider.get_tracer("descry")
    with tracer.start_as_current_span(
        name, attributes=dict(attributes or {}), record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield told
        except BaseException as error:
            opened.set_attribute("error.type", type(error).__name__)
            opened.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            opened.set_attributes(told)


def record(stages: Mapping[str, float]) -> None:
    """Spans for what has just ended, one after the other: name to milliseconds."""
    provider = _Held.provider
    if provider is None:
        return
    tracer = provider.get_tracer("descry")
    at = time.time_ns() - round(sum(stages.values()) * 1e6)
    for name, milliseconds in stages.items():
        made = tracer.start_span(name, start_time=at)
        at += round(milliseconds * 1e6)
        made.end(end_time=at)
