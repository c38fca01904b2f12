"""The examples of docs/how-to/existing-clients.md, asked as existing clients ask."""

from __future__ import annotations

import base64
import http.client
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from marsmith.client.protos import rotation_pb2
from marsmith.torchserve.ports import free_ports
from tests.docs.pages import Page
from tests.integration.kit import ROOT, Kit, wait_for
from tests.projects import copy_project
from tests.unit.gateway.old_clients.rotation_client import RotationClient

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.processes
PAGE = Page(ROOT / "docs/how-to/existing-clients.md")
CODE = grpc.StatusCode
SERVICES = rotation_pb2.DESCRIPTOR.services_by_name
METHODS = [
    (name, one.name) for name in SERVICES for one in SERVICES[name].methods if one.name != "Login"
]
COUNTED = "marsmith_gateway_requests_total{"
INVOCATIONS = "/2015-03-31/functions/function/invocations"
SEVEN = (ROOT / "samples/seven.png").read_bytes()
CAT = (ROOT / "samples/cat.jpg").read_bytes()
NEXT = """
[archives.rotation-next]
version = "3.0"
handler = "handlers/rotation_corrector.py"
model_file = "model_defs/rotation_net.py"
serialized_file = "weights/rotation.pth"
serving = { minWorkers = 1, maxWorkers = 1 }
handler_config = { size = [160, 160], mean = [0.5], std = [0.5], temperature = 1.25 }
metrics = { train_acc = 0.875, test_acc = 0.75 }

"""
Part = tuple[str, bytes, str]  # a field's name, value and content type


@dataclass(frozen=True)
class Said:
    """An answer as it came over the wire."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs."""

    kit: Kit
    port: int

    def ask(
        self,
        path: str,
        body: bytes = b"",
        content_type: str = "",
        method: str = "POST",
        **more: str,
    ) -> Said:
        """Send one request as it is; `more` are further headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = more | ({"Content-Type": content_type} if content_type else {})
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = Said(answer.status, answer.headers, answer.read())
        connection.close()
        return said

    def send_form(self, path: str, *parts: Part) -> Said:
        """Send a form."""
        return self.ask(path, multipart(parts), "multipart/form-data; boundary=xyz")


def multipart(parts: Sequence[Part]) -> bytes:
    """Return a form; each part is sent as a file."""
    lines = []
    for name, value, content_type in parts:
        head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        head += f"Content-Type: {content_type}\r\n" if content_type else ""
        lines.append(head.encode() + b"\r\n" + value + b"\r\n")
    return b"".join(lines) + b"--xyz--\r\n"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """The repository's archives, with the examples of the page in place of its own table."""
    kit = copy_project(tmp_path_factory.mktemp("clients"), only_digits=False)
    spec = kit.root / "archives.toml"
    examples = [block.text for block in PAGE.blocks("toml")]
    archives = spec.read_text().partition("[gateway]")[0]
    spec.write_text("".join([archives, NEXT, *examples]))
    kit("build")
    return kit


@pytest.fixture(scope="module")
def gateway(kit: Kit) -> Iterator[Gateway]:
    port = free_ports(2)
    names = ("digits", "cartoon", "line-art", "rotation")
    kit("gateway", *names, "--background", "--port", port)
    yield Gateway(kit, port)
    kit("stop", "--port", port)


def test_the_repository_has_the_first_example() -> None:
    table = tomllib.loads((ROOT / "archives.toml").read_text())["gateway"]
    assert table == tomllib.loads(PAGE.blocks("toml")[0].text)["gateway"]


@pytest.mark.parametrize("field", ["image", "file"])
def test_digits_as_a_form_with_a_picture(gateway: Gateway, field: str) -> None:
    said = gateway.send_form("/prediction", (field, SEVEN, "image/png"), ("note", b"x", ""))
    assert (said.status, said.headers["content-type"]) == (200, "application/json")
    assert said.body.decode() == '["예측한 값은: 7입니다."]'
    assert gateway.send_form("/result", ("image", SEVEN, "image/png")).json == {"result": 7}


def test_digits_as_a_tensor_whose_parts_have_no_content_type(gateway: Gateway) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(SEVEN)).convert("L"), np.float32) / 255
    data = ((pixels - 0.1302) / 0.3069).astype("<f4").tobytes()
    metadata = json.dumps({"dims": [1, 28, 28]}).encode()
    said = gateway.send_form("/test", ("data", data, ""), ("metadata", metadata, ""))
    assert (said.status, said.body, said.json) == (200, b"7", 7)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_cartoons(gateway: Gateway, kind: str) -> None:
    picture = io.BytesIO()
    Image.open(io.BytesIO(CAT)).resize((300, 200)).save(picture, kind)
    form = ("image", picture.getvalue(), f"image/{kind.lower()}")
    said = gateway.send_form("/cartoonize", form)
    assert (said.status, said.headers["content-type"]) == (200, "image/jpeg")
    assert said.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert said.headers["pragma"] == "no-cache"
    assert Image.open(io.BytesIO(said.body)).size == (300, 200)


