"""What a TorchServe's answer to a prediction means; no IO."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from marsmith.answers.messages import Response
from marsmith.client.retries import WORKER_DIED
from marsmith.client.tokens import REFUSAL
from marsmith.gateway.refusals import GatewayError

_LARGEST = 4096  # bytes of a refusal of TorchServe's own
# What describes a connection or a caller's right to ask, and is not passed on in either direction.
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
_OWN = _HOP_BY_HOP | {"transfer-encoding", "content-length", "x-request-id"}
_NOT_SENT = _OWN | {"host", "expect", "accept-encoding", "authorization", "proxy-authorization"}


class Outcome(Enum):
    """What a front end answered, or a handler (then it is an ANSWER)."""

    ANSWER = auto()
    TOKEN_REFUSED = auto()
    WORKER_DIED = auto()  # or ran out of memory, and is started again
    BATCH_FAILED = auto()  # a request of the batch made the handler raise
    NOT_TAKEN = auto()  # the queue is full, or there is no worker
    MODEL_UNKNOWN = auto()
    VERSION_UNKNOWN = auto()


_TYPES = {
    (400, REFUSAL): Outcome.TOKEN_REFUSED,
    (404, b"ModelNotFoundException"): Outcome.MODEL_UNKNOWN,
    (404, b"ModelVersionNotFoundException"): Outcome.VERSION_UNKNOWN,
    (500, WORKER_DIED.encode()): Outcome.WORKER_DIED,
    (503, b"Prediction failed"): Outcome.BATCH_FAILED,
    (503, b"ServiceUnavailableException"): Outcome.NOT_TAKEN,
}


def outcome_of(response: Response) -> Outcome:
    """Tell a refusal of TorchServe itself from what a handler answers."""
    if response.status < 400:
        return Outcome.ANSWER
    if response.status == 507:
        return Outcome.WORKER_DIED
    if len(response.body) < _LARGEST:
        for (status, word), outcome in _TYPES.items():
            if status == response.status and b'"type"' in response.body and word in response.body:
                return outcome
    return Outcome.ANSWER


def sent_headers(given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a caller that TorchServe gets."""
    return {name: value for name, value in given.items() if name.lower() not in _NOT_SENT}


def answered_headers(given: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of TorchServe that a caller gets."""
    return {name: value for name, value in given.items() if name not in _OWN}


def server_away(url: str, reason: str) -> GatewayError:
    """No TorchServe answers; `url` is the one that was named."""
    return GatewayError(
        f"no TorchServe answers at {url}: {reason}",
        "start it: marsmith serve; see why it ended: marsmith logs",
        code="server-away",
        status=503,
        retry_after=2,
    )


def no_token(url: str) -> GatewayError:
    """A TorchServe that is not of this project asks for a token."""
    return GatewayError(
        f"the TorchServe at {url} asks for a token, and this project has no key of it",
        "run the gateway in the project that serves it, or set disable_token_authorization=true",
        code="torchserve-token",
        status=502,
    )


def connection_lost() -> GatewayError:
    """A request was sent twice, and the connection was lost each time."""
    return GatewayError(
        "TorchServe ended its connection twice while it answered this request",
        "see why: marsmith logs",
        code="connection-lost",
        status=503,
        retry_after=2,
    )


def nobody_up(model: str, reason: str) -> GatewayError:
    """No worker is up; `reason` names the version."""
    hint = f"see why: marsmith logs {model}"
    return GatewayError(reason, hint, code="no-worker-up", status=503, retry_after=2)
