"""What TorchServe answers where there is no result (NettyUtils, HttpRequestHandler.java); no IO."""

from __future__ import annotations

from marsmith.core.errors import MarsmithError
from marsmith.gateway.refusals import as_refusal, sentence

_CLASSES = {
    400: "BadRequestException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    408: "RequestTimeoutException",
    409: "ConflictStatusException",
    503: "ServiceUnavailableException",
}
# What TorchServe has a class and words of its own for, by code.
_NAMED = {
    "model-unknown": ("ModelNotFoundException", "Model not found: {model}"),
    "version-unknown": (
        "ModelVersionNotFoundException",
        "Model version: {version} does not exist for model: {model}",
    ),
    "default-version": (
        "InvalidModelVersionException",
        "Cannot remove default version for model {model}",
    ),
    "not-in-store": ("ModelNotFoundException", "{sentence}"),
}
# It has one answer for these two; scripts look for its words.
_NO_WORKER = {"queue-full", "no-worker-up"}


class Refused(Exception):  # noqa: N818 (an answer)
    """The name of an exception of TorchServe, its status over HTTP, and its text."""

    def __init__(
        self, status: int, message: str, kind: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or _CLASSES.get(status, "InternalServerException")
        self.retry_after = retry_after


def nothing_here() -> Refused:
    """No such path."""
    return Refused(404, "Requested resource is not found, please refer to API document.")


def wrong_method() -> Refused:
    """A path that does not take this method."""
    return Refused(405, "Requested method is not allowed, please refer to API document.")


def refused(
    error: MarsmithError, model: str = "", version: str | None = None, task: str = "inference"
) -> Refused:
    """Return an error in TorchServe's words, as far as it has some for it."""
    own = as_refusal(error)
    kind, words = _NAMED.get(error.code, ("", "{sentence}"))
    if error.code in _NO_WORKER:
        named = 'Model "{model}"'
        named += ' Version {version}"' if version and task == "inference" else ""
        words = f"{named} has no worker to serve {task} request. "
        words += "Please use scale workers API to add workers; {sentence}"
    filled = words.format(model=model, version=version, sentence=sentence(error))
    return Refused(own.status, filled, kind, own.retry_after)
