"""Spans for OpenTelemetry, sent over OTLP/HTTP as the standard variables OTEL_… say."""

from __future__ import annotations

import time
from typing import Any

from marsmith.core.installed import require
from marsmith.gateway.observe.facts import Facts, Trace

_FLUSH = 2000  # ms for what waits to be sent when the gateway ends


def require_tracing() -> None:
    """Raise MissingExtraError unless spans can be sent."""
    require("tracing", "otel", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Spans:
    """One span for each request, with one for its time in the queue and one in the worker."""

    def __init__(self, exporter: Any = None) -> None:
        """Start the exporter's thread. Raises MissingExtraError without the extra `otel`."""
        require_tracing()
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._api = trace
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("marsmith.gateway")

    def begin(self, facts: Facts) -> None:
        """Begin a request's span; it takes the place of the one in its Trace."""
        api, given = self._api, facts.trace
        context = None
        if given.parent:
            flags = api.TraceFlags(int(given.flags, 16))
            ids = int(given.id, 16), int(given.parent, 16)
            caller = api.SpanContext(*ids, is_remote=True, trace_flags=flags)
            context = api.set_span_in_context(api.NonRecordingSpan(caller))
        name = f"{facts.method} {facts.face}"
        span = self._tracer.start_span(name, context=context, kind=api.SpanKind.SERVER)
        own = span.get_span_context()
        ids_in_hex = f"{own.trace_id:032x}", f"{own.span_id:016x}", f"{own.trace_flags:02x}"
        facts.span, facts.trace = span, Trace(*ids_in_hex, given.parent)

    def end(self, facts: Facts) -> None:
        """End it, with what became of the request."""
        api, span = self._api, facts.span
        span.set_attributes(
            {
                "http.request.method": facts.method,
                "url.path": facts.path,
                "http.response.status_code": facts.status,
                "marsmith.request_id": facts.id,
                "marsmith.model": facts.model,
                "marsmith.version": facts.version,
                "marsmith.batch": facts.batch,
            }
        )
        if facts.status >= 500:
            span.set_status(api.StatusCode.ERROR)
        if facts.batch:
            # A back end tells how long its stages took, not when they were.
            context = api.set_span_in_context(span)
            ends = time.time_ns()
            begins = ends - int(facts.computed * 1e9)
            waits = begins - int(facts.queued * 1e9)
            for name, start, end in (("queue", waits, begins), ("compute", begins, ends)):
                self._tracer.start_span(name, context=context, start_time=start).end(end)
        span.end()

    def close(self) -> None:
        """Send what waits."""
        self._provider.force_flush(_FLUSH)
        self._provider.shutdown()
