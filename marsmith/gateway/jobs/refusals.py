"""Why a job or an upload is refused; no IO."""

from __future__ import annotations

from marsmith.gateway.refusals import GatewayError

# Code → status, message, hint.
_REFUSALS = {
    "job-unknown": (
        404,
        "there is no job {id!r}",
        "it has expired, was deleted, or belongs to another key",
    ),
    "job-id": (
        400,
        "{id!r} cannot be the id of a job",
        "use up to 64 letters, digits, `_` and `-`",
    ),
    "job-model": (
        400,
        "the request does not say which model answers the job",
        "send PUT /jobs/ID?model=NAME",
    ),
    "job-differs": (
        409,
        "the job {id} is of another request",
        "choose another id: the same id is for sending the same request again",
    ),
    "job-prefer": (
        400,
        "the request names an upload or a webhook, but does not ask for a job",
        "send the header Prefer: respond-async too",
    ),
    "job-untold": (
        409,
        "the webhook of the job {id} was not sent yet",
        "delete it again a moment later",
    ),
    "upload-and-body": (
        400,
        "the request has a body beside the upload {id!r}",
        "send it without a body, or without `upload`",
    ),
    "job-open": (409, "the job {id} is not answered yet", "ask again later: GET /jobs/{id}"),
    "job-cancelled": (410, "the job {id} was cancelled", "send its request as a new job"),
    "job-quota": (
        429,
        "the key has {quota} jobs and uploads already",
        "delete some (DELETE /jobs/ID), wait until they expire, or raise quota in [gateway.jobs]",
    ),
    "job-tries": (
        500,
        "the job was begun {tries} times and never answered",
        "see why the gateway ended: marsmith logs",
    ),
    "job-storage": (
        503,
        "jobs cannot be stored or read now: {reason}",
        "send it again later; see the folder or the bucket that [gateway.jobs] names",
    ),
    "job-storage-full": (
        507,
        "there is no space for the job",
        "make space where jobs are stored: .marsmith/gateway/jobs",
    ),
    "upload-unknown": (
        404,
        "there is no upload {id!r}",
        "upload it first: POST /uploads gives an address for it",
    ),
    "upload-stored": (409, "this upload is stored already", "ask for another: POST /uploads"),
    "upload-too-large": (
        413,
        "the upload is larger than {limit} bytes",
        "send less, or raise max_upload in [gateway.jobs]",
    ),
    "address-expired": (
        410,
        "this address has expired",
        "ask for another: POST /uploads, or GET /jobs/ID for an answer",
    ),
    "address-forged": (
        403,
        "the address is not as it was given",
        "use the whole address, with the method that it was given for",
    ),
    "webhook-refused": (
        403,
        "no webhook may go to {url!r}: {reason}",
        "see webhook_hosts and private_webhook_hosts in [gateway.jobs]",
    ),
}


def refusal(code: str, *, retry_after: int | None = None, **values: object) -> GatewayError:
    """Return an error of the table, with `values` in its message and hint."""
    status, message, hint = _REFUSALS[code]
    told = message.format(**values), hint.format(**values)
    return GatewayError(*told, code=code, status=status, retry_after=retry_after)
