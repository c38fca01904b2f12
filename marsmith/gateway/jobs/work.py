"""What is done for a message of the queue: a job is answered, or its webhook sent."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from starlette.responses import Response

from marsmith.core.errors import MarsmithError
from marsmith.gateway.access.allowances import Allowance, Allowances
from marsmith.gateway.access.guards import Guards
from marsmith.gateway.answering import header_pairs
from marsmith.gateway.backend import Backend
from marsmith.gateway.jobs.jobs import Jobs
from marsmith.gateway.jobs.record import NOBODY, Found, Job, State
from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.work_queue import Message
from marsmith.gateway.observe.facts import Facts
from marsmith.gateway.problems import problem
from marsmith.gateway.refusals import GatewayError, handler_refused

_MOST_TRIES = 10  # of a job
_PLAIN = "application/octet-stream"  # of an answer whose handler named no type
SENDERS = 4  # webhooks that are sent at once
_LONGEST_PAUSE = 60  # seconds between two of them
_log = logging.getLogger(__name__)


class NotNow(Exception):  # noqa: N818 - nothing went wrong
    """The key has as many jobs running as it may: try again after `seconds`."""

    seconds = 1.0


class Work:
    """Both methods return after how many seconds to try again; None: there is nothing to do."""

    def __init__(self, jobs: Jobs, backend: Backend, guards: Guards) -> None:
        """`backend` is the one behind all faces."""
        self._jobs = jobs
        self._backend = guards.admitted(backend)
        self._guards = guards
        self._running = Allowances()  # not those of requests: who waits for a job asks for it
        # Of their own: what waits for the storage must not wait for slow receivers.
        self._senders = ThreadPoolExecutor(SENDERS, "webhooks")

    async def run(self, message: Message) -> float | None:
        """Answer a job. Raises NotNow."""
        found = await self._found(message)
        if found is None:
            return None
        job = found.job
        if found.outcome is not None:
            await asyncio.to_thread(self._jobs.tell_again, job)
            return None
        state: State = "succeeded"
        allowance = None
        try:
            allowance = self._allowance(job)
            if message.tries > _MOST_TRIES:
                raise refusal("job-tries", tries=_MOST_TRIES)
            await asyncio.to_thread(self._jobs.store.put, f"{job.folder}/running", b"")
            response, version = await self._answer(job)
        except MarsmithError as error:
            if error.code == "key-limit":
                raise NotNow from error
            again = error.retry_after if isinstance(error, GatewayError) else None
            if again is not None and message.tries < _MOST_TRIES:
                return max(again, pause_after(message.tries))
            state, version, response = "failed", "", problem(error, job.id)
        finally:
            if allowance is not None:
                allowance.end(0)
        if await asyncio.to_thread(self._jobs.answered, job, state, response, version):
            self._guards.observer.metrics.job_ended(state)
        return None

    async def tell(self, message: Message) -> float | None:
        """Send a webhook."""
        found = await self._found(message)
        if found is None or found.outcome is None:
            return None
        # Before it is sent: afterwards the job may be gone.
        await asyncio.to_thread(self._jobs.store.put, f"{message.folder}/told", b"")
        try:
            loop = asyncio.get_running_loop()
            status = await loop.run_in_executor(self._senders, self._send, found)
            if 200 <= status < 300:
                return None
            said = str(status)
        except Exception as error:  # whatever it is, no webhook is tried for ever
            said = type(error).__name__
        _log.warning("webhook of job %s, try %d: %s", found.job.id, message.tries, said)
        pauses = self._jobs.settings.webhook_pauses
        return pauses[message.tries - 1] if message.tries <= len(pauses) else None

    def _send(self, found: Found) -> int:
        job, body = found.job, self._jobs.values(found, found.job.base)
        return self._jobs.webhooks.send(job.webhook, f"{job.folder}/{job.created}", body)

    def _allowance(self, job: Job) -> Allowance | None:
        """Count the run of a job; what is returned must be told of its end. Raises GatewayError."""
        if job.owner == NOBODY:
            return None
        return self._running.begin(self._guards.gate.key(job.owner), paid=True)

    async def _answer(self, job: Job) -> tuple[Response, str]:
        """Ask the back end, as a request with the key that sent the job."""
        observer = self._guards.observer
        facts = observer.begin("JOB", f"/jobs/{job.id}", "jobs", _trace(job))
        try:
            response, version = await self._asked(job, facts)
            facts.status = response.status_code
            return response, version
        except GatewayError as error:
            facts.status = error.status
            raise
        finally:
            facts.status = facts.status or 500
            observer.end(facts)

    async def _asked(self, job: Job, facts: Facts) -> tuple[Response, str]:
        if job.owner != NOBODY:
            facts.key = self._guards.gate.key(job.owner)
        body = await asyncio.to_thread(self._jobs.store.get, job.input)
        if body is None:
            raise refusal("upload-unknown", id=job.input.split("/")[1])
        answer = await self._backend.predict(job.call(body, facts.id))
        said = await answer.whole()
        if not said.ok:
            raise handler_refused(said)
        type_ = header_pairs(said.headers).get("content-type", _PLAIN)
        return Response(said.body, said.status, {"content-type": type_}), answer.version

    async def _found(self, message: Message) -> Found | None:
        owner, _, id_ = message.folder.partition("/")
        try:
            return await asyncio.to_thread(self._jobs.find, owner, id_)
        except GatewayError as error:
            if error.code != "job-unknown":
                raise
            return None  # it has expired, or was deleted


def pause_after(tries: int) -> float:
    """Return how many seconds to wait before the next try."""
    return float(min(_LONGEST_PAUSE, 2**tries))


def _trace(job: Job) -> list[tuple[bytes, bytes]]:
    """Return the header by which a job is of the same trace as the request that sent it."""
    sent = {name.lower(): value for name, value in job.headers.items()}.get("traceparent", "")
    return [(b"traceparent", sent.encode("latin-1"))] if sent else []
