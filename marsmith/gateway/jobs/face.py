"""Jobs and uploads over HTTP: /jobs, /uploads, and predict with `Prefer: respond-async`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from marsmith.gateway.access.guards import Guards
from marsmith.gateway.access.refusals import refusal as not_let_in
from marsmith.gateway.backend import Backend
from marsmith.gateway.jobs.jobs import Jobs
from marsmith.gateway.jobs.record import NOBODY, Found
from marsmith.gateway.jobs.refusals import refusal
from marsmith.gateway.jobs.runner import Runner
from marsmith.gateway.jobs.store import FolderStore
from marsmith.gateway.observe.facts import Facts
from marsmith.gateway.problems import problem
from marsmith.gateway.reading import read_call, request_id
from marsmith.gateway.refusals import GatewayError

_PREDICT = re.compile(r"/models/([^/]+)(?:/versions/([^/]+))?/predict")
_PREFERS = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s=])", re.IGNORECASE)
_JSON = "application/json"
_EVENTS = "text/event-stream"
_LOOKS = (0.1, 2.0)  # seconds between two looks at a job whose states are sent: first, at most
_SILENCE = 15.0  # seconds after which a comment is sent, so that no proxy closes the connection


class JobsFace:
    """What answers."""

    def __init__(self, jobs: Jobs, runner: Runner, backend: Backend, guards: Guards) -> None:
        """`backend` is as faces see it."""
        self._jobs = jobs
        self._runner = runner
        self._backend = backend
        self._metrics = guards.observer.metrics
        self._gate = guards.gate

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/jobs", self._list, methods=["GET"]),
            Route("/jobs/{id}", self._show, methods=["GET"]),
            Route("/jobs/{id}", self._put, methods=["PUT"]),
            Route("/jobs/{id}", self._delete, methods=["DELETE"]),
            Route("/jobs/{id}/answer", self._answer, methods=["GET"]),
            Route("/uploads", self._new_upload, methods=["POST"]),
            Route("/uploads/{id}", self._upload, methods=["PUT"]),
            Route("/uploads/{id}", self._delete_upload, methods=["DELETE"]),
        ]

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return `app`, with jobs for those who prefer not to wait (RFC 7240)."""

        async def choosing(scope: Scope, receive: Receive, send: Send) -> None:
            head = scope["state"]["facts"].head if scope["type"] == "http" else {}
            if b"prefer" in head and scope["method"] in ("POST", "PUT"):
                found = _PREDICT.fullmatch(scope["path"])
                if found and _PREFERS.search(head[b"prefer"].decode("latin-1")):
                    response = await self._submit(Request(scope, receive), *found.groups())
                    response.headers["preference-applied"] = "respond-async"
                    await response(scope, receive, send)
                    return
            elif scope.get("query_string") and _asks_for_job(scope):
                raise refusal("job-prefer")
            await app(scope, receive, send)

        return choosing

    async def _submit(
        self, http: Request, model: str, version: str | None, id_: str | None = None
    ) -> Response:
        facts, query = _facts(http), http.query_params
        facts.require("predict", model)
        await self._backend.describe(model, version)
        given = query.get("upload", ""), query.get("webhook", ""), _base(http)
        call = await read_call(http, model, version)
        if given[0] and call.request.body:
            raise refusal("upload-and-body", id=given[0])
        found = await asyncio.to_thread(self._jobs.submit, call, _owner(facts), id_, *given)
        self._runner.wake()
        return await self._told(http, found, 202)

    async def _put(self, http: Request) -> Response:
        model = http.query_params.get("model")
        if not model:
            raise refusal("job-model")
        version = http.query_params.get("version")
        return await self._submit(http, model, version, http.path_params["id"])

    async def _show(self, http: Request) -> Response:
        found = await self._found(http)
        if _EVENTS in http.headers.get("accept", ""):
            return StreamingResponse(self._states(found, _base(http)), media_type=_EVENTS)
        return await self._told(http, found, 200)

    async def _list(self, http: Request) -> Response:
        ids = await asyncio.to_thread(self._jobs.ids, _owner(_facts(http)))
        return Response(json.dumps(ids), media_type=_JSON)

    async def _delete_upload(self, http: Request) -> Response:
        owner, id_ = _owner(_facts(http)), http.path_params["id"]
        await asyncio.to_thread(self._jobs.delete_upload, owner, id_)
        return Response(status_code=204)

    async def _delete(self, http: Request) -> Response:
        owner, id_ = _owner(_facts(http)), http.path_params["id"]
        found = await asyncio.to_thread(self._jobs.delete, owner, id_)
        if found is None:
            return Response(status_code=204)
        if found.state == "cancelled":
            self._metrics.job_ended("cancelled")
            self._runner.cancel(found.job.folder)
        return await self._told(http, found, 200)

    async def _answer(self, http: Request) -> Response:
        found = await self._found(http)
        outcome, body = await asyncio.to_thread(self._jobs.answer, found)
        headers = {"content-type": outcome.content_type, "x-request-id": request_id(http)}
        _facts(http).model = found.job.model  # what a model answers runs nothing in a browser
        return Response(body, outcome.status, headers)

    async def _new_upload(self, http: Request) -> Response:
        owner, base = _owner(_facts(http)), _base(http)
        id_, url = await asyncio.to_thread(self._jobs.new_upload, owner, base)
        expires = self._jobs.settings.address_ttl
        values = {"id": id_, "method": "PUT", "url": url, "expires_in": expires}
        return Response(json.dumps(values), 201, media_type=_JSON)

    async def _upload(self, http: Request) -> Response:
        """Store an upload: whoever has the address needs no key."""
        owner = await self._signer("PUT", http)
        store, limit = self._jobs.store, self._jobs.settings.max_upload
        if not isinstance(store, FolderStore):
            raise refusal("address-forged")
        folder, size = f"{owner}/{http.path_params['id']}", 0
        if await asyncio.to_thread(store.size, f"{folder}/issued") is None:
            raise refusal("upload-unknown", id=http.path_params["id"])  # it was deleted
        writer = await asyncio.to_thread(store.writer, f"{folder}/upload")
        try:
            async for part in http.stream():
                size += len(part)
                if size > limit:
                    raise refusal("upload-too-large", limit=limit)
                await asyncio.to_thread(writer.write, part)
            if not await asyncio.to_thread(writer.commit):
                raise refusal("upload-stored")
        finally:
            writer.abort()
        return Response(status_code=201)

    async def _found(self, http: Request) -> Found:
        """Return the job that a request is for, by a key or by a signed address."""
        is_signed = "signature" in http.query_params
        owner = await self._signer("GET", http) if is_signed else _owner(_facts(http))
        return await asyncio.to_thread(self._jobs.find, owner, http.path_params["id"])

    async def _signer(self, method: str, http: Request) -> str:
        """Return whose signed address it is. Raises GatewayError, also for a revoked key."""
        query, path = {"signature": "", **http.query_params}, http.url.path
        owner = await asyncio.to_thread(self._jobs.signed_owner, method, path, query)
        if owner != NOBODY:
            self._gate.key(owner)
        return owner

    async def _told(self, http: Request, found: Found, status: int) -> Response:
        values = await asyncio.to_thread(self._jobs.values, found, _base(http))
        headers = {"x-request-id": request_id(http), "location": f"/jobs/{found.job.id}"}
        return Response(values, status, headers, _JSON)

    async def _states(self, found: Found, base: str) -> AsyncIterator[bytes]:
        """Yield the states of a job as events, until it has ended or the gateway stops."""
        pause, longest = _LOOKS
        last, silent = "", 0.0
        while not self._runner.stopping:
            if found.state != last:
                last, silent = found.state, 0.0
                values = await asyncio.to_thread(self._jobs.values, found, base)
                yield b"event: %b\ndata: %b\n\n" % (last.encode(), values)
            if found.outcome is not None:
                return
            if silent > _SILENCE:
                silent = 0.0
                yield b": \n\n"
            await asyncio.sleep(pause)
            silent, pause = silent + pause, min(longest, pause * 1.5)
            job = found.job
            try:
                found = await asyncio.to_thread(self._jobs.find, job.owner, job.id)
            except GatewayError as error:  # it was deleted meanwhile, for instance
                yield b"event: gone\ndata: %b\n\n" % bytes(problem(error, job.id).body)
                return


def _asks_for_job(scope: Scope) -> bool:
    """Whether a predict request names what only jobs have."""
    named = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).keys()
    return bool(named & {"upload", "webhook"} and _PREDICT.fullmatch(scope["path"]))


def _facts(http: Request) -> Facts:
    facts: Facts = http.scope["state"]["facts"]
    return facts


def _owner(facts: Facts) -> str:
    """Return whose jobs a request is about. Raises GatewayError without the key that it needs."""
    if facts.key is None:
        if facts.needs_key:
            raise not_let_in("key-missing", scope="predict")
        return NOBODY
    if all(scope.kind == "feedback" for scope in facts.key.scopes):
        raise not_let_in("key-scope", name=facts.key.name, scope="predict")
    return facts.key.id


def _base(http: Request) -> str:
    """Return the URL by which a caller reaches the gateway: its Host was checked."""
    base: Any = http.base_url
    return str(base).rstrip("/")
