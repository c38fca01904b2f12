"""The gRPC client when a server fails, against a real gRPC server; and what refusals mean."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory

from marsmith.client import ONCE, GrpcClient, Retries
from marsmith.client.grpc_refusals import refusal_of
from marsmith.client.grpc_wire import SERVICES
from marsmith.client.tokens import Api
from marsmith.core.errors import ClientError, DeadlineError, RefusedError, UnreachableError
from tests.codes import coded

QUICK = Retries(attempts=4, first=0.001, longest=0.001)
EXCEPTION = "\norg.pytorch.serve.http.InternalServerException"


@dataclass
class Server:
    """Fails as often as there are failures: status and details of each; then it answers."""

    failures: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)  # that predictions were asked of
    token: str | None = None
    address: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, name: str, request: Any, context: Any) -> dict[str, Any]:
        self.calls.append(name)
        bearer = dict(context.invocation_metadata()).get("authorization")
        if self.token is not None and bearer != f"Bearer {self.token}":
            words = "Token Authorization failed. Token either incorrect, expired, or not provided"
            context.abort(grpc.StatusCode.PERMISSION_DENIED, words)
        if self.failures:
            context.abort(*self.failures.pop(0))
        if name == "Predictions":
            if request.input["body"] == b"wait":
                self.released.wait(10)
            self.versions.append(request.model_version)
            return {"prediction": request.input["body"]}
        return self.answers.get(name, {"msg": "{}"})


def handler(server: Server, method: Any) -> Any:
    answer_type = message_factory.GetMessageClass(method.output_type)
    return grpc.unary_unary_rpc_method_handler(
        lambda request, context: answer_type(**server.answer(method.name, request, context)),
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=answer_type.SerializeToString,
    )


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    options = [("grpc.max_receive_message_length", -1)]
    running = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    apis: tuple[Api, ...] = ("inference", "management")
    for api in apis:
        methods = {method.name: handler(server, method) for method in SERVICES[api].methods}
        name = SERVICES[api].full_name
        running.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods)])
    server.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield server
    server.released.set()
    running.stop(None).wait()


@pytest.fixture
def client(server: Server) -> Iterator[GrpcClient]:
    with GrpcClient(server.address, server.address, retries=QUICK) as opened:
        yield opened


# ---- what is repeated


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Prediction failed" + EXCEPTION),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many" + EXCEPTION),
        (grpc.StatusCode.INTERNAL, 'Model "a" has no worker to serve inference' + EXCEPTION),
    ],
)
def test_what_was_not_carried_out_is_asked_again(
    server: Server, client: GrpcClient, code: grpc.StatusCode, details: str
) -> None:
    server.failures = [(code, details)] * 2
    answer = client.predict("digits", b"x")
    assert (answer.status, answer.body) == (200, b"x")
    assert len(server.calls) == 3


def test_a_request_that_two_workers_died_of_is_not_asked_a_third_time(
    server: Server, client: GrpcClient
) -> None:
    died = (grpc.StatusCode.INTERNAL, "Worker died." + EXCEPTION)
    server.failures = [died]
    assert client.predict("digits", b"x").body == b"x"
    server.failures = [died] * 3
    answer = client.predict("digits", b"x")
    assert (answer.status, answer.complaint) == (507, "Worker died.")
    assert len(server.calls) == 4


def test_after_a_few_tries_the_refusal_is_the_answer(server: Server, client: GrpcClient) -> None:
    server.failures = [(grpc.StatusCode.UNAVAILABLE, "Prediction failed" + EXCEPTION)] * 9
    answer = client.predict("digits", b"x")
    assert (answer.status, answer.reason) == (503, "InternalServerException")
    assert answer.json() == {
        "code": 503,
        "type": "InternalServerException",
        "message": "Prediction failed",
    }
    assert len(server.calls) == QUICK.attempts


def test_what_would_be_refused_again_is_asked_once(server: Server, client: GrpcClient) -> None:
    details = "Model not found: a\norg.pytorch.serve.archive.model.ModelNotFoundException"
    server.failures = [(grpc.StatusCode.INTERNAL, details)]
    assert client.predict("a", b"x").status == 404
    assert len(server.calls) == 1


def test_what_could_be_done_twice_is_not_sent_twice(server: Server, client: GrpcClient) -> None:
    commands: list[Callable[[], object]] = [
        lambda: client.register("digits.mar"),
        lambda: client.unregister("digits", "1.0"),
        lambda: client.scale("digits", 2, 2),
    ]
    for command in commands:
        server.failures = [(grpc.StatusCode.UNAVAILABLE, "Socket closed")]
        with pytest.raises(UnreachableError) as caught:
            command()
        assert caught.value.sent
    assert server.calls == ["RegisterModel", "UnregisterModel", "ScaleWorker"]
    server.failures = [(grpc.StatusCode.UNAVAILABLE, "Socket closed")]
    client.set_default("digits", "2.0")
    assert server.calls[3:] == ["SetDefault"] * 2


def test_nothing_at_the_address_is_unreachable_and_nothing_was_sent() -> None:
    with (
        GrpcClient("127.0.0.1:9", retries=QUICK) as client,
        pytest.raises(UnreachableError, check=coded("unreachable")) as caught,
    ):
        client.predict("digits", b"x")
    assert not caught.value.sent


# ---- deadlines and sizes


def test_a_deadline_is_kept_over_all_tries(server: Server) -> None:
    with GrpcClient(server.address, server.address, deadline=0.3) as client:
        with pytest.raises(DeadlineError, match=r"\bPredictions\b.* 0\.3 s\b"):
            client.predict("digits", b"wait")
        server.failures = [(grpc.StatusCode.UNAVAILABLE, "busy" + EXCEPTION)] * 100_000
        begun = time.monotonic()
        patient = Retries(attempts=100_000, first=0.02, longest=0.02)
        with GrpcClient(server.address, server.address, deadline=0.3, retries=patient) as other:
            assert other.predict("digits", b"x").status == 503
        assert time.monotonic() - begun < 10


def test_a_try_that_takes_too_long_is_an_error(server: Server) -> None:
    with (
        GrpcClient(server.address, server.address, timeout=0.1) as client,
        pytest.raises(DeadlineError, check=coded("deadline")),
    ):
        client.predict("digits", b"wait")


def test_messages_of_more_than_4_mib_go_both_ways(client: GrpcClient) -> None:
    body = b"\x00" * 10_000_000
    assert client.predict("digits", body).body == body


# ---- tokens


def test_a_rotated_key_is_read_anew_for_each_api(server: Server, tmp_path: Path) -> None:
    def write(key: str) -> None:
        keys = {"inference": {"key": key}, "management": {"key": key}}
        (tmp_path / "key_file.json").write_text(json.dumps(keys))

    server.token = "one"  # noqa: S105
    server.answers["ListModels"] = {"msg": '{"models": []}'}
    write("one")
    places = server.address, server.address
    with GrpcClient(*places, key_file=tmp_path / "key_file.json", retries=ONCE) as client:
        assert client.predict("digits", b"x").ok
        server.token = "two"  # noqa: S105
        writer = threading.Timer(0.1, write, args=["two"])
        writer.start()
        assert client.predict("digits", b"x").ok
        writer.join()
        assert client.models() == []


def test_a_wrong_token_is_refused_and_not_shown(server: Server) -> None:
    server.token = "right"  # noqa: S105
    places = server.address, server.address
    with GrpcClient(*places, token="wr0ng") as client:  # noqa: S106
        assert client.predict("digits", b"x").status == 403
        with pytest.raises(RefusedError, check=coded("token-refused")) as caught:
            client.models()
    assert "key_file" in caught.value.hint
    assert "wr0ng" not in caught.value.message + caught.value.hint


# ---- what refusals mean


@pytest.mark.parametrize(
    ("code", "details", "status", "kind", "words"),
    [
        ("NOT_FOUND", "No a\norg.pytorch.x.ModelNotFoundException", 404, "Model…", "No a"),
        ("INTERNAL", "No a\norg.x.ModelVersionNotFoundException", 404, "ModelVersion…", "No a"),
        ("INTERNAL", "Bad\nBadRequestException.()", 400, "BadRequestException", "Bad"),
        ("INVALID_ARGUMENT", "There\norg.x.ConflictStatusException", 409, "Conflict…", "There"),
        ("UNKNOWN", "", 500, "UNKNOWN", "no reason given"),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (9 vs. 4)", 413, "RES…", "Sent…"),
        ("CANCELLED", "Stream removed (Received RST_STREAM with error code 8)", 413, "C…", "the…"),
        ("UNIMPLEMENTED", "Method not found!", 501, "UNIMPLEMENTED", "Method not found!"),
    ],
)
def test_a_refusal_is_said_as_http_says_it(
    code: str, details: str, status: int, kind: str, words: str
) -> None:
    refusal = refusal_of(code, details)
    assert refusal.status == status
    assert refusal.kind.startswith(kind.removesuffix("…"))
    assert refusal.words.startswith(words.removesuffix("…"))


# ---- what cannot be asked


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":7070", "http://127.0.0.1:7070", "a:b"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ClientError, check=coded("bad-address")):
        GrpcClient(address)


def test_a_name_that_is_no_text_is_an_error(client: GrpcClient) -> None:
    with pytest.raises(ClientError, check=coded("bad-argument")):
        client.predict("\ud800", b"x")


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.pem").write_text("no certificate")
    with pytest.raises(ClientError, check=coded("bad-certificate")):
        GrpcClient(certificate=tmp_path / "wrong.pem")


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_grpc_is_imported_by_those_alone_who_ask_over_it() -> None:
    asked = "print(any(name.split('.')[0] == 'grpc' for name in sys.modules))"
    assert python(f"import sys, marsmith.client, marsmith.cli; {asked}") == "False"


def test_without_grpc_the_error_says_what_to_install() -> None:
    said = python(
        "import sys; sys.modules['grpc'] = None\n"
        "from marsmith.client import GrpcClient\n"
        "from marsmith.core.errors import MarsmithError\n"
        "try:\n    GrpcClient()\n"
        "except MarsmithError as error:\n    print(error.code, error.hint)"
    )
    assert said == "missing-extra pip install 'marsmith[grpc]'"


def test_a_closed_client_says_so(client: GrpcClient) -> None:
    client.close()
    with pytest.raises(ClientError, check=coded("closed-client")):
        client.predict("digits", b"x")


def test_management_is_the_next_port() -> None:
    with GrpcClient("127.0.0.1:31103") as client:
        assert client._manager.address == "127.0.0.1:31104"
