"""Both clients against one real TorchServe, with tokens and TLS, over HTTP and gRPC alike."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from marsmith.answers.messages import Response
from marsmith.client import ONCE, Client, GrpcClient, KeyFile, Retries
from marsmith.client.base import BaseClient
from marsmith.client.retries import Deadline
from marsmith.client.sending import Call, Sender
from marsmith.client.tokens import Api, StaticToken
from marsmith.client.workers_up import PATIENCE
from marsmith.core.errors import ClientError, DeadlineError, RefusedError, UnreachableError
from marsmith.project.project import Project
from marsmith.security.self_signed import new_certificate
from marsmith.server.process import KEY_FILE
from marsmith.server.state import ServerState, running_servers
from marsmith.torchserve.ports import free_ports
from tests.codes import coded
from tests.integration.kit import ROOT, Kit, wait_for

# Answers what it is sent; tells its version, says what it was asked for, waits, or fails.
HANDLER = """\
import time


class EchoHandler:
    def initialize(self, context):
        self.version = context.manifest["model"]["modelVersion"]

    def handle(self, data, context):
        return [self.answer(bytes(row["body"]), i, context) for i, row in enumerate(data)]

    def answer(self, body, i, context):
        if body == b"raise":
            raise RuntimeError("as it was told to")
        if body == b"slowly":
            time.sleep(0.02)
        if body == b"wait":
            time.sleep(2)
        if body == b"explain?":
            return str(context.get_request_header(i, "explain"))
        return self.version if body == b"version?" else body