@pytest.mark.parametrize("parts", [[], [("image", b"", "")], [("image", b"no picture", "")]])
def test_what_is_no_picture_is_told_by_a_message(gateway: Gateway, parts: list[Part]) -> None:
    said = gateway.send_form("/cartoonize", *parts)
    assert (said.status, list(said.json)) == (400, ["message"])
    assert said.headers["cache-control"] == "no-cache, no-store, must-revalidate"


def test_the_root_tells_programs_which_route_to_use(gateway: Gateway) -> None:
    said = gateway.ask("/", method="GET", accept="application/json")
    assert said.json["error"] == "use POST /prediction instead of root route"


def test_an_older_servers_page_leads_to_the_documentation(gateway: Gateway) -> None:
    said = gateway.ask("/swagger/", method="GET")
    assert (said.status, said.headers["location"]) == (307, "/docs")
    assert gateway.ask("/docs", method="GET").headers["content-type"].startswith("text/html")


def drawn(text: str) -> Image.Image:
    """Return the picture in base64 with line breaks, as Python's encodebytes writes it."""
    picture = base64.b64decode(text)
    assert base64.encodebytes(picture).decode() == text
    return Image.open(io.BytesIO(picture))


def test_line_art_as_bare_base64(gateway: Gateway) -> None:
    said = gateway.ask("/transform", base64.b64encode(CAT), "text/plain")
    assert said.status == 200
    picture = drawn(said.body.decode())
    assert (picture.format, picture.size) == ("JPEG", Image.open(io.BytesIO(CAT)).size)


def test_line_art_as_an_event(gateway: Gateway) -> None:
    event = json.dumps({"body": base64.b64encode(CAT).decode()}).encode()
    said = gateway.ask(INVOCATIONS, event, "application/json")
    assert (said.status, said.json["statusCode"]) == (200, 200)
    assert drawn(said.json["body"]).format == "JPEG"


@pytest.mark.parametrize("body", [b"{}", b'{"body": ""}', b'{"body": null}', b""])
def test_an_event_without_a_body(gateway: Gateway, body: bytes) -> None:
    said = gateway.ask(INVOCATIONS, body)
    assert (said.status, said.json) == (200, {"statusCode": 400, "body": ""})


@pytest.mark.parametrize("text", ["no base64", base64.b64encode(b"no picture").decode()])
def test_a_failure_in_an_event(gateway: Gateway, text: str) -> None:
    said = gateway.ask(INVOCATIONS, json.dumps({"body": text}).encode())
    assert said.json == {"statusCode": 500, "body": "Internal Server Error"}


def test_no_body_and_a_failure_over_http(gateway: Gateway) -> None:
    missing = gateway.ask("/transform")
    assert (missing.status, missing.body) == (400, b"")
    failed = gateway.ask("/transform", base64.b64encode(b"no picture"))
    assert (failed.status, failed.body) == (500, b"Internal Server Error")


def test_other_methods_are_refused(gateway: Gateway) -> None:
    assert gateway.ask("/prediction", method="GET").status == 405


def test_the_access_log_and_the_metrics_have_the_model(gateway: Gateway) -> None:
    gateway.send_form("/prediction", ("image", SEVEN, "image/png"))
    log = gateway.kit.root / ".marsmith" / "servers" / str(gateway.port) / "access.log"
    logged = ("/prediction", "route", "digits", "1.0", 200)
    keys = ("path", "face", "model", "version", "status")
    wait_for(
        lambda: (
            logged
            in [tuple(map(json.loads(line).get, keys)) for line in log.read_text().splitlines()]
        ),
        "its line in the log",
    )
    lines = gateway.ask("/metrics", method="GET").body.decode().splitlines()
    labels = ('face="route"', 'model="digits"', 'status="200"')
    assert any(line.startswith(COUNTED) and all(one in line for one in labels) for line in lines)


@pytest.fixture(scope="module")
def keys(kit: Kit) -> dict[str, str]:
    """Return keys by their names; the old clients log in with an e-mail address."""
    scopes = {"user@example.org": "predict:rotation", "admin@example.org": "manage"}
    add = ("gateway", "key", "add")
    return {name: kit(*add, name, "--scope", one).stdout.strip() for name, one in scopes.items()}


@pytest.fixture
def user(gateway: Gateway, keys: dict[str, str]) -> RotationClient:
    return RotationClient(f"127.0.0.1:{gateway.port + 1}", keys["user@example.org"])


@pytest.fixture
def admin(gateway: Gateway, keys: dict[str, str]) -> RotationClient:
    return RotationClient(f"127.0.0.1:{gateway.port + 1}", keys["admin@example.org"])


def test_rotation_tells_the_degree_of_a_picture(user: RotationClient) -> None:
    turned = (ROOT / "samples/astronaut-turned.jpg").read_bytes()
    (answer,) = user.call("InferenceImage", "Inference", image_content=turned)
    assert (answer.model_degree, answer.exif_degree, answer.success) == (90, 0, True)
    assert answer.confidence == pytest.approx(0.99, abs=0.02)


