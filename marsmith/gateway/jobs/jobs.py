"""What callers do with jobs and uploads; its methods wait for the storage."""

from __future__ import annotations

import json
import math
import secrets
import time
from functools import cached_property
from pathlib import Path
from threading import Lock

from starlette.responses import Response

from marsmith.core.hashing import sha256_of
from marsmith.gateway.backend import Call
from marsmith.gateway.jobs.addresses import kept_secret, signed, signed_owner
from marsmith.gateway.jobs.record import (
    Found,
    Job,
    Outcome,
    State,
    digest_of,
    is_id,
    job_from,
    outcome_from,
    pack,
)
from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.settings import JobSettings
from marsmith.gateway.jobs.store import Store, storing
from marsmith.gateway.jobs.webhooks import PREFIX, Webhooks
from marsmith.gateway.jobs.work_queue import WorkQueue


class Jobs:
    """The jobs of a gateway. All methods raise GatewayError."""

    def __init__(self, folder: Path, settings: JobSettings, store: Store, queue: WorkQueue) -> None:
        """`folder` holds the secrets."""
        self._folder = folder
        self.settings = settings
        self.store = store
        self.queue = queue

        self._admitting = Lock()  # counting and storing are one step

    @cached_property
    def webhooks(self) -> Webhooks:
        """What sends webhooks."""
        with storing():
            return Webhooks(self.settings, kept_secret(self._folder / "webhook-secret", PREFIX))

    def submit(
        self, call: Call, owner: str, id_: str | None, upload: str, webhook: str, base: str
    ) -> Found:
        """Store a request as a job, by default with a new id; the same one twice is one job."""
        if id_ is not None and not is_id(id_):
            raise refusal("job-id", id=id_)
        job = self._new(call, owner, id_ or secrets.token_hex(16), upload, webhook, base)
        known = self._known(job) if id_ else None
        if known is None:
            if webhook:
                self.webhooks.require_allowed(webhook)
            self._require_upload(job, upload)
            with self._admitting:
                self._require_quota(owner)
                if not upload:
                    self.store.put(job.input, call.request.body)
                if not self.store.put(f"{job.folder}/job", pack(job)):
                    known = self.store.get(f"{job.folder}/job")
        if known is not None and job_from(known).digest != job.digest:
            raise refusal("job-differs", id=job.id)
        found = self.find(owner, job.id)
        if found.state == "queued":  # again, too: an earlier try may have ended before
            self.queue.send(job.folder, "run")
        return found

    def _known(self, job: Job) -> bytes | None:
        """Return a stored job with the same id; one that has expired makes room."""
        known = self.store.get(f"{job.folder}/job")
        if known is None or job_from(known).expires >= time.time():
            return known
        self._remove(job.folder)
        return None

    def _remove(self, folder: str) -> None:
        self.queue.forget(folder)
        self.store.remove(folder)

    def ids(self, owner: str) -> dict[str, list[str]]:
        """Return the ids of an owner's jobs and uploads."""
        return {"jobs": self.store.ids(owner, "job"), "uploads": self.store.ids(owner, "issued")}

    def delete_upload(self, owner: str, id_: str) -> None:
        """Remove an upload, or its address if nothing was sent to it yet."""
        if not is_id(id_) or self.store.size(f"{owner}/{id_}/issued") is None:
            raise refusal("upload-unknown", id=id_)
        self._remove(f"{owner}/{id_}")

    def find(self, owner: str, id_: str) -> Found:
        """Return a job of an owner."""
        stored = self.store.get(f"{owner}/{id_}/job") if is_id(id_) else None
        job = job_from(stored) if stored else None
        if job is None or job.expires < time.time():
            raise refusal("job-unknown", id=id_)
        if ended := self.store.get(f"{job.folder}/outcome"):
            outcome = outcome_from(ended)
            return Found(job, outcome.state, outcome)
        running = self.store.size(f"{job.folder}/running") is not None
        return Found(job, "running" if running else "queued", None)

    def delete(self, owner: str, id_: str) -> Found | None:
        """Cancel a job, and return it; one that has ended is removed."""
        found = self.find(owner, id_)
        if found.outcome is None:
            self.end(found.job, Outcome("cancelled", time.time()))
            return self.find(owner, id_)
        if self.tell_again(found.job):
            raise refusal("job-untold", id=id_, retry_after=1)
        self._remove(found.job.folder)
        return None

    def tell_again(self, job: Job) -> bool:
        """Have a webhook sent that was never tried: whoever ended the job may have died before."""
        untold = bool(job.webhook) and self.store.size(f"{job.folder}/told") is None
        if untold:
            self.queue.send(job.folder, "tell")
        return untold

    def is_cancelled(self, folder: str) -> bool:
        """Whether a job was cancelled."""
        ended = self.store.get(f"{folder}/outcome")
        return ended is not None and outcome_from(ended).state == "cancelled"

    def end(self, job: Job, outcome: Outcome) -> bool:
        """Store how a job has ended; False if it has ended already."""
        ended = self.store.put(f"{job.folder}/outcome", pack(outcome))
        if job.webhook:
            self.queue.send(job.folder, "tell")
        return ended

    def answered(self, job: Job, state: State, response: Response, version: str) -> bool:
        """Store a job's answer; False if it has ended already."""
        body = bytes(response.body)
        name = f"{job.folder}/answer-{secrets.token_hex(8)}"
        type_ = response.headers["content-type"]
        error = json.loads(body) if state == "failed" else {}
        outcome = Outcome(
            state,
            ended=time.time(),
            status=response.status_code,
            content_type=type_,
            size=len(body),
            version=version,
            answer=name,
            error=error,
        )
        self.store.put(name, body)
        if self.end(job, outcome):
            return True
        stored = self.find(job.owner, job.id).outcome
        if stored and stored.answer == name:  # a try that seemed to fail had stored it
            return True
        self.store.remove(name)
        return False

    def answer(self, found: Found) -> tuple[Outcome, bytes]:
        """Return a job's answer."""
        outcome, id_ = found.outcome, found.job.id
        if outcome is None:
            raise refusal("job-open", id=id_, retry_after=1)
        if outcome.state == "cancelled":
            raise refusal("job-cancelled", id=id_)
        body = self.store.get(outcome.answer)
        if body is None:
            raise refusal("job-unknown", id=id_)
        return outcome, body

    def values(self, found: Found, base: str) -> bytes:
        """Return what callers see of a job, as JSON; they reach the gateway at `base`."""
        url = self._answer_address(found.job, found.outcome, base)
        return json.dumps(found.values(url)).encode()

    def new_upload(self, owner: str, base: str) -> tuple[str, str]:
        """Return the id of a new upload, and the address to send it to."""
        id_ = secrets.token_hex(16)
        with self._admitting:
            self._require_quota(owner)
            self.store.put(f"{owner}/{id_}/issued", b"")
        return id_, self._upload_address(owner, id_, base)

    def _upload_address(self, owner: str, id_: str, base: str) -> str:
        seconds = self.settings.address_ttl
        theirs = self.store.address("PUT", f"{owner}/{id_}/upload", seconds)
        return theirs or base + signed(self._secret, "PUT", f"/uploads/{id_}", owner, seconds)

    def _answer_address(self, job: Job, outcome: Outcome | None, base: str) -> str:
        if outcome is None or not outcome.answer:
            return ""
        path, seconds = f"/jobs/{job.id}/answer", self.settings.address_ttl
        theirs = self.store.address("GET", outcome.answer, seconds, outcome.content_type)
        return theirs or base + signed(self._secret, "GET", path, job.owner, seconds)

    def signed_owner(self, method: str, path: str, query: dict[str, str]) -> str:
        """Return whose signed address it is."""
        return signed_owner(self._secret, method, path, query)

    @cached_property
    def _secret(self) -> str:
        with storing():
            return kept_secret(self._folder / "secret")

    def _new(self, call: Call, owner: str, id_: str, upload: str, webhook: str, base: str) -> Job:
        asked, now = call.request, time.time()
        own = f"{owner}/{id_}/input-{sha256_of(asked.body)[:16]}"
        return Job(
            id=id_,
            owner=owner,
            model=call.model,
            version=call.version,
            content_type=asked.content_type,
            headers={**asked.headers},
            told={**call.told},
            input=f"{owner}/{upload}/upload" if upload else own,
            webhook=webhook,
            base=base,
            digest=digest_of(call, upload, webhook),
            created=now,
            expires=now + self.settings.ttl,
        )

    def _require_quota(self, owner: str) -> None:
        settings = self.settings
        if self.store.count(owner) >= settings.quota:
            created = self.store.created(owner) or [time.time()]
            wait = max(1, math.ceil(min(created) + settings.ttl - time.time()))
            raise refusal("job-quota", quota=settings.quota, retry_after=wait)

    def _require_upload(self, job: Job, upload: str) -> None:
        if not upload:
            return
        size = self.store.size(job.input) if is_id(upload) else None
        if size is None:
            raise refusal("upload-unknown", id=upload)
        if size > self.settings.max_upload:
            raise refusal("upload-too-large", limit=self.settings.max_upload)
