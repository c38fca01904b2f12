"""TorchServe and gateways, asked the same: they answer the same, request by request."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from marsmith.answers.messages import Response
from marsmith.archive.reader import Archive
from marsmith.client import Client, GrpcClient
from marsmith.torchserve.ports import free_ports
from tests.integration.kit import ROOT
from tests.projects import copy_project

ARCHIVES = ("digits", "digits-onnx", "rotation", "cartoon", "line-art")
SEVEN = (ROOT / "samples" / "seven.png").read_bytes()
# What no two servers have in common, nor one server twice.
MASKED = re.compile(r'"(id|startTime|memoryUsage|pid)": ("[^"]*"|\d+)')


@dataclass(frozen=True)
class Asked:
    """A request to one of TorchServe's APIs."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    api: str = "inference"

    def __str__(self) -> str:
        return f"{self.api} {self.method} {self.path} {dict(self.headers)} {self.body[:20]!r}"


@dataclass(frozen=True)
class Host:
    """The ports of a server's APIs."""

    inference: int
    management: int

    def ask(self, asked: Asked) -> Response:
        """Send a request as it is written, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", getattr(self, asked.api), timeout=60)
        try:
            connection.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
            said = connection.getresponse()
            headers = {name.lower(): value for name, value in said.getheaders()}
            return Response(said.status, said.reason, headers, said.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class Hosts:
    """TorchServe, and what shall answer like it."""

    torchserve: Host
    local: Host  # a gateway's own workers, at its port
    ports: Host  # the same, at TorchServe's ports
    front: Host  # a gateway in front of that TorchServe
    store: Path


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    kit = copy_project(tmp_path_factory.mktemp("hosts"), only_digits=False)
    first = free_ports(14)
    ports, own, front = first + 5, first + 10, first + 12
    configure(kit.root / "config.properties", ports)
    kit("build")
    kit("export", "digits", "--format", "onnx")
    started = [first, own, front]
    try:
        kit("serve", *ARCHIVES, "--background", "--port", first)
        kit(
            "gateway",
            *ARCHIVES,
            "--backend",
            "local",
            "--torchserve-ports",
            "--background",
            "--port",
            own,
        )
        kit(
            "gateway",
            "--backend",
            "torchserve",
            "--url",
            f"http://127.0.0.1:{first}",
            "--background",
            "--port",
            front,
        )
        yield Hosts(
            Host(first, first + 1),
            Host(own, own),
            Host(ports, ports + 1),
            Host(front, front),
            kit.root / "model_store",
        )
    finally:
        for port in started:
            kit("stop", "--port", port, check=False)


def configure(path: Path, first: int) -> None:
    """Let TorchServe's ports be free ones, and models be registered."""
    text = path.read_text()
    for offset, port in enumerate((8080, 8081, 8082, 7070, 7071)):
        text = re.sub(rf"\b{port}\b", str(first + offset), text)
    path.write_text(text + "\nenable_model_api=true\n")


def asked(method: str, path: str, body: bytes = b"", **headers: str) -> Asked:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Asked(method, path, body, pairs)


def managed(method: str, path: str, body: bytes = b"", **headers: str) -> Asked:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Asked(method, path, body, pairs, "management")


def form(**fields: bytes) -> tuple[bytes, str]:
    parts = b"".join(
        b'--xyz\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n%b\r\n'
        % (name.encode(), value)
        for name, value in fields.items()
    )
    return parts + b"--xyz--\r\n", "multipart/form-data; boundary=xyz"


