"""Traces by OpenTelemetry: of requests, and of the work that they lead to.

A request's span is the parent of the span of each attempt at its job or study, in whichever worker:
its `traceparent` (W3C Trace Context) lies in the record. Spans leave by OTLP over HTTP, as the
usual `OTEL_…` variables say. Unless `OTEL_EXPORTER_OTLP_ENDPOINT` or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says where to, nothing is traced and nothing imported; the
`traceparent` of a caller is kept in the record all the same.
"""

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, Literal

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

SpanKind = Literal["server", "consumer"]


def traceparent_in(text: str) -> str | None:
    """Return a caller's `traceparent`; None where it is none (of version 00, ids not all zero): the
    standard has such a header ignored."""
    return text if _TRACEPARENT.fullmatch(text) else None


class Span:
    """A span that has begun. It is ended once, by whoever began it.

    Attributes:
        traceparent: what a child takes for its parent.
    """

    def __init__(self, span: Any) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = (
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        )

    def rename(self, name: str) -> None:
        """Give the span the name that it got to know late."""
        self._span.update_name(name)

    def note(self, **attributes: str | int | float | None) -> None:
        """Set attributes: `job_id` becomes `thalweg.job_id`, and `http__route`, of OpenTelemetry's
        own names, `http.route`. Those that are None are left out."""
        for name, value in attributes.items():
            if value is not None:
                key = name.replace("__", ".") if "__" in name else f"thalweg.{name}"
                self._span.set_attribute(key, value)

    def end(self, failure: str | None = None) -> None:
        """End it; `failure` says what went wrong."""
        if failure is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, failure))
        self._span.end()


class Tracing:
    """The maker of spans of one process, which sends them in a thread of its own."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("thalweg")

    def start(self, name: str, kind: SpanKind, parent: str | None) -> Span:
        """Begin a span; `parent`: a `traceparent`, or None for the first of its trace."""
        from opentelemetry.trace import SpanKind as Kinds
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {} if parent is None else {"traceparent": parent}
        context = TraceContextTextMapPropagator().extract(carrier)
        made = Kinds.SERVER if kind == "server" else Kinds.CONSUMER
        return Span(self._tracer.start_span(name, context=context, kind=made))

    def close(self) -> None:
        """Send what has ended, and stop."""
        self._provider.shutdown()


def tracing_of(part: str, environment: Mapping[str, str]) -> Tracing | None:
    """Make the tracing of a part (`api`, `worker`) of the service; None where `environment` does
    not say where spans are to go. The part is called `thalweg-<part>` in them, unless
    `OTEL_SERVICE_NAME` says another name."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = environment.get("OTEL_SERVICE_NAME") or f"thalweg-{part}"
    resource = Resource.create(
        {"service.name": name, "service.version": version("thalweg-service")}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