"""
SPEC = """\
[archives.echo]
version = "{version}"
handler = "handlers/echo_handler.py"
serving = {{ minWorkers = 1, maxWorkers = 1, responseTimeout = 30 }}
"""


@dataclass(frozen=True)
class Echo:
    """A server that serves version 1.0 of `echo`, and has a `two.mar` with 2.0 in its store."""

    kit: Kit
    state: ServerState

    @property
    def key_file(self) -> Path:
        return Path(self.state.folder) / KEY_FILE

    @property
    def certificate(self) -> Path:
        assert self.state.certificate
        return Path(self.state.certificate)

    def http(self, retries: Retries = ONCE, patience: float | None = PATIENCE) -> Client:
        return Client(
            self.state.url,
            self.state.management_url,
            metrics_url=self.state.metrics_url,
            key_file=self.key_file,
            certificate=self.certificate,
            retries=retries,
            worker_patience=patience,
        )

    def grpc(self, retries: Retries = ONCE, patience: float | None = PATIENCE) -> GrpcClient:
        return GrpcClient(
            f"127.0.0.1:{self.state.port + 3}",
            f"127.0.0.1:{self.state.port + 4}",
            key_file=self.key_file,
            certificate=self.certificate,
            retries=retries,
            worker_patience=patience,
        )

    def rotate(self, api: Api) -> None:
        """Let TorchServe replace a key, as `serve` does shortly before one ends."""
        key = json.loads(self.key_file.read_text())["API"]["key"]
        url = self.state.management_url
        headers = {"authorization": f"Bearer {key}"}
        call = Call("management", "GET", url, f"/token?type={api}", headers=headers)
        sender = Sender(10, ONCE, StaticToken(None), self.certificate)
        assert sender.send(call, Deadline(10)).ok
        sender.close()


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    root = tmp_path_factory.mktemp("echo")
    kit = Kit(root)
    shutil.copy(ROOT / "config.properties", root)
    kit.write("handlers/echo_handler.py", HANDLER)
    for version, file in (("2.0", "two.mar"), ("1.0", "echo.mar")):
        kit.write("archives.toml", SPEC.format(version=version))
        kit("build")
        (root / "model_store" / "echo.mar").rename(root / "model_store" / file)
    port = free_ports(5)
    kit("serve", "--background", "--secure", "--tls", "--port", port)
    (state,) = running_servers(Project(root))
    yield Echo(kit, state)
    kit("stop", "--port", port)


@pytest.fixture(params=["http", "grpc"])
def client(echo: Echo, request: pytest.FixtureRequest) -> Iterator[BaseClient]:
    with echo.http() if request.param == "http" else echo.grpc() as opened:
        yield opened


@pytest.fixture
def two(echo: Echo, client: BaseClient) -> Iterator[None]:
    """Version 2.0 is registered beside 1.0, and gone at the end."""
    client.register("two.mar", model_name="echo", synchronous=True)
    yield
    with echo.http() as http:
        http.set_default("echo", "1.0")
        http.unregister("echo", "2.0")


def image_of_more_than_6_mib() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    assert buffer.tell() > 6 * 2**20
    return buffer.getvalue()


# ---- inference


def test_what_is_asked_is_answered(client: BaseClient) -> None:
    answer = client.predict("echo", b"\x00\xffbytes")
    assert (answer.status, answer.body) == (200, b"\x00\xffbytes")
    assert client.health() == "Healthy"


def test_a_large_image_goes_there_and_back(client: BaseClient, tmp_path: Path) -> None:
    (tmp_path / "noise.png").write_bytes(image_of_more_than_6_mib())
    answer = client.predict_file("echo", tmp_path / "noise.png")
    assert answer.status == 200
    assert answer.body == (tmp_path / "noise.png").read_bytes()


def test_what_is_larger_than_the_server_allows_is_refused(client: BaseClient) -> None:
    try:
        assert client.predict("echo", b"\x00" * 40_000_000).status == 413
    except UnreachableError as error:  # HTTP: it may hang up before its refusal is read
        assert error.sent
    assert client.predict("echo", b"still there").ok


def test_a_batch_is_answered_in_order_and_one_that_fails_loses_no_other(
    client: BaseClient,
) -> None:
    bodies = [b"raise" if number == 7 else f"{number}".encode() for number in range(20)]
    answers = client.predict_batch("echo", bodies, connections=4)
    for body, answer in zip(bodies, answers, strict=True):
        assert isinstance(answer, Response)
        if body == b"raise":
            assert answer.status >= 500
        else:
            assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize(("model", "version"), [("ecco", None), ("echo", "9.0")])
def test_what_is_not_served_is_a_404_in_torchserves_words(
    client: BaseClient, model: str, version: str | None
) -> None:
    answer = client.predict(model, b"x", version=version)
    assert answer.status == 404
    assert answer.json()["type"] in ("ModelNotFoundException", "ModelVersionNotFoundException")
    assert model in answer.complaint


def test_a_deadline_is_kept(client: BaseClient) -> None:
    with pytest.raises(DeadlineError, match=r"\b0\.3 s\b", check=coded("deadline")):
        client.predict("echo", b"wait", deadline=0.3)
    assert client.predict("echo", b"next").body == b"next"


def the_worker(client: BaseClient) -> int:
    """Return the process id of the one worker once it is ready."""
    found: list[int] = []

    def ready() -> bool:
        (model,) = client.describe("echo")
        found[:] = [worker.pid for worker in model.workers if worker.state == "READY"]
        return len(found) == 1

    wait_for(ready, "a worker")
    return found[0]


def replace_worker(client: BaseClient) -> None:
    """Kill the one worker, and return once TorchServe has started another."""
    worker = the_worker(client)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: the_worker(client) != worker, "another worker")


def more_than(answers: list[Response], count: int) -> bool:
    return len(answers) > count


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_worker_that_is_killed_loses_no_request(echo: Echo, kind: str) -> None:
    ended = threading.Event()
    answers: list[Response] = []

    def ask(client: BaseClient) -> None:
        while not ended.is_set():
            answers.append(client.predict("echo", b"slowly"))

    # It waits for the new worker: it is the only one, and callers else get 503 within a second.
    with echo.http(Retries(), None) if kind == "http" else echo.grpc(Retries(), None) as client:
        asking = [threading.Thread(target=ask, args=[client]) for _ in range(8)]
        for thread in asking:
            thread.start()
        wait_for(partial(more_than, answers, 20), "answers")
        for _ in range(2):
            replace_worker(client)
            answered = len(answers)
            wait_for(partial(more_than, answers, answered + 20), "the new worker's answers")
        ended.set()
        for thread in asking:
            thread.join()
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"slowly")}


def test_an_explanation_is_asked_for(echo: Echo) -> None:
    with echo.http() as http:
        assert http.explain("echo", b"explain?").text == "True"
        assert http.predict("echo", b"explain?").text != "True"


def test_metrics_tell_of_the_requests(echo: Echo) -> None:
    with echo.http() as http:
        assert http.predict("echo", b"x").ok
        assert "ts_inference_requests_total{" in http.metrics()


# ---- management


@pytest.mark.usefixtures("two")
def test_a_second_version_is_registered_asked_made_default_and_unregistered(
    client: BaseClient,
) -> None:
    one, second = client.describe("echo")
    assert (one.version, one.default) == ("1.0", True)
    assert (second.version, second.default, second.url) == ("2.0", False, "two.mar")
    assert client.predict("echo", b"version?").body == b"1.0"
    assert client.predict("echo", b"version?", version="2.0").body == b"2.0"
    client.set_default("echo", "2.0")
    assert client.predict("echo", b"version?").body == b"2.0"
    (second,) = client.describe("echo", "2.0")
    assert second.default
    assert [model.version for model in client.models()] == ["1.0", "2.0"]
    with pytest.raises(RefusedError):
        client.unregister("echo", "2.0")  # the default one
    with pytest.raises(RefusedError):
        client.register("two.mar", model_name="echo")  # it is there
    assert [model.version for model in client.describe("echo")] == ["1.0", "2.0"]


@pytest.mark.usefixtures("two")
def test_a_version_is_scaled_by_itself(client: BaseClient) -> None:
    assert client.scale("echo", 2, 2, version="2.0").ready_workers == 2
    assert [len(model.workers) for model in client.describe("echo")] == [1, 2]
    assert client.scale("echo", 1, 1, version="2.0").ready_workers == 1


def test_what_cannot_be_registered_is_refused_in_torchserves_words(client: BaseClient) -> None:
    with pytest.raises(RefusedError, match=r"Model not found at: none\.mar") as caught:
        client.register("none.mar")
    assert caught.value.status == 404


def test_what_is_not_registered_cannot_be_described_scaled_or_made_default(
    client: BaseClient,
) -> None:
    for ask in (
        lambda: client.describe("ecco"),
        lambda: client.describe("echo", "9.0"),
        lambda: client.scale("ecco", 1, 1),
        lambda: client.set_default("echo", "9.0"),
        lambda: client.unregister("ecco"),
    ):
        with pytest.raises(RefusedError) as caught:
            ask()
        assert caught.value.status == 404


def test_no_worker_at_all_is_said_over_http_and_answered_with_503(
    echo: Echo, client: BaseClient
) -> None:
    with echo.http() as http:
        http.scale("echo", 0, 0)
        try:
            answer = client.predict("echo", b"x", deadline=10)
        finally:
            http.scale("echo", 1, 1)
    assert answer.status == 503
    assert "no worker" in answer.complaint


def test_what_grpc_cannot_say_is_an_error_and_not_another_number(echo: Echo) -> None:
    with echo.grpc() as grpc:
        for ask in (
            lambda: grpc.scale("echo", 0, 1),
            lambda: grpc.register("two.mar", initial_workers=0),
            lambda: grpc.register("two.mar", max_batch_delay=0),
            lambda: grpc.predict("echo", b"x", "text/plain"),
        ):
            with pytest.raises(ClientError, check=coded("not-over-grpc")):
                ask()
        assert [model.version for model in grpc.describe("echo")] == ["1.0"]


# ---- tokens


def test_without_a_token_nothing_is_answered_and_the_error_says_what_to_do(echo: Echo) -> None:
    certificate = echo.certificate
    with Client(echo.state.url, echo.state.management_url, certificate=certificate) as http:
        assert http.predict("echo", b"x").status == 400
        with pytest.raises(RefusedError, check=coded("token-refused")):
            http.models()
    places = f"127.0.0.1:{echo.state.port + 3}", f"127.0.0.1:{echo.state.port + 4}"
    with GrpcClient(*places, certificate=certificate) as grpc:
        assert grpc.predict("echo", b"x").status == 403
        with pytest.raises(RefusedError, check=coded("token-refused")):
            grpc.models()


def test_keys_are_rotated_under_a_client_without_a_failed_request(
    echo: Echo, client: BaseClient
) -> None:
    ended = threading.Event()
    wrong: list[Response] = []
    answered = 0

    def ask() -> None:
        nonlocal answered
        while not ended.is_set():
            answer = client.predict("echo", b"x")
            answered += 1
            if answer.status != 200:
                wrong.append(answer)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(10):
        for api in ("inference", "management"):
            before = KeyFile(echo.key_file).token(api)
            echo.rotate(api)
            assert KeyFile(echo.key_file).renewed(api, before) is not None
            assert [model.name for model in client.models()] == ["echo"]
    ended.set()
    asking.join()
    assert wrong == []
    assert answered > 10


def test_a_certificate_that_nobody_named_is_not_trusted(echo: Echo, tmp_path: Path) -> None:
    _, other = new_certificate(tmp_path / "other", ["127.0.0.1"])
    for certificate in (None, other):
        with (
            Client(echo.state.url, certificate=certificate) as http,
            pytest.raises(ClientError, check=coded("not-trusted")),
        ):
            http.predict("echo", b"x")
    with (
        GrpcClient(f"127.0.0.1:{echo.state.port + 3}", certificate=other) as grpc,
        pytest.raises(ClientError, check=coded("not-trusted")),
    ):
        grpc.predict("echo", b"x")
