"""The headers that a handler sees: a gateway gives it those that TorchServe gives it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from marsmith.torchserve.ports import free_ports
from tests.integration.kit import ROOT, Kit
from tests.projects import ECHO_SPEC

HANDLER = """\
class Handler:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [dict(context.get_all_request_header(index)) for index in range(len(data))]
"""
# The tracer of the gateway has its own; ports differ.
OWN = {"traceparent", "host"}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    kit = Kit(tmp_path_factory.mktemp("headers"))
    kit.write("handlers/echo.py", HANDLER)
    kit.write("archives.toml", ECHO_SPEC)
    kit.write("config.properties", (ROOT / "config.properties").read_text())
    kit("build")
    first = free_ports(10)
    ports = {"torchserve": first, "local": first + 6, "front": first + 8}
    words = ["--backend", "torchserve", "--url", f"http://127.0.0.1:{first}"]
    try:
        kit("serve", "echo", "--background", "--port", first)
        kit("gateway", "echo", "--backend", "local", "--background", "--port", ports["local"])
        kit("gateway", *words, "--background", "--port", ports["front"])
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        for port in ports.values():
            kit("stop", "--port", port, check=False)


def seen(url: str, words: list[str]) -> dict[str, str]:
    command = ["curl", "-s", "-m", "30", f"{url}/predictions/echo", *words]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    # Beside them are the fields of a form, with headers of their own.
    return {
        name: value
        for name, value in said.items()
        if name.lower() not in OWN and isinstance(value, str)
    }


SENT = [
    ["-d", "x"],
    ["-d", "a=1&b=2"],
    ["-d", '{"a": 1}'],
    ["--data-binary", "@-", "-H", "content-type: text/plain"],
    ["-T", str(Path(__file__)), "-H", "X-Request-ID: q", "-H", "x-lower: 1"],
    ["-d", "x", "-H", "X-MyAPI-Key2: z", "-H", "ACCEPT: a/b"],
    ["-F", "data=1"],
]


@pytest.mark.parametrize("words", SENT, ids=str)
def test_a_handler_sees_the_headers_that_torchserve_gives_it(
    urls: dict[str, str], words: list[str]
) -> None:
    theirs = seen(urls["torchserve"], words)
    ours = seen(urls["local"], words)
    if "-F" in words:  # curl makes up a boundary
        assert theirs.pop("Content-Type").startswith("multipart/form-data; boundary=")
        assert ours.pop("Content-Type").startswith("multipart/form-data; boundary=")
    assert ours == theirs


def test_in_front_of_torchserve_names_are_as_sent_too(urls: dict[str, str]) -> None:
    words = ["-d", "a=1", "-H", "X-MyAPI-Key2: z", "-H", "x-lower: 1"]
    theirs, ours = seen(urls["torchserve"], words), seen(urls["front"], words)
    assert {name: ours.get(name) for name in theirs} == theirs
