"""marsmith/server/process.py. TorchServe itself is started in tests/integration."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import psutil
import pytest

from marsmith.core.errors import PortInUseError, ServerError
from marsmith.server.process import TorchServe
from marsmith.torchserve.environment import clean_environment
from marsmith.torchserve.ports import free_ports
from marsmith.torchserve.properties import addresses, parse_properties, with_ports
from marsmith.torchserve.withheld import LET_THROUGH

# In the place of Java: notes how it was called, then waits to be ended.
pytestmark = pytest.mark.processes
STAND_IN = """\
#!/bin/sh
printf '%s\\n' "$@" > arguments
env > environment
sleep 60 &
exec sleep 60
"""


# ---- the environment


def test_the_environment_keeps_what_has_nothing_to_do_with_us(tmp_path: Path) -> None:
    kept = {"HOME": "/home/x", "LANG": "C.utf8", "OMP_NUM_THREADS": "1", "JAVA_HOME": "/java"}
    assert kept.items() <= clean_environment(kept, tmp_path).items()


@pytest.mark.parametrize(
    "name",
    [
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "TS_CONFIG_FILE",
        "TS_ALLOWED_URLS",
        "JDK_JAVA_OPTIONS",
        "VIRTUAL_ENV",
        "LOG_LOCATION",
        "METRICS_LOCATION",
        "LOCAL_RANK",
        "RANK",
        "WORLD_SIZE",
        "TEMP",
        "TMP",
    ],
)
def test_the_environment_drops_what_would_change_the_server(tmp_path: Path, name: str) -> None:
    assert name not in clean_environment({name: "x"}, tmp_path)


WITHHELD = """
    AWS_ACCESS_KEY_ID AWS_PROFILE GITHUB_TOKEN GH_TOKEN HF_TOKEN HUGGING_FACE_HUB_TOKEN
    OPENAI_API_KEY api_key DB_PASSWORD PGPASSWORD MYSQL_PWD MARSMITH_KEY_PASSWORD DJANGO_SECRET_KEY
    GOOGLE_APPLICATION_CREDENTIALS SSH_AUTH_SOCK KUBECONFIG SENTRY_DSN GITLAB_PAT NPM_CONFIG__AUTH
    JWT CI_JOB_JWT BEARER DB_PW PASSCODE CLIENT_CRED ENCRYPTIONKEY PRIVATE_PEM SLACK_WEBHOOK_URL
    AZURE_STORAGE_CONNECTION_STRING TOKEN2 API_KEY2 KEY1 PRIVATEKEY MASTERKEY SIGNINGKEY CLIENTKEY
    MYTOKENS SENTRYDSN PGPASSFILE OAUTH_CLIENT
"""
HARMLESS = """
    TOKENIZERS_PARALLELISM KEYBOARD_LAYOUT PWD OLDPWD HF_HOME HF_HUB_OFFLINE OMP_NUM_THREADS
    KEYNOTE AUTHORIZED_HOSTS DSNAP MONKEYS2
    CUDA_VISIBLE_DEVICES LD_LIBRARY_PATH AUTHOR COMPASS_HOME MONKEY XDG_CACHE_HOME SSL_CERT_FILE
