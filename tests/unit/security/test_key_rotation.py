"""marsmith/security/key_rotation.py, with a server in a thread in TorchServe's place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from marsmith.core.errors import ServerError
from marsmith.security.key_rotation import KeyRotation, read_key

Asked = list[tuple[str, str]]  # path and authorization


def write(key_file: Path, seconds: float) -> None:
    """Write a key file as TorchServe does, whose keys live for so long from now on."""
    end = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    expires = end.strftime("%Y-%m-%dT%H:%M:%S") + ".369951725Z"
    keys = {
        api: {"key": f"{api}-1", "expiration time": expires} for api in ("inference", "management")
    }
    key_file.write_text(json.dumps(keys | {"API": {"key": "key-of-keys"}}))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "key_file.json"


@pytest.fixture
def torchserve(key_file: Path) -> Iterator[tuple[str, Asked, Callable[[int], None]]]:
    """Answer GET /token: give the URL, what was asked, and a way to fail the next requests."""
    asked: Asked = []
    failing = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["authorization"]))
            failing[0] -= 1
            if failing[0] < 0:
                write(key_file, 3600)
            self.send_response(500 if failing[0] >= 0 else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    def fail(times: int) -> None:
        failing[0] = times

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked, fail
        server.shutdown()
        thread.join()


def test_a_key_is_read_with_its_end_and_is_not_shown(key_file: Path) -> None:
    write(key_file, 100)
    key = read_key(key_file, "inference")
    assert key.value == "inference-1"
    assert 90 < key.seconds_left < 100
    assert "inference-1" not in repr(key)


def test_a_file_that_is_not_there_is_an_error_with_a_hint(key_file: Path) -> None:
    with pytest.raises(ServerError) as caught:
        read_key(key_file, "management")
    assert caught.value.code == "no-token"


def test_a_file_that_is_being_written_is_waited_for(key_file: Path) -> None:
    key_file.write_text('{"management": {"ke')
    later = threading.Timer(0.1, write, (key_file, 100))
    later.start()
    try:
        assert read_key(key_file, "management").value == "management-1"
    finally:
        later.join()


def test_keys_near_their_end_are_renewed_with_the_key_of_keys(
    key_file: Path, torchserve: tuple[str, Asked, Callable[[int], None]]
) -> None:
    url, asked, _ = torchserve
    write(key_file, 50)
    with KeyRotation(url, key_file, 3600, None):
        while read_key(key_file, "inference").seconds_left < 3000:
            pass
    assert asked[0] == ("/token?type=inference", "Bearer key-of-keys")
    assert {authorization for _, authorization in asked} == {"Bearer key-of-keys"}


def test_a_renewal_that_fails_is_tried_again_also_after_the_end(
    key_file: Path, torchserve: tuple[str, Asked, Callable[[int], None]]
) -> None:
    url, asked, fail = torchserve
    fail(3)
    write(key_file, -5)
    with KeyRotation(url, key_file, 3, None):
        while read_key(key_file, "inference").seconds_left < 3000:
            pass
    assert len(asked) >= 4


def test_a_key_that_lives_for_long_is_left_alone(
    key_file: Path, torchserve: tuple[str, Asked, Callable[[int], None]]
) -> None:
    url, asked, _ = torchserve
    write(key_file, 50)
    keys = json.loads(key_file.read_text())
    write(key_file, 3600)
    both = json.loads(key_file.read_text()) | {"management": keys["management"]}
    key_file.write_text(json.dumps(both))
    with KeyRotation(url, key_file, 3600, None):
        while not asked:  # each round looks at the inference key first
            pass
    assert asked == [("/token?type=management", "Bearer key-of-keys")]


def test_a_rotation_ends_while_there_is_no_server(key_file: Path) -> None:
    with KeyRotation("http://127.0.0.1:1", key_file, 1, None):
        write(key_file, 0)
    assert read_key(key_file, "inference").value == "inference-1"