URL_ENCODED = "application/x-www-form-urlencoded"
WHOLE, WHOLE_TYPE = form(data=SEVEN)
ODD, ODD_TYPE = form(other=SEVEN)
INFERENCE = [
    asked("POST", "/predictions/digits", SEVEN, Content_Type="image/png"),
    asked("PUT", "/predictions/digits", SEVEN),
    asked("PUT", "/predictions/digits/1.0", SEVEN),
    asked("PUT", "/predictions/digits/1.0/some/path", SEVEN),
    asked("PUT", "/predictions/digits/", SEVEN),
    asked("PUT", "/predictions/digits//", SEVEN),
    asked("PUT", "/predictions/digits?x=1&y=%zz", SEVEN),
    asked("PUT", "/predictions/%64igits/%31.0", SEVEN),
    asked("PUT", "/explanations/digits", SEVEN),
    asked("PUT", "/explanations/digits/9", SEVEN),
    asked("DELETE", "/predictions/digits"),
    asked("GET", "/predictions/digits"),
    asked("POST", "/predictions/digits", b"", Content_Type="image/png"),
    asked("POST", "/predictions/digits", b"no picture", Content_Type="image/png"),
    asked("POST", "/predictions/digits", b"no picture", Content_Type="text/plain"),
    asked("POST", "/predictions/digits", b'{"image":', Content_Type="application/json"),
    asked("POST", "/predictions/digits", b"{}", Content_Type="application/json"),
    asked("POST", "/predictions/digits", b"a=1&b=2", Content_Type=URL_ENCODED),
    asked("POST", "/predictions/digits", WHOLE, Content_Type=WHOLE_TYPE),
    asked("POST", "/predictions/digits", ODD, Content_Type=ODD_TYPE),
    asked("POST", "/predictions/digits", b"abc", Content_Type="multipart/form-data"),
    asked("PUT", "/predictions/digits", SEVEN, Accept="text/plain"),
    asked("PUT", "/predictions/digits", SEVEN, Accept="text/html, */*;q=0.1"),
    asked("PUT", "/predictions/digits", SEVEN, X_Request_Id="mine"),
    asked("PUT", "/predictions/nope", SEVEN),
    asked("PUT", "/predictions/digits/9", SEVEN),
    asked("PUT", "/predictions/%C3%A9", SEVEN),
    asked("PUT", "/predictions/%ff", SEVEN),
    asked("PUT", "/predictions/..", SEVEN),
    asked("PUT", "/predictions//digits", SEVEN),
    asked("GET", "/predictions"),
    asked("GET", "/predictions/"),
    asked("GET", "/explanations"),
    asked("POST", "/digits/predict", SEVEN, Content_Type="image/png"),
    asked("POST", "/digits/1.0/predict", SEVEN, Content_Type="image/png"),
    asked("POST", "/models/digits/invoke", SEVEN, Content_Type="image/png"),
    asked("POST", "/invocations", SEVEN, Content_Type="image/png"),
    asked("OPTIONS", "/predictions/digits"),
    asked("OPTIONS", "/predictions/nope"),
    asked("GET", "/ping"),
    asked("GET", "/ping/"),
    asked("HEAD", "/ping"),
    asked("DELETE", "/ping"),
]
MANAGEMENT = [
    managed("GET", "/models"),
    managed("GET", "/models/"),
    managed("GET", "/models?limit=2"),
    managed("GET", "/models?limit=2&next_page_token=2"),
    managed("GET", "/models?limit=2&next_page_token=4"),
    managed("GET", "/models?limit=x"),
    managed("GET", "/models?limit=0"),
    managed("GET", "/models?limit=-3&next_page_token=-4"),
    *(managed("GET", f"/models/{name}") for name in ARCHIVES),
    *(managed("GET", f"/models/{name}?customized=true") for name in ARCHIVES),
    managed("GET", "/models/digits/"),
    managed("GET", "/models/digits/all"),
    managed("GET", "/models/digits/all?customized=true"),
    managed("GET", "/models/digits/1.0"),
    managed("GET", "/models/digits/1.0?customized=TRUE"),
    managed("GET", "/models/digits/9"),
    managed("GET", "/models/digits/9?customized=true"),
    managed("GET", "/models/nope"),
    managed("GET", "/models/nope/all"),
    managed("GET", "/models/nope?customized=true"),
    managed("GET", "/models/digits/1.0/x"),
    managed("GET", "/models/a/b/c/d"),
    managed("PUT", "/models/digits?min_worker=1&max_worker=2&synchronous=true"),
    managed("PUT", "/models/digits?min_worker=1&max_worker=2"),
    managed("PUT", "/models/digits/1.0?min_worker=x&max_worker=2&synchronous=true"),
    managed("PUT", "/models/digits?min_worker=3&max_worker=2"),
    managed("PUT", "/models/digits/9?min_worker=1"),
    managed("PUT", "/models/digits?min_worker=1&max_worker=2&model_version=9"),
    managed("PUT", "/models/nope?min_worker=1"),
    managed("PUT", "/models/digits/1.0/set-default"),
    managed("PUT", "/models/digits/9/set-default"),
    managed("PUT", "/models/nope/9/set-default"),
    managed("POST", "/models"),
    managed("POST", "/models?url=x.mar&runtime=perl"),
    managed("POST", "/models/digits"),
    managed("POST", "/models/digits/1.0/set-default"),
    managed("DELETE", "/models/nope"),
    managed("DELETE", "/models/digits/9"),
    managed("PATCH", "/models/digits"),
    managed("HEAD", "/models"),
    managed("HEAD", "/models/digits"),
    managed("OPTIONS", "/models"),
    managed("OPTIONS", "/models/digits"),
    managed("OPTIONS", "/models/nope"),
]
# Only at TorchServe's own ports: the gateway's has other APIs at these paths too.
APART = [
    asked("PUT", "//predictions/digits", SEVEN),
    asked("GET", "/api-description"),
    asked("GET", "/"),
    asked("POST", "/"),
    asked("OPTIONS", "/"),
    asked("GET", "/nope"),
    asked("GET", "/models"),
    asked("GET", "/models/digits"),
    managed("GET", "/"),
    managed("OPTIONS", "/"),
    managed("GET", "/nope"),
    managed("GET", "/ping"),
    managed("GET", "/predictions/digits"),
    managed("GET", "/api-description"),
]


