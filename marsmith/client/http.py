"""TorchServe's inference and management APIs over HTTP."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx

from marsmith.client.description import Model, expecting_torchserve, model_of
from marsmith.errors import ClientError, RefusedError, UnreachableError
from marsmith.messages import Response


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

    def predict(
        self, model: str, body: bytes, accept: str = "*/*", *, version: str | None = None
    ) -> Response:
        """Send one raw body to a model; a refusal is a response too, with its status.

        `accept` names the content types that the response may have, as the HTTP header does.
        Without `version` the model's default version answers.
        """
        headers = {"content-type": "application/octet-stream", "accept": accept}
        headers |= self.inference_headers()
        path = f"/predictions/{_path(model, version)}"
        got = self._send("POST", self._url, path, headers=headers, content=body)
        return Response(got.status_code, got.reason_phrase, dict(got.headers), got.content)

    def inference_headers(self) -> dict[str, str]:
        """Return what an inference request must carry where token authorization is on."""
        return self._token("inference")

    def models(self) -> list[Model]:
        """Describe all versions of all models, sorted by name."""
        names: list[str] = []
        page: str | None = ""
        while page is not None:
            with expecting_torchserve(self._management_url):
                listing = self._manage("GET", f"/models?limit=100{page}").json()
                names += [entry["modelName"] for entry in listing["models"]]
                token = listing.get("nextPageToken")
            page = f"&next_page_token={token}" if token else None
        return [model for name in sorted(set(names)) for model in self.describe(name)]

    def describe(self, model: str, version: str | None = None) -> list[Model]:
        """Describe all registered versions of one model, or the one that is named.

        Raises RefusedError for one that TorchServe does not know.
        """
        with expecting_torchserve(self._management_url):
            wanted = _path(model, version or "all")
            versions = self._manage("GET", f"/models/{wanted}").json()
            default = self._manage("GET", f"/models/{_path(model)}").json()[0]["modelVersion"]
            return [model_of(values, default) for values in versions]

    def register(
        self,
        url: str,
        *,
        model_name: str | None = None,
        handler: str | None = None,
        runtime: str | None = None,
        batch_size: int | None = None,
        max_batch_delay: int | None = None,
        response_timeout: int | None = None,
        startup_timeout: int | None = None,
        initial_workers: int | None = None,
        synchronous: bool = False,
    ) -> None:
        """Register an archive: `url` is a file of the model store. Its manifest says its version.

        The names are TorchServe's (RegisterModelRequest.java). `max_batch_delay` is in ms, the
        timeouts are in seconds; what is None, the archive's model-config and config.properties
        decide, and the former outweighs what is said here. `synchronous`: return when the workers
        are up, and fail if they do not come up. Raises RefusedError, of status 409 if that version
        is registered already.
        """
        chosen = {name: value for name, value in locals().items() if name != "self"}
        chosen["synchronous"] = str(synchronous).lower()
        given = {name: value for name, value in chosen.items() if value is not None}
        self._manage("POST", f"/models?{urlencode(given)}")

    def set_default(self, model: str, version: str) -> None:
        """Let a version answer all requests that name none."""
        self._manage("PUT", f"/models/{_path(model, version)}/set-default")

    def unregister(self, model: str, version: str | None = None) -> None:
        """Forget a version and end its workers; without `version` the default one.

        TorchServe forgets a default version only if it is the last one.
        """
        self._manage("DELETE", f"/models/{_path(model, version)}")

    def scale(
        self,
        model: str,
        min_workers: int,
        max_workers: int,
        timeout: float = 120,
        *,
        version: str | None = None,
    ) -> Model:
        """Set the number of workers of a version, by default the default one; wait until they run.

        Raises ClientError if they are not up within `timeout` seconds.
        """
        query = f"min_worker={min_workers}&max_worker={max_workers}&synchronous=true"
        self._manage("PUT", f"/models/{_path(model, version)}?{query}")
        deadline = time.monotonic() + timeout
        while True:
            described = self.describe(model, version)
            now = next(one for one in described if version or one.default)
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


def _path(model: str, version: str | None = None) -> str:
    parts = (model,) if version is None else (model, version)
    return "/".join(quote(part, safe="") for part in parts)


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
