"""Why a request gets no answer of a handler; no IO.

Each face turns them into its protocol's form: problems.py into RFC 9457's, TorchServe's face into
TorchServe's own.
"""

from __future__ import annotations

from marsmith.answers.messages import Response
from marsmith.core.errors import ClientError, MarsmithError

# What TorchServe's worker answers for a handler that raised (ts/service.py).
_FAILURES = (500, 503)


class GatewayError(ClientError):
    """A request that got no answer. `retry_after` is in seconds."""

    code = "gateway"

    def __init__(
        self, message: str, hint: str, *, code: str, status: int, retry_after: int | None = None
    ) -> None:
        super().__init__(message, hint, code=code)
        self.status = status
        self.retry_after = retry_after


def as_refusal(error: MarsmithError) -> GatewayError:
    """Return any error as one with a status: 400 if the request is at fault, 500 if not."""
    if isinstance(error, GatewayError):
        return error
    status = 400 if isinstance(error, ClientError) else 500
    return GatewayError(error.message, error.hint, code=error.code, status=status)


def sentence(error: MarsmithError) -> str:
    """Return an error's message and hint in one line."""
    return f"{error.message}; {error.hint}"


def model_unknown(model: str) -> GatewayError:
    """No model has this name."""
    return GatewayError(
        f"there is no model {model!r}",
        "see GET /models for those there are",
        code="model-unknown",
        status=404,
    )


def version_unknown(model: str, version: str) -> GatewayError:
    """A model has no such version."""
    return GatewayError(
        f"there is no version {version!r} of {model}",
        f"see GET /models/{model}/all",
        code="version-unknown",
        status=404,
    )


def queue_full(model: str, length: int) -> GatewayError:
    """So many requests wait for a model that one more would wait too long."""
    return GatewayError(
        f"{length} requests wait for {model} already",
        "try again later, or add workers",
        code="queue-full",
        status=503,
        retry_after=1,
    )


def no_worker_up(model: str, version: str, reason: str) -> GatewayError:
    """No worker of a version can answer, and none is about to."""
    return GatewayError(
        f"{model} {version} cannot answer: {reason}",
        f"see why: marsmith logs {model}",
        code="no-worker-up",
        status=503,
        retry_after=2,
    )


def worker_died(model: str, version: str) -> GatewayError:
    """Two workers died of one request."""
    return GatewayError(
        f"two workers of {model} {version} ended while they answered this request",
        f"see why: marsmith logs {model}",
        code="worker-died",
        status=500,
    )


def too_late(model: str, seconds: float) -> GatewayError:
    """A worker let its time pass."""
    return GatewayError(
        f"{model} did not answer within {seconds:g} s",
        "send less at once, or raise responseTimeout in the archive's serving table",
        code="answer-late",
        status=504,
    )


def default_version(model: str, version: str) -> GatewayError:
    """The default version cannot be unregistered while there are others."""
    return GatewayError(
        f"{version} is the default version of {model}",
        "make another version the default one first",
        code="default-version",
        status=403,
    )


def not_in_store(url: str) -> GatewayError:
    """Only archives of the model store are registered: nothing is downloaded."""
    return GatewayError(
        f"{url!r} is no archive of the model store",
        "put the file there, and name it alone; a gateway downloads nothing",
        code="not-in-store",
        status=404,
    )


def already_registered(model: str, version: str) -> GatewayError:
    """A version is registered once."""
    return GatewayError(
        f"version {version} of {model} is registered already",
        "give the archive another version, or unregister this one",
        code="already-registered",
        status=409,
    )


def handler_refused(said: Response) -> GatewayError:
    """A handler gave the request a status of its own, or failed."""
    if said.status in _FAILURES:
        return GatewayError(
            f"the model's handler failed: {said.complaint}",
            "see its traceback: marsmith logs NAME",
            code="handler-failed",
            status=500,
        )
    return GatewayError(
        said.complaint,
        "correct the request: the model's handler refused it",
        code="handler-refused",
        status=said.status,
    )


def malformed(message: str, hint: str) -> GatewayError:
    """A request is not one of the protocol that it is sent in."""
    return GatewayError(message, hint, code="malformed-request", status=400)
