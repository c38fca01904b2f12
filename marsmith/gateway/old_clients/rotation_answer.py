"""What a model of rotation answers, as the fields of the services' messages; no IO."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from marsmith.answers.messages import Response
from marsmith.gateway.refusals import GatewayError, handler_refused
from marsmith.project.gateway_table import OF_ROTATION


def result_of(model: str, said: Response) -> dict[str, Any]:
    """Return the fields of a handler's answer.

    Raises GatewayError: handler-refused, handler-failed, answer-template.
    """
    if not said.ok:
        raise handler_refused(said)
    with suppress(KeyError, TypeError, ValueError):
        return {name: said.values[name] for name in OF_ROTATION}
    raise GatewayError(
        f"the answer of {model} has not {', '.join(OF_ROTATION)}",
        "name a model of rotation in [gateway.grpc] of archives.toml",
        code="answer-template",
        status=500,
    )
