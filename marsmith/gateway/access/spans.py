"""Spans for OpenTelemetry, sent over OTLP/HTTP as the standard variables OTEL_… say."""

from __future__ import annotations

import os
import time

from marsmith.core.installed import require
from marsmith.gateway.access.facts import Facts
from marsmith.gateway.access.traces import Trace

_FLUSH = 2000  # ms for what waits to be sent when the gateway ends
_NAMED = ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")


class Spans:
    """One span for each request, with one for its time in the queue and one in the worker."""

    def __init__(self) -> None:
        """Start the exporter's thread. Raises MissingExtraError without the extra `otel`."""
        require_tracing()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = any(os.environ.get(name) for name in _NAMED)
        own = None if named else Resource.create({"service.name": "marsmith-gateway"})
        self._provider = TracerProvider(resource=own, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("marsmith.gateway")

    def begin(self, facts: Facts) -> None:
        """Begin a request's span; it takes the place of the one in its Trace."""
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            f"{facts.method} {facts.face}", context=_parent(facts.trace), kind=SpanKind.SERVER
        )
        now = span.get_span_context()
        facts.span = span
        flags = f"{int(now.trace_flags):02x}"
        facts.trace = Trace(
            f"{now.trace_id:032x}", f"{now.span_id:016x}", flags, facts.trace.parent
        )

    def end(self, facts: Facts) -> None:
        """End it, with what became of the request."""
        from opentelemetry.trace import StatusCode

        span = facts.span
        if span is None or not span.is_recording():
            return
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
            span.set_status(StatusCode.ERROR)
        if facts.batch:
            self._stages(facts)
        span.end()

    def _stages(self, facts: Facts) -> None:
        """Add spans of the stages; a back end tells how long they took, not when they were."""
        from opentelemetry.trace import set_span_in_context

        if facts.span is None:
            return
        context = set_span_in_context(facts.span)
        ends = time.time_ns()
        begins = ends - int(facts.computed * 1e9)
        waits = begins - int(facts.queued * 1e9)
        for name, start, end in (("queue", waits, begins), ("compute", begins, ends)):
            self._tracer.start_span(name, context=context, start_time=start).end(end)

    def close(self) -> None:
        """Send what waits."""
        self._provider.force_flush(_FLUSH)
        self._provider.shutdown()


def require_tracing() -> None:
    """Raise MissingExtraError unless spans can be sent."""
    require("tracing", "otel", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def _parent(trace: Trace):  # type: ignore[no-untyped-def]
    from opentelemetry import trace as api

    if not trace.parent:
        return None
    flags = api.TraceFlags(int(trace.flags, 16))
    caller = api.SpanContext(
        int(trace.id, 16), int(trace.parent, 16), is_remote=True, trace_flags=flags
    )
    return api.set_span_in_context(api.NonRecordingSpan(caller))
