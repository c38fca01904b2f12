"""TorchServe's inference and management APIs over gRPC."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marsmith.answers.messages import Request, Response
from marsmith.client.base import BaseClient
from marsmith.client.description import expecting_torchserve
from marsmith.client.grpc_refusals import Refusal
from marsmith.client.managing import REFUSED_HINT, TOKEN_HINT
from marsmith.client.retries import Deadline, Retries
from marsmith.client.tokens import TokenSource, token_source
from marsmith.client.workers_up import PATIENCE, NoWorkerUpError, WorkersUp
from marsmith.core.errors import ClientError, RefusedError
from marsmith.core.extras import MODULES
from marsmith.core.installed import require
from marsmith.torchserve.front_end import parameters_of

if TYPE_CHECKING:
    from marsmith.client.grpc_wire import Wire


class GrpcClient(BaseClient):
    """A connection to one TorchServe over gRPC. Use it as a context manager, or close it.

    It can be used from several threads at once. TorchServe's gRPC has no calls for explanations
    and metrics. It does not send a handler's content type or status: every answer of a handler has
    status 200 here, even a refusal.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:7070",
        management_address: str | None = None,
        *,
        token: str | TokenSource | None = None,
        key_file: Path | str | None = None,
        certificate: Path | None = None,
        timeout: float = 60.0,
        deadline: float | None = None,
        retries: Retries | None = None,
        worker_patience: float | None = PATIENCE,
    ) -> None:
        """`timeout` is in seconds, for each try; `deadline` for each call, with all its tries.

        Addresses are HOST:PORT; management's is one port after inference's by default. The rest is
        as in `Client`; `certificate` turns TLS on. Raises MissingExtraError without grpc.
        """
        places = (_address(address), _address(management_address or _next_port(address)))
        tokens = token_source(token, key_file)
        retries = retries or Retries()
        self._deadline = deadline
        self._inference, self._manager = _wires(
            places,
            timeout=timeout,
            retries=retries,
            tokens=tokens,
            certificate=certificate,
        )
        self._worker_patience = worker_patience
        self._workers_up = WorkersUp(self._described_soon)

    def close(self) -> None:
        """Close all connections."""
        self._inference.close()
        self._manager.close()

    def predict(
        self,
        model: str,
        request: Request | bytes,
        accept: str = "*/*",
        *,
        version: str | None = None,
        deadline: float | None = None,
    ) -> Response:
        """Send a body, or a form's fields, to a model; a refusal is a response too.

        The body of a refusal is the JSON that TorchServe answers over HTTP. gRPC has no headers, so
        `accept` cannot be set, and a handler gets JSON as bytes. `deadline` is in seconds.
        """
        whole = Request(request) if isinstance(request, bytes) else request
        if accept != "*/*" or whole.headers:
            asked = ", ".join(whole.headers) or f"Accept: {accept}"
            raise ClientError(
                f"TorchServe's gRPC has no headers, and cannot send {asked}",
                "use HTTP: marsmith.Client",
                code="not-over-grpc",
            )
        values = {one.name: one.value for one in parameters_of(whole)}
        left = Deadline(self._deadline if deadline is None else deadline)
        return self._predicted(model, values, version, left)

    def _predicted(
        self, model: str, values: Mapping[str, bytes], version: str | None, until: Deadline
    ) -> Response:
        check = self._workers_up.for_request(model, version, self._worker_patience)
        try:
            if check is not None:
                check.before_sending(until.left)
            answer = self._inference.call(
                "Predictions",
                until,
                check=check,
                model_name=model,
                model_version=version or "",
                input=values,
            )
        except NoWorkerUpError as error:
            return error.response
        if not isinstance(answer, Refusal):
            return Response(200, "OK", {}, answer.prediction)
        said = {"code": answer.status, "type": answer.kind, "message": answer.words}
        headers = {"content-type": "application/json"}
        return Response(answer.status, answer.kind, headers, json.dumps(said).encode())

    def health(self) -> str:
        """Return TorchServe's own health: `Healthy` or `Unhealthy`."""
        answer = self._asked(self._inference, "Ping")
        with expecting_torchserve(self._inference.address, "inference API"):
            return str(json.loads(answer.health)["status"])

    def set_default(self, model: str, version: str) -> None:
        """Make a version the default one: it answers requests that name no version."""
        self._manage("SetDefault", model_name=model, model_version=version)

    def unregister(self, model: str, version: str | None = None) -> None:
        """Unregister a version and end its workers; by default the default version.

        TorchServe unregisters a default version only if it is the last one (else: RefusedError).
        This is never retried: if the connection is lost, `describe` shows whether it was done.
        """
        name = version or ""
        self._manage("UnregisterModel", repeatable=False, model_name=model, model_version=name)

    @property
    def _management(self) -> str:
        return self._manager.address

    def _description(self, model: str, version: str | None) -> Any:
        answer = self._manage("DescribeModel", model_name=model, model_version=version or "")
        return json.loads(answer)

    def _described_soon(self, model: str, version: str | None, until: Deadline) -> Any:
        answer = self._manager.call(
            "DescribeModel", until, model_name=model, model_version=version or ""
        )
        return json.loads(answer.msg)

    def _listing(self, limit: int, next_page_token: str) -> Any:
        page = int(next_page_token or 0)
        return json.loads(self._manage("ListModels", limit=limit, next_page_token=page))

    def _register(self, given: Mapping[str, Any]) -> None:
        _require_not_zero(given)
        self._manage("RegisterModel", repeatable=False, **given)

    def _set_workers(self, model: str, version: str | None, bounds: tuple[int, int]) -> None:
        numbers = {"min_worker": bounds[0], "max_worker": bounds[1]}
        _require_not_zero(numbers)
        names = {"model_name": model, "model_version": version or "", "synchronous": True}
        self._manage("ScaleWorker", repeatable=False, **names, **numbers)

    def _manage(self, method: str, *, repeatable: bool = True, **fields: Any) -> str:
        answer = self._asked(self._manager, method, repeatable=repeatable, **fields)
        return str(answer.msg)

    def _asked(self, wire: Wire, method: str, **how: Any) -> Any:
        answer = wire.call(method, Deadline(self._deadline), **how)
        if isinstance(answer, Refusal):
            raise _refused(method, answer)
        return answer


def _wires(places: tuple[str, str], **how: Any) -> tuple[Wire, Wire]:
    require("gRPC", "grpc", *MODULES["grpc"])
    from marsmith.client.grpc_wire import Wire

    return Wire("inference", places[0], **how), Wire("management", places[1], **how)


def _address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:.]+\]", host) and port.isdecimal():
        return address
    raise ClientError(
        f"{address!r} is not a gRPC address", "write it as 127.0.0.1:7070", code="bad-address"
    )


def _next_port(address: str) -> str:
    host, _, port = _address(address).rpartition(":")
    return f"{host}:{int(port) + 1}"


def _require_not_zero(numbers: Mapping[str, Any]) -> None:
    """Raise ClientError for a 0, which means TorchServe's default over gRPC."""
    for name, value in numbers.items():
        if value == 0 and not isinstance(value, bool):
            raise ClientError(
                f"{name}=0 cannot be sent over gRPC: TorchServe takes 0 for its default",
                "use HTTP: marsmith.Client",
                code="not-over-grpc",
            )


def _refused(method: str, refusal: Refusal) -> RefusedError:
    message = f"TorchServe refused {method} with {refusal.status}: {refusal.words}"
    if refusal.about_token:
        return RefusedError(message, TOKEN_HINT, refusal.status, code="token-refused")
    return RefusedError(message, REFUSED_HINT, refusal.status)