@pytest.mark.parametrize("picture", [b"", b"no picture"])
def test_rotation_needs_a_picture(user: RotationClient, picture: bytes) -> None:
    code = user.code("InferenceImage", "Inference", image_content=picture)
    assert code is CODE.INVALID_ARGUMENT


def test_rotation_needs_a_token_for_every_call_but_login(
    gateway: Gateway, keys: dict[str, str]
) -> None:
    address = f"127.0.0.1:{gateway.port + 1}"
    wrong = keys["user@example.org"][:-1] + "!"
    for token in ("", "a", wrong, "mk_" + "0" * 12 + "_" + "a" * 43):
        client = RotationClient(address, token)
        for service, method in METHODS:
            assert client.code(service, method) is CODE.UNAUTHENTICATED, (token, method)


def test_rotation_logs_in_with_a_key(gateway: Gateway, keys: dict[str, str]) -> None:
    (email, key), (_, other) = keys.items()
    stranger = RotationClient(f"127.0.0.1:{gateway.port + 1}")
    (logged_in,) = stranger.call("User", "Login", email=email, password=key)
    assert (logged_in.email, logged_in.access_token) == (email, key)
    for password in ("", "a", other):
        code = stranger.code("User", "Login", email=email, password=password)
        assert code is CODE.UNAUTHENTICATED
    client = RotationClient(f"127.0.0.1:{gateway.port + 1}", logged_in.access_token)
    assert client.code("User", "Authenticate") is CODE.OK
    assert client.call("User", "AuthenticateGetUserInfo") == [logged_in]


def versions(client: RotationClient) -> dict[str, tuple[bool, float, float, str]]:
    return {
        one.version_name: (one.is_using, one.train_acc, one.test_acc, one.model_file_name)
        for one in client.call("ModelVersion", "GetAllModelVersion")
    }


def test_rotation_loads_and_changes_versions(user: RotationClient, admin: RotationClient) -> None:
    assert versions(user) == {"2.1": (True, 0.0, 0.0, "rotation.mar")}
    assert admin.code("InferenceImage", "LoadModel", path="rotation-next") is CODE.OK
    assert versions(user) == {
        "2.1": (False, 0.0, 0.0, "rotation.mar"),
        "3.0": (True, 0.875, 0.75, "rotation-next.mar"),
    }
    pk = {one.version_name: one.pk for one in user.call("ModelVersion", "GetAllModelVersion")}
    assert admin.code("ModelVersion", "Change", pk=pk["2.1"]) is CODE.OK
    (used,) = user.call("ModelVersion", "GetUsingModelVersion")
    assert (used.pk, used.version_name, used.is_using) == (pk["2.1"], "2.1", True)
    assert admin.code("InferenceImage", "LoadModel", path="rotation-next") is CODE.OK
    assert versions(user)["3.0"][0]
    assert admin.code("InferenceImage", "LoadModel", path="rotation") is CODE.OK
    assert versions(user)["2.1"][0]
    assert admin.code("ModelVersion", "Change", pk=1) is CODE.NOT_FOUND


@pytest.mark.parametrize("path", ["../rotation", "/etc/passwd", "a/b", "", ".", "http://a/b.mar"])
def test_rotation_loads_no_path(admin: RotationClient, path: str) -> None:
    assert admin.code("InferenceImage", "LoadModel", path=path) is CODE.INVALID_ARGUMENT


def test_rotation_loads_only_what_there_is(admin: RotationClient) -> None:
    assert admin.code("InferenceImage", "LoadModel", path="none") is CODE.NOT_FOUND


def test_rotation_changes_nothing_for_a_key_that_may_only_ask(user: RotationClient) -> None:
    (used,) = user.call("ModelVersion", "GetUsingModelVersion")
    assert user.code("ModelVersion", "Change", pk=used.pk) is CODE.PERMISSION_DENIED
    load = user.code("InferenceImage", "LoadModel", path="rotation-next")
    assert load is CODE.PERMISSION_DENIED


def test_rotation_keeps_no_data_sets_yet(user: RotationClient) -> None:
    for service, method in METHODS:
        if service in ("UserFixImage", "Dataset"):
            assert user.code(service, method) is CODE.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ('[gateway.routes."/a"]\nmodel = "digit"\n', "unknown-archive"),
        ('[gateway.routes."/ping"]\nmodel = "digits"\n', "gateway-path"),
        ('[gateway.routes."/a"]\nmodel = "digits"\nanswer = "${lable}"\n', "placeholder"),
    ],
)
def test_a_wrong_route_is_told_before_anything_is_served(
    tmp_path: Path, more: str, code: str
) -> None:
    kit = copy_project(tmp_path)
    spec = kit.root / "archives.toml"
    spec.write_text(spec.read_text() + more)
    kit("build", check=False)
    started = kit("gateway", "--background", "--port", free_ports(2), check=False)
    checked = kit("check", "digits", check=False)
    assert (started.returncode, checked.returncode) == (1, 1)
    assert f"error[{code}]" in started.stderr
    assert f"error[{code}]" in checked.stdout + checked.stderr
    assert kit.json("status") == []