# What a gateway answers otherwise on purpose: its status, TorchServe's, and why.
OTHERWISE = [
    # curl --data-binary says that any body is a form; TorchServe cannot read most of them.
    (asked("POST", "/predictions/digits", SEVEN, Content_Type=URL_ENCODED), 200, 500),
    # A proxy in front may take it for a slash, or not: the gateway lets none through.
    (asked("PUT", "/predictions/digits%2F1.0", SEVEN), 400, 200),
    # Mistakes of the caller, which TorchServe takes for its own.
    (managed("POST", "/models", b'{"url":', Content_Type="application/json"), 400, 500),
    (managed("POST", "/models", b"[]", Content_Type="application/json"), 400, 500),
]


@pytest.mark.parametrize(("one", "gateways", "torchserves"), OTHERWISE, ids=str)
def test_what_a_gateway_does_otherwise(
    hosts: Hosts, one: Asked, gateways: int, torchserves: int
) -> None:
    assert hosts.torchserve.ask(one).status == torchserves
    for host in (hosts.local, hosts.ports, hosts.front):
        assert host.ask(one).status == gateways


def shown(said: Response) -> tuple[int, str, str]:
    """Return what two servers shall have in common."""
    return said.status, said.headers.get("content-type", ""), MASKED.sub(r'"\1": 0', said.text)


@pytest.mark.parametrize("one", [*INFERENCE, *MANAGEMENT], ids=str)
def test_the_gateways_own_workers_answer_as_torchserve_does(hosts: Hosts, one: Asked) -> None:
    assert shown(hosts.local.ask(one)) == shown(hosts.torchserve.ask(one))


@pytest.mark.parametrize("one", [*INFERENCE, *MANAGEMENT, *APART], ids=str)
def test_torchserves_ports_answer_as_torchserve_does(hosts: Hosts, one: Asked) -> None:
    assert shown(hosts.ports.ask(one)) == shown(hosts.torchserve.ask(one))


@pytest.mark.parametrize("one", [*INFERENCE, *MANAGEMENT], ids=str)
def test_a_gateway_in_front_of_torchserve_answers_as_it_does(hosts: Hosts, one: Asked) -> None:
    assert shown(hosts.front.ask(one)) == shown(hosts.torchserve.ask(one))


@pytest.mark.parametrize("name", ARCHIVES)
def test_all_archives_answer_their_samples_alike(hosts: Hosts, name: str) -> None:
    archive = Archive(hosts.store / f"{name}.mar")
    for sample in archive.samples:
        request = archive.request_of(sample)
        headers = tuple(request.sent_headers().items())
        one = Asked("POST", f"/predictions/{name}", request.body, headers)
        for host in (hosts.torchserve, hosts.local, hosts.ports, hosts.front):
            said = host.ask(one)
            assert sample.complaint(archive.read(sample.response), said) is None


def test_scripts_for_torchserves_ports_run_unchanged(hosts: Hosts) -> None:
    """Lines of TorchServe's own README and documentation, and the kit's clients."""
    http_port, seven = hosts.ports.inference, ROOT / "samples" / "seven.png"
    prediction = f"http://127.0.0.1:{http_port}/predictions/digits"
    for words in (["-T", str(seven)], ["-F", f"data=@{seven}"], ["-F", f"data=@{seven};type=a/b"]):
        printed = subprocess.run(
            ["curl", "-s", prediction, *words], capture_output=True, check=True
        )
        assert json.loads(printed.stdout)["label"] == "7"
    management = f"http://127.0.0.1:{http_port + 1}"
    with Client(f"http://127.0.0.1:{http_port}", management) as client:
        assert client.health() == "Healthy"
        assert client.predict("digits", SEVEN).json()["label"] == "7"
        assert {one.name for one in client.models()} == set(ARCHIVES)
        assert client.scale("digits", 2, 2).ready_workers == 2
        assert client.scale("digits", 1, 2).ready_workers >= 1
    with GrpcClient(f"127.0.0.1:{http_port + 3}", f"127.0.0.1:{http_port + 4}") as grpc:
        assert grpc.health() == "Healthy"
        assert grpc.predict("digits", SEVEN).json()["label"] == "7"
        assert {one.name for one in grpc.models()} == set(ARCHIVES)


def test_every_answer_has_torchserves_headers(hosts: Hosts) -> None:
    one = asked("PUT", "/predictions/digits", SEVEN)
    names = ("pragma", "cache-control", "expires", "content-type", "content-length")
    expected = {name: hosts.torchserve.ask(one).headers[name] for name in names}
    for host in (hosts.local, hosts.ports, hosts.front):
        headers = host.ask(one).headers
        assert {name: headers[name] for name in names} == expected
        assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-request-id"])
