"""A job and what became of it, as they are stored and shown; no IO."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from marsmith.answers.forms import boundary_of, fields_of
from marsmith.answers.messages import Request
from marsmith.core.errors import MarsmithError
from marsmith.core.hashing import sha256_of
from marsmith.gateway.backend import Call

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
NOBODY = "-"  # owns what was sent without a key
# Headers that differ when the same request is sent again, also by another way.
_OF_ONE_SENDING = frozenset(
    {
        "baggage",
        "connection",
        "content-length",
        "content-type",
        "date",
        "forwarded",
        "host",
        "traceparent",
        "tracestate",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
    }
)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def is_id(text: str) -> bool:
    """Whether a job can have this id."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Job:
    """A request that is answered later. Times are seconds since the epoch."""

    id: str
    owner: str  # the id of its key
    model: str
    version: str | None
    content_type: str
    headers: Mapping[str, str]
    told: Mapping[str, str]
    input: str  # the name of the stored body
    webhook: str
    base: str  # the URL by which its caller reached the gateway
    digest: str  # of all that the caller asked for
    created: float
    expires: float

    @property
    def folder(self) -> str:
        """Where its files are."""
        return f"{self.owner}/{self.id}"

    def call(self, body: bytes, request_id: str) -> Call:
        """Return what a back end is asked."""
        request = Request(body, self.content_type, self.headers)
        return Call(self.model, request, request_id, self.version, told=self.told)


@dataclass(frozen=True)
class Outcome:
    """How a job ended; the first one that is stored counts."""

    state: State
    ended: float
    status: int = 0  # that the predict route would have answered
    content_type: str = ""
    size: int = 0  # of the answer, in bytes
    version: str = ""
    answer: str = ""  # the name of the stored answer
    error: Mapping[str, Any] = field(default_factory=dict)  # problem details of a failed job


@dataclass(frozen=True)
class Found:
    """A job as it is now."""

    job: Job
    state: State
    outcome: Outcome | None

    def values(self, answer_url: str) -> dict[str, Any]:
        """Return what callers see of it, as JSON values."""
        job, outcome = self.job, self.outcome
        version = (outcome.version if outcome else "") or job.version
        values: dict[str, Any] = {"id": job.id, "state": self.state, "model": job.model}
        values |= {"version": version, "created": job.created, "expires": job.expires}
        if outcome is None:
            return values
        values["ended"] = outcome.ended
        if outcome.answer:
            shown = {"status": outcome.status, "content_type": outcome.content_type}
            values["answer"] = {**shown, "bytes": outcome.size, "url": answer_url}
        return values | ({"error": outcome.error} if outcome.error else {})


def pack(record: Job | Outcome) -> bytes:
    """Return what is stored."""
    return json.dumps(asdict(record)).encode()


def job_from(stored: bytes) -> Job:
    """Read what `pack` wrote."""
    return Job(**json.loads(stored))


def outcome_from(stored: bytes) -> Outcome:
    """Read what `pack` wrote."""
    return Outcome(**json.loads(stored))


def digest_of(call: Call, upload: str, webhook: str) -> str:
    """Return what is equal for the same request sent twice."""
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    told = sorted((headers | dict(call.told)).items())
    told = [one for one in told if one[0].lower() not in _OF_ONE_SENDING]
    asked = [call.model, call.version, upload, webhook, told, _sent(call.request)]
    return sha256_of(json.dumps(asked).encode())


def _sent(request: Request) -> list[Any]:
    """Return what a body says: clients choose another boundary each time they send a form."""
    boundary = boundary_of(request.sent_type)
    with suppress(MarsmithError):
        if boundary is not None:
            fields = fields_of(request.body, boundary)
            return [
                (one.name, one.filename, one.content_type, sha256_of(one.value)) for one in fields
            ]
    return [request.sent_type, sha256_of(request.body)]
