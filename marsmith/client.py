"""TorchServe's inference and management APIs over HTTP: the only place that opens connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from marsmith.errors import ClientError, RefusedError, UnreachableError
from marsmith.messages import Response


@dataclass(frozen=True)
class Worker:
    """One worker process of a model."""

    id: str
    state: str  # READY, LOADING, UNLOADING, …
    pid: int
    memory: int  # bytes


@dataclass(frozen=True)
class Model:
    """One version of a model, as the management API describes it."""

    name: str
    version: str
    default: bool
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay: int  # ms
    workers: tuple[Worker, ...]

    @property
    def ready_workers(self) -> int:
        """How many workers answer requests."""
        return sum(worker.state == "READY" for worker in self.workers)


class Client:
    """A connection to one TorchServe. Use it as a context manager, or close it."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        management_url: str = "http://127.0.0.1:8081",
        *,
        key_file: Path | None = None,
        timeout: float = 60.0,
    ) -> None:
        """`timeout` is in seconds, for each request.

        `key_file` is TorchServe's key_file.json, read where token authorization is on.
        """
        self._url = url
        self._management_url = management_url
        self._key_file = key_file
        # Proxies from the environment are for the internet, not for a server beside us.
        self._http = httpx.Client(timeout=timeout, trust_env=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def predict(self, model: str, body: bytes, accept: str = "*/*") -> Response:
        """Send one raw body to a model; a refusal is a response too, with its status.

        `accept` names the content types that the response may have, as the HTTP header does.
        """
        headers = {"content-type": "application/octet-stream", "accept": accept}
        headers |= self._token("inference")
        path = f"/predictions/{_quoted(model)}"
        got = self._send("POST", self._url, path, headers=headers, content=body)
        return Response(got.status_code, got.reason_phrase, dict(got.headers), got.content)

    def models(self) -> list[Model]:
        """Describe all versions of all models, sorted by name."""
        names: list[str] = []
        page: str | None = ""
        while page is not None:
            with self._expecting_torchserve():
                listing = self._manage("GET", f"/models?limit=100{page}").json()
                names += [entry["modelName"] for entry in listing["models"]]
                token = listing.get("nextPageToken")
            page = f"&next_page_token={token}" if token else None
        return [model for name in sorted(set(names)) for model in self.describe(name)]

    def describe(self, model: str) -> list[Model]:
        """Describe all registered versions of one model. Raises RefusedError for an unknown one."""
        path = f"/models/{_quoted(model)}"
        with self._expecting_torchserve():
            versions = self._manage("GET", f"{path}/all").json()
            default = self._manage("GET", path).json()[0]["modelVersion"]
            return [_model(version, default) for version in versions]

    def scale(self, model: str, min_workers: int, max_workers: int, timeout: float = 120) -> Model:
        """Set the number of workers of a model's default version, and wait until they are up.

        Raises ClientError if they are not within `timeout` seconds.
        """
        query = f"min_worker={min_workers}&max_worker={max_workers}&synchronous=true"
        self._manage("PUT", f"/models/{_quoted(model)}?{query}")
        deadline = time.monotonic() + timeout
        while True:
            now = next(version for version in self.describe(model) if version.default)
            settled = all(worker.state == "READY" for worker in now.workers)
            if settled and min_workers <= len(now.workers) <= max_workers:
                return now
            if time.monotonic() > deadline:
                raise ClientError(
                    f"{model} has {now.ready_workers} of {min_workers} workers, "
                    f"{timeout:.0f} s after it was told to",
                    "its log says why: .marsmith/servers/PORT/workers.log",
                )
            time.sleep(0.1)

    @contextmanager
    def _expecting_torchserve(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ClientError(
                f"what answers at {self._management_url} is not TorchServe's management API",
                "name the server's inference port: --port N",
            ) from error

    def _manage(self, method: str, path: str) -> httpx.Response:
        headers = self._token("management")
        response = self._send(method, self._management_url, path, headers=headers)
        if not response.is_success:
            raise _refused(response, method, path)
        return response

    def _token(self, api: str) -> dict[str, str]:
        """Return the header that an API asks for, if it asks for one.

        The file holds a key for each API (TokenAuthorization.java).
        """
        if self._key_file is None or not self._key_file.exists():
            return {}
        try:
            key = json.loads(self._key_file.read_text())[api]["key"]
        except (OSError, ValueError, KeyError) as error:
            raise ClientError(
                f"{self._key_file} holds no {api} key",
                "the server may still be starting: try again",
            ) from error
        return {"authorization": f"Bearer {key}"}

    def _send(
        self,
        method: str,
        url: str,
        path: str,
        *,
        headers: dict[str, str],
        content: bytes | None = None,
    ) -> httpx.Response:
        try:
            return self._http.request(method, url + path, content=content, headers=headers)
        except httpx.TimeoutException as error:
            raise ClientError(
                f"{url}{path} did not answer in time",
                "look into the server's logs, or allow it more time",
            ) from error
        except httpx.TransportError as error:
            raise UnreachableError(
                f"nothing answers at {url}",
                "start a server: marsmith serve; or name its port: --port N",
            ) from error
        except httpx.RequestError as error:
            raise ClientError(
                f"{url}{path} gave an answer that cannot be read: {error}",
                "see what listens there; name the server's inference port: --port N",
            ) from error


def _quoted(model: str) -> str:
    return quote(model, safe="")


def _refused(response: httpx.Response, method: str, path: str) -> RefusedError:
    try:
        reason = response.json()["message"]
    except (ValueError, KeyError, TypeError):
        reason = response.reason_phrase or "no reason given"
    return RefusedError(
        f"TorchServe refused {method} {path} with {response.status_code}: {reason}",
        "marsmith models lists what is served; the server's log may say more",
        response.status_code,
    )


def _model(values: dict[str, Any], default_version: str) -> Model:
    return Model(
        name=values["modelName"],
        version=values["modelVersion"],
        default=values["modelVersion"] == default_version,
        min_workers=values["minWorkers"],
        max_workers=values["maxWorkers"],
        batch_size=values["batchSize"],
        max_batch_delay=values["maxBatchDelay"],
        workers=tuple(
            Worker(worker["id"], worker["status"], worker["pid"], worker["memoryUsage"])
            for worker in values["workers"]
        ),
    )
