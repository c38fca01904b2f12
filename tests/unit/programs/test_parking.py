"""A worker waits at the socket of `marsmith scale`, and only for a request of its own kind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marsmith.programs.parking import SOCKET, park, parking


@pytest.fixture
def lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        yield listener


def _request(*headers: bytes) -> dict[str, Any]:
    given = [{"name": one, "value": b"1"} for one in headers]
    return {"requestId": b"a", "headers": given, "parameters": []}


def test_a_worker_waits_until_it_is_let_go(lot: socket.socket) -> None:
    waiting = threading.Thread(target=park)
    waiting.start()
    connection, _ = lot.accept()
    waiting.join(0.1)
    assert waiting.is_alive()
    connection.close()
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.usefixtures("lot")
def test_requests_of_callers_never_wait() -> None:
    predict = parking(lambda _, batch: len(batch), lambda *_: "parked")
    assert predict(None, [_request(b"accept")]) == 1
    assert predict(None, [_request(b"x-marsmith-park"), _request()]) == 2


def test_without_a_scale_under_way_the_answer_comes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    answers: list[Any] = []
    predict = parking(lambda *_: "predicted", lambda *given: answers.append(given))
    predict(None, [_request(b"accept", b"X-Marsmith-Park")])
    assert answers == [([b"{}"], {0: "a"}, "Prediction success", 200)]
