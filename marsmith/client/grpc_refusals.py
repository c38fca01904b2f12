"""TorchServe's refusals over gRPC, with the status that they have over HTTP; needs no grpc."""

from __future__ import annotations

import re
from dataclasses import dataclass

from marsmith.client.retries import WORKER_DIED
from marsmith.client.tokens import REFUSAL_WORDS

# By grpc's names, the statuses of HTTP: the reverse of TorchServe's table (GRPCUtils.java).
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "FAILED_PRECONDITION": 412,
    "OUT_OF_RANGE": 416,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}
# TorchServe uses INTERNAL for most errors; the words tell them apart (InferenceImpl.java,
# GRPCJob.java).
_WORDS = {
    r"\bBadRequestException": 400,
    r"\bModel(Version)?NotFoundException": 404,
    r"\bConflictStatusException": 409,
    r"has no worker to serve": 503,
    re.escape(WORKER_DIED): 507,
    r"[Mm]essage.* (larger|exceeds)": 413,
}
# Its gRPC server cuts off a request that is longer than max_request_size, without a message.
_CUT_OFF = re.compile(r"RST_STREAM with error code 8")


@dataclass(frozen=True)
class Refusal:
    """An answer without a result: its status as over HTTP, and TorchServe's words."""

    status: int
    kind: str  # the class of TorchServe's exception, or grpc's name of the status
    words: str

    @property
    def about_token(self) -> bool:
        """Whether the token was refused."""
        return self.status == 401 or (self.status == 403 and REFUSAL_WORDS in self.words)


def refusal_of(code: str, details: str) -> Refusal:
    """Read grpc's name of a status and its details: TorchServe's words, then its exception."""
    if code == "CANCELLED" and _CUT_OFF.search(details):
        words = "the server cut the request off: it may be longer than its max_request_size"
        return Refusal(413, code, words)
    words, _, kind = details.partition("\n")
    status = STATUSES.get(code, 500)
    for pattern, special in _WORDS.items():
        if re.search(pattern, details):
            status = special
    kind = kind.removesuffix(".()").rpartition(".")[2] or code
    return Refusal(status, kind, words or "no reason given")


def is_torchserves(details: str) -> bool:
    """Say whether TorchServe wrote this, not grpc: it ends with the name of its exception."""
    return "Exception" in details.partition("\n")[2]
