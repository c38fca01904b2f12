"""Thousands of odd bodies: the workers live on, and memory is back where it was."""

from __future__ import annotations

import http.client
import json
import random
import struct
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from marsmith.client import Client
from marsmith.project.project import Project
from marsmith.server.lookup import find_server
from tests.integration.kit import ROOT, Served

SEVEN = (ROOT / "samples/seven.png").read_bytes()
TEXT = b64encode(SEVEN).decode()
JSON, FORM, RAW = "application/json", "multipart/form-data; boundary=b", "application/octet-stream"
BODIES = 3_000
# Bytes. Java's heap grows by what is not collected yet, in steps of some MiB; a worker keeps what
# its last batch was computed in. If each body were kept, the growth would be above 100 MiB.
MOST_GROWTH = {"front end": 48 << 20, "worker": 24 << 20}

Made = tuple[str, bytes]


def _form(value: bytes, end: bytes = b"--b--\r\n") -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return head + value + b"\r\n" + end


def _damaged(chance: random.Random) -> bytes:
    body = bytearray(SEVEN)
    for _ in range(chance.randint(1, 9)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body[: chance.randint(1, len(body))])


def _bomb(chance: random.Random) -> bytes:
    """Return a PNG that says it is huge."""
    side = chance.choice([20_000, 1 << 20, (1 << 31) - 1])
    data = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return SEVEN[:12] + data + struct.pack(">I", zlib.crc32(data)) + SEVEN[33:]


KINDS: list[Callable[[random.Random], Made]] = [
    lambda c: (JSON, b'{"image": "' + c.randbytes(200) + b'"}'),
    lambda c: (JSON, b'{"image": "\\ud8' + b"%02x" % c.randrange(256) + b'"}'),
    lambda c: (JSON, b'{"image":' + b"[" * c.choice([500, 5_000, 50_000])),
    lambda _: (JSON, b'{"inputs": [{"name": "a", "shape": [1e999], "data": [NaN, -Infinity]}]}'),
    lambda c: (JSON, b'{"image": ' + b"9" * c.choice([20, 4_000, 20_000]) + b"}"),
    lambda c: (JSON, json.dumps({"image": TEXT[: c.randrange(len(TEXT))]}).encode()),
    lambda c: (JSON, json.dumps({"instances": [{"b64": TEXT}] * c.randint(1, 70)}).encode()),
    lambda c: (JSON, c.choice([b"null", b"true", b"7", b'"a"', b"[]", b"{}", b""])),
    lambda c: (RAW, _damaged(c)),
    lambda c: (RAW, _bomb(c)),
    lambda c: (RAW, c.randbytes(20_000)),
    lambda c: ("text/plain; charset=utf-8", c.randbytes(300)),
    lambda c: (FORM, _form(_damaged(c))),
    lambda c: (FORM, _form(SEVEN, c.choice([b"", b"--b", b"--c--"]))),
    lambda c: (FORM, _form(b"") * c.randint(1, 30)),
    lambda _: (JSON, zlib.compress(bytes(1_000_000))),
]


def _send(port: int, made: list[Made]) -> Counter[int]:
    """Send each; a body that TorchServe's own decoder refuses ends the connection."""
    counts: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for content_type, body in made:
        connection.request("POST", "/predictions/digits", body, {"Content-Type": content_type})
        with connection.getresponse() as response:
            response.read()
            counts[response.status] += 1
    connection.close()
    return counts


def _sent(port: int, number: int, seed: int) -> Counter[int]:
    chance = random.Random(seed)  # noqa: S311 (made-up bodies)
    made = [KINDS[index % len(KINDS)](chance) for index in range(number)]
    with ThreadPoolExecutor(8) as threads:
        parts = [made[start::8] for start in range(8)]
        return sum(threads.map(lambda part: _send(port, part), parts), Counter())


@pytest.fixture
def client(served: Served) -> Client:
    return Client(f"http://127.0.0.1:{served.port}")


def _processes(served: Served, client: Client) -> list[psutil.Process]:
    """Return the front end, and the workers."""
    state = find_server(Project(served.kit.root), served.port)
    (model,) = client.describe("digits")
    return [psutil.Process(pid) for pid in (state.front_end[0], *(w.pid for w in model.workers))]


def test_no_body_ends_a_worker_or_stays_in_memory(served: Served, client: Client) -> None:
    with client:
        _sent(served.port, BODIES, 1)  # what is allocated once, and not for each request
        processes = _processes(served, client)
        before = [process.memory_info().rss for process in processes]
        counts = _sent(served.port, BODIES, 2)
        assert sum(counts.values()) == BODIES
        assert counts.keys() == {200, 400, 413, 415}
        assert _processes(served, client) == processes
        assert client.predict("digits", SEVEN).json()["label"] == "7"
        after = [process.memory_info().rss for process in processes]
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            assert new - old < MOST_GROWTH["worker" if index else "front end"]
