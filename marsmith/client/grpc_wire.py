"""One gRPC call: its token, its tries, its deadline, and grpc's errors as our own.

Imports grpc and the modules that a build generates from `client/protos`. `GrpcClient` imports it
when it is constructed, since grpc is an extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory

from marsmith.client.grpc_refusals import Refusal, is_torchserves, refusal_of
from marsmith.client.protos import inference_pb2, management_pb2
from marsmith.client.retries import (
    MOST_DEATHS,
    RETRIED_STATUSES,
    WORKER_DIED,
    Deadline,
    Retries,
    persistently,
)
from marsmith.client.tokens import Api, TokenSource, bearer
from marsmith.client.trust import not_trusted, trusting
from marsmith.client.workers_up import WorkerCheck
from marsmith.core.errors import ClientError, DeadlineError, UnreachableError

SERVICES: dict[Api, Any] = {
    "inference": inference_pb2.DESCRIPTOR.services_by_name["InferenceAPIsService"],
    "management": management_pb2.DESCRIPTOR.services_by_name["ManagementAPIsService"],
}
_OPTIONS = {
    "grpc.max_receive_message_length": -1,  # 4 MiB otherwise; TorchServe has its own limit
    "grpc.max_send_message_length": -1,
    "grpc.enable_http_proxy": 0,  # proxies are for the internet, not for a server beside us
    "grpc.enable_retries": 0,  # our own know which calls may be repeated
    "grpc.use_local_subchannel_pool": 1,  # a client's connection is its own
    # How long a channel waits before it connects again: by default a second, up to two minutes,
    # in which it does not notice that a server is back.
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 500,
}


class Wire:
    """One API at one address, called from as many threads as there are."""

    def __init__(
        self,
        api: Api,
        address: str,
        *,
        timeout: float,
        retries: Retries,
        tokens: TokenSource,
        certificate: Path | None,
    ) -> None:
        """`timeout` is in seconds, for each try."""
        self.address = address
        self._api = api
        self._timeout = timeout
        self._retries = retries
        self._tokens = tokens
        self._channel = _channel(address, certificate)
        self._calls = {
            method.name: self._channel.unary_unary(
                f"/{SERVICES[api].full_name}/{method.name}",
                request_serializer=_message(method.input_type).SerializeToString,
                response_deserializer=_message(method.output_type).FromString,
            )
            for method in SERVICES[api].methods
        }

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def call(
        self,
        method: str,
        deadline: Deadline,
        *,
        repeatable: bool = True,
        check: WorkerCheck | None = None,
        **fields: Any,
    ) -> Any:
        """Return the answer's message, or a Refusal. Raises ClientError if there is none.

        What `check` raises ends the waiting.
        """
        try:
            request = _message(SERVICES[self._api].methods_by_name[method].input_type)(**fields)
        except (TypeError, ValueError) as error:
            raise ClientError(
                f"{method} cannot be sent: {error}",
                "correct the arguments",
                code="bad-argument",
            ) from error

        deaths = 0

        def retry_after(outcome: Any) -> float | None:
            nonlocal deaths
            if isinstance(outcome, UnreachableError):
                return 0.0 if repeatable or not outcome.sent else None
            if not isinstance(outcome, Refusal) or not repeatable:
                return None
            deaths += WORKER_DIED in outcome.words
            again = outcome.status in RETRIED_STATUSES and deaths < MOST_DEATHS
            return 0.0 if again else None

        return persistently(
            lambda: self._with_token(method, request, deadline, check),
            retry_after,
            self._retries,
            deadline,
        )

    def _with_token(
        self, method: str, request: Any, deadline: Deadline, check: WorkerCheck | None
    ) -> Any:
        token = self._tokens.token(self._api, deadline.left)
        for _ in range(2):  # rotations that one call can meet
            answer = self._once(method, request, token, deadline, check)
            if not isinstance(answer, Refusal) or not answer.about_token:
                return answer
            if (new := self._tokens.renewed(self._api, token, deadline.left)) is None:
                return answer
            token = new
        return self._once(method, request, token, deadline, check)

    def _once(
        self,
        method: str,
        request: Any,
        token: str | None,
        deadline: Deadline,
        check: WorkerCheck | None,
    ) -> Any:
        metadata = () if token is None else (("authorization", bearer(token)),)
        timeout = deadline.bounded(self._timeout)
        try:
            under_way = self._calls[method].future(request, timeout=timeout, metadata=metadata)
            return _awaited(under_way, check)
        except grpc.RpcError as error:
            return self._refusal(method, error, deadline)
        except ValueError as error:  # grpc's error of a closed channel
            raise ClientError(
                "the client is closed", "make another one", code="closed-client"
            ) from error

    def _refusal(self, method: str, error: Any, deadline: Deadline) -> Refusal:
        """Return TorchServe's refusal; raise ClientError if TorchServe did not send it."""
        code, details = error.code().name, error.details() or ""
        if code == "DEADLINE_EXCEEDED":
            late = f"within {deadline.seconds:g} s" if deadline.left <= 0 else "in time"
            raise DeadlineError(
                f"{method} at {self.address} was not answered {late}",
                "see the server's logs (marsmith logs), or allow more time: timeout, deadline",
            ) from error
        if "CERTIFICATE_VERIFY_FAILED" in details:
            raise not_trusted(self.address) from error
        if code == "UNAVAILABLE" and not is_torchserves(details):
            raise UnreachableError(
                f"nothing answers at {self.address}: {details}",
                "start a server: marsmith serve; or name the port of its gRPC API",
                sent="failed to connect" not in details,
            ) from error
        return refusal_of(code, details)


def _awaited(under_way: Any, check: WorkerCheck | None) -> Any:
    if check is None:
        return under_way.result()
    check.begin()
    while True:
        try:
            return under_way.result(timeout=check.pause)
        except grpc.FutureTimeoutError:
            try:
                check.look()
            except BaseException:
                under_way.cancel()
                raise


def _message(descriptor: Any) -> Any:
    return message_factory.GetMessageClass(descriptor)


def _channel(address: str, certificate: Path | None) -> Any:
    options = list(_OPTIONS.items())
    if certificate is None:
        return grpc.insecure_channel(address, options)
    trusting(certificate)  # grpc itself reports nothing about a bad file
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    return grpc.secure_channel(address, credentials, options)