"""


@pytest.mark.parametrize("name", WITHHELD.split())
def test_what_looks_secret_by_its_name_is_not_handed_on(tmp_path: Path, name: str) -> None:
    assert name not in clean_environment({name: "x"}, tmp_path)


@pytest.mark.parametrize("name", HARMLESS.split())
def test_settings_whose_names_resemble_secrets_are_handed_on(tmp_path: Path, name: str) -> None:
    assert clean_environment({name: "x"}, tmp_path)[name] == "x"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("http://user:word@proxy.example:3128", False),
        ("postgresql://me:word@db/data", False),
        ("http://proxy.example:3128", True),
        ("Server=db;Database=data;User=me;Password=word", False),
        ("DefaultEndpointsProtocol=https;AccountName=me;AccountKey=word", False),
        ("postgresql://h/db?user=u&password=word", False),
        ("host=h user=u password=word", False),
        ('{"user": "u", "password": "word"}', False),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", False),
        ("Authorization: Bearer word", False),
        ("ghp_0123456789abcdef0123456789abcdef0123", False),
        ("https://hooks.slack.com/services/T0/B0/x", False),
        ("-Dtoken.cache=/tmp --basic layout", True),
        ("level=info;password_policy=strict", True),
        ("http://user@proxy.example:3128", True),
    ],
)
def test_a_url_with_a_password_is_not_handed_on(tmp_path: Path, value: str, kept: bool) -> None:
    assert ("https_proxy" in clean_environment({"https_proxy": value}, tmp_path)) is kept


def test_a_secret_is_let_through_on_purpose_alone(tmp_path: Path) -> None:
    environ = {"HF_TOKEN": "x", "GH_TOKEN": "y", LET_THROUGH: "HF_TOKEN, HOME", "HOME": "/h"}
    found = clean_environment(environ, tmp_path)
    assert found.keys() & environ.keys() == {"HF_TOKEN", "HOME"}


@pytest.mark.parametrize("name", ["VIRTUAL_ENV", "TS_IS_RUNNING", "PYTHONPATH", "LOG_LOCATION"])
def test_what_would_reach_into_workers_is_let_through_on_purpose_alone(
    tmp_path: Path, name: str
) -> None:
    assert name not in clean_environment({name: "x"}, tmp_path)
    assert clean_environment({name: "x", LET_THROUGH: name}, tmp_path)[name] == "x"


def test_letting_through_what_is_not_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        clean_environment({LET_THROUGH: "HF_TOKEN"}, tmp_path)
    assert caught.value.code == "unset-variable"
    assert "HF_TOKEN" in caught.value.message


def test_temporary_files_go_into_the_servers_folder(tmp_path: Path) -> None:
    assert clean_environment({"TMPDIR": "/elsewhere"}, tmp_path)["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("environ", [{}, {"PATH": "/somewhere/bin"}])
def test_our_python_is_the_first_on_the_path(tmp_path: Path, environ: dict[str, str]) -> None:
    path = clean_environment(environ, tmp_path)["PATH"].split(os.pathsep)
    assert path[0] == str(Path(sys.executable).parent)
    assert path[1:] == environ.get("PATH", os.defpath).split(os.pathsep)


# ---- starting and stopping


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    java = tmp_path / "jre" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(STAND_IN)
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jre"))
    return java


@pytest.fixture
def server(tmp_path: Path, temporary_folder: Path) -> TorchServe:  # noqa: ARG001
    properties = with_ports({"metrics_mode": "prometheus"}, free_ports(5))
    return TorchServe(properties, tmp_path / "store", {"a": "a.mar"}, tmp_path / "logs")


@pytest.mark.usefixtures("stand_in")
def test_a_server_is_started_with_our_models_and_settings_alone(
    server: TorchServe, tmp_path: Path, temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    server.start()
    try:
        assert server.is_running()
        assert psutil.pid_exists(server.pid)
        assert server.folder.parent == temporary_folder
        while "PATH=" not in (noted(server, "environment")):
            assert server.is_running()
        arguments = noted(server, "arguments").splitlines()
        assert arguments[-3:] == ["-ncs", "-m", "a=a.mar"]
        assert arguments[arguments.index("-s") + 1] == str(tmp_path / "store")
        config = Path(arguments[arguments.index("-f") + 1])
        assert parse_properties(config.read_text())["metrics_mode"] == "prometheus"
        assert "PYTHONPATH" not in noted(server, "environment")
    finally:
        server.stop()


def noted(server: TorchServe, name: str) -> str:
    path = server.folder / name
    return path.read_text() if path.exists() else ""


@pytest.mark.usefixtures("stand_in")
def test_a_stopped_server_leaves_no_process_and_no_folder(
    server: TorchServe, temporary_folder: Path
) -> None:
    server.start()
    pid = server.pid
    server.stop()
    assert not server.is_running()
    assert not [p for p in psutil.process_iter() if _group_of(p) == pid and p.status() != "zombie"]
    assert list(temporary_folder.iterdir()) == []


def _group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


@pytest.mark.usefixtures("stand_in")
def test_a_port_in_use_stops_the_start_before_anything_is_made(
    tmp_path: Path, temporary_folder: Path
) -> None:
    properties = with_ports({}, free_ports(5))
    server = TorchServe(properties, tmp_path, {}, tmp_path / "logs")
    place = ("127.0.0.1", addresses(properties)[4].port)
    with socket.create_server(place), pytest.raises(PortInUseError) as caught:
        server.start()
    assert caught.value.code == "port-in-use"
    assert str(place[1]) in caught.value.message
    assert not server.is_running()
    assert not (tmp_path / "logs").exists()
    assert list(temporary_folder.iterdir()) == []


def test_a_java_that_cannot_be_run_is_an_error_and_leaves_nothing(
    server: TorchServe, stand_in: Path, temporary_folder: Path
) -> None:
    stand_in.write_bytes(b"\x7fELF but not really")
    with pytest.raises(ServerError) as caught:
        server.start()
    assert caught.value.code == "java-not-run"
    assert list(temporary_folder.iterdir()) == []


def test_logs_of_an_earlier_run_are_emptied(server: TorchServe, stand_in: Path) -> None:
    server.log_folder.mkdir()
    (server.log_folder / "workers.log").write_text("old")
    stand_in.write_text("#!/bin/sh\necho from java\n")
    server.start()
    assert server.process is not None
    server.process.wait()
    server.stop()
    assert (server.log("workers.log"), server.log("java.log")) == ("", "from java\n")


def test_a_server_that_was_not_started_has_no_pid_and_can_be_stopped(server: TorchServe) -> None:
    server.stop()
    assert not server.is_running()
    with pytest.raises(RuntimeError):
        _ = server.pid


@pytest.mark.usefixtures("stand_in")
def test_a_server_can_be_recorded_before_there_is_a_process(server: TorchServe) -> None:
    seen: list[tuple[bool, bool]] = []
    server.start(lambda: seen.append((server.process is None, server.own_folder.is_ours)))
    server.stop()
    assert seen == [(True, True)]


@pytest.mark.usefixtures("stand_in")
def test_a_record_that_cannot_be_written_starts_nothing(
    server: TorchServe, temporary_folder: Path
) -> None:
    def fail() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        server.start(fail)
    assert server.process is None
    assert list(temporary_folder.iterdir()) == []


def test_logs_are_their_owners_alone_and_written_through_no_link(
    server: TorchServe, stand_in: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    server.log_folder.mkdir()
    (server.log_folder / "workers.log").symlink_to(victim)
    (server.log_folder / "java.log").hardlink_to(victim)
    stand_in.write_text("#!/bin/sh\necho from java\n")
    server.start()
    server.note("a line")
    server.stop()
    assert victim.read_text() == "precious"
    for path in server.log_folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("stand_in")
def test_what_is_removed_of_the_folder_is_missed_and_made_again(server: TorchServe) -> None:
    server.start()
    try:
        assert server.missing() is None
        (server.folder / "key_file.json").touch()
        assert server.missing() is None
        (server.folder / "key_file.json").unlink()
        assert server.missing() == str(server.folder / "key_file.json")
        shutil.rmtree(server.folder)
        assert server.missing() == str(server.folder)
        server.restart({})
        assert server.missing() is None
        assert server.is_running()
    finally:
        server.stop()
    assert not server.folder.exists()
