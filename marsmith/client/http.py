"""TorchServe's inference and management APIs over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from marsmith.answers.messages import Request, Response
from marsmith.client.base import BaseClient
from marsmith.client.description import expecting_torchserve
from marsmith.client.managing import REFUSED_HINT, TOKEN_HINT
from marsmith.client.retries import Deadline, Retries
from marsmith.client.sending import Call, Sender, refuses_token, server_url
from marsmith.client.tokens import TokenSource, token_source
from marsmith.client.workers_up import PATIENCE, WorkersUp
from marsmith.core.errors import RefusedError

_RAW = "application/octet-stream"


class Client(BaseClient):
    """A connection to one TorchServe. Use it as a context manager, or close it.

    It can be used from several threads at once.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        management_url: str | None = None,
        *,
        metrics_url: str | None = None,
        token: str | TokenSource | None = None,
        key_file: Path | str | None = None,
        certificate: Path | None = None,
        timeout: float = 60.0,
        deadline: float | None = None,
        retries: Retries | None = None,
        worker_patience: float | None = PATIENCE,
    ) -> None:
        """`timeout` is in seconds, for each read and write; `deadline` for each call as a whole,
        with all its tries.

        By default `management_url` is one port after inference's, `metrics_url` one after
        management's. If the server needs tokens, pass `token`, or `key_file`: TorchServe's
        key_file.json. `certificate` is a PEM file to trust instead of the system's certificates.
        `retries` hold for calls that are safe to repeat; `ONCE` sends each call once.

        If an answer takes longer than `worker_patience` seconds, the management API is asked in the
        background whether a worker of the model is up. If none is, the answer is a 503 with the
        reason, made here. None turns this off: the request waits as long as TorchServe lets it.
        """
        self._url = server_url(url, "inference address")
        self._management_url = server_url(
            management_url or _next_port(self._url), "management address"
        )
        self._metrics_url = server_url(
            metrics_url or _next_port(self._management_url), "metrics address"
        )
        self._deadline = deadline
        tokens = token_source(token, key_file)
        self._sender = Sender(timeout, retries or Retries(), tokens, certificate)
        self._worker_patience = worker_patience
        self._workers_up = WorkersUp(self.described_soon)

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    def predict(
        self,
        model: str,
        request: Request | bytes,
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send a request, or bytes as a raw body, to a model; a refusal is a response too.

        `accept` is the HTTP header: the content types that the response may have. Without
        `version` the model's default version answers. `deadline` is in seconds.
        """
        return self._infer("predictions", model, request, accept, version, deadline)

    def explain(
        self,
        model: str,
        request: Request | bytes,
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Ask a model to explain its answer, with its `explain_handle`; as `predict` otherwise."""
        return self._infer("explanations", model, request, accept, version, deadline)

    def inference_headers(self) -> dict[str, str]:
        """Return the headers that an inference request needs; none if tokens are off."""
        return self._sender.authorization("inference")

    def health(self) -> str:
        """Return TorchServe's own health: `Healthy`, `Partial Healthy` or `Unhealthy`.

        It only counts workers. Whether they answer correctly, only a sample shows.
        """
        call = Call("inference", "GET", self._url, "/ping")
        with expecting_torchserve(self._url, "inference API"):
            # Unhealthy has status 500.
            return str(json.loads(self._send(call, accepted=(500,)).body)["status"])

    def metrics(self) -> str:
        """Return all metrics in Prometheus' text format; empty unless metrics_mode=prometheus."""
        call = Call("inference", "GET", self._metrics_url, "/metrics", with_token=False)
        return self._send(call).text

    def describe_by_handler(
        self, model: str, version: str, headers: Mapping[str, str], deadline: float
    ) -> Response:
        """Have one worker's handler describe its model (TorchServe's `customized=true`).

        It gets these headers, and is asked once. `deadline` is in seconds.
        """
        path = f"/models/{_path(model, version)}?customized=true"
        # If the worker is ended meanwhile, TorchServe may answer twice: nothing else may be asked
        # over this connection.
        headers = {**headers, "connection": "close"}
        call = Call("management", "GET", self._management_url, path, headers=headers)
        return self._sender.send_once(call, Deadline(deadline))

    def set_default(self, model: str, version: str) -> None:
        """Make a version the default one: it answers requests that name no version."""
        self._manage("PUT", f"/models/{_path(model, version)}/set-default")

    def unregister(self, model: str, version: str | None = None) -> None:
        """Unregister a version and end its workers; by default the default version.

        TorchServe unregisters a default version only if it is the last one (else: RefusedError,
        403). This is never retried: if the connection is lost, `describe` shows whether it was
        done.
        """
        self._manage("DELETE", f"/models/{_path(model, version)}", repeatable=False)

    @property
    def _management(self) -> str:
        return self._management_url

    def _description(self, model: str, version: str | None) -> Any:
        return json.loads(self._manage("GET", f"/models/{_path(model, version)}").body)

    def _listing(self, limit: int, next_page_token: str) -> Any:
        page = f"&next_page_token={next_page_token}" if next_page_token else ""
        return json.loads(self._manage("GET", f"/models?limit={limit}{page}").body)

    def _register(self, given: Mapping[str, Any]) -> None:
        words = {**given, "synchronous": str(given["synchronous"]).lower()}
        self._manage("POST", f"/models?{urlencode(words)}", repeatable=False)

    def _set_workers(self, model: str, version: str | None, bounds: tuple[int, int]) -> None:
        query = f"min_worker={bounds[0]}&max_worker={bounds[1]}&synchronous=true"
        self._manage("PUT", f"/models/{_path(model, version)}?{query}", repeatable=False)

    def _infer(
        self,
        api: str,
        model: str,
        request: Request | bytes,
        accept: str,
        version: str | None,
        deadline: float | None,
    ) -> Response:
        left = Deadline(self._deadline if deadline is None else deadline)
        sent = _typed(request)
        headers = sent.sent_headers(accept)
        path = f"/{api}/{_path(model, version)}"
        call = Call("inference", "POST", self._url, path, headers=headers, content=sent.body)
        check = self._workers_up.for_request(model, version, self._worker_patience)
        return self._sender.send(call, left, check)

    def described_soon(self, model: str, version: str | None, until: Deadline) -> Any:
        """Return the management API's list of descriptions, as JSON values; asks once."""
        call = Call("management", "GET", self._management_url, f"/models/{_path(model, version)}")
        return json.loads(self._sender.send_once(call, until).body)

    def _manage(self, method: str, path: str, *, repeatable: bool = True) -> Response:
        return self._send(Call("management", method, self._management_url, path, repeatable))

    def _send(self, call: Call, accepted: tuple[int, ...] = ()) -> Response:
        answer = self._sender.send(call, Deadline(self._deadline))
        if not answer.ok and answer.status not in accepted:
            raise _refused(answer, call)
        return answer


def _typed(request: Request | bytes) -> Request:
    """Return a request with a content type; that of a raw body says nothing of it."""
    whole = Request(request) if isinstance(request, bytes) else request
    return whole if whole.sent_type else replace(whole, content_type=_RAW)


def _path(model: str, version: str | None = None) -> str:
    parts = (model,) if version is None else (model, version)
    return "/".join(quote(part, safe="", errors="replace") for part in parts)


def _next_port(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{port + 1}"


def _refused(answer: Response, call: Call) -> RefusedError:
    message = f"TorchServe refused {call.method} {call.path} with {answer.status}: "
    message += answer.complaint
    if refuses_token(answer):
        return RefusedError(message, TOKEN_HINT, answer.status, code="token-refused")
    return RefusedError(message, REFUSED_HINT, answer.status)
