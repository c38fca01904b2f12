"""Where webhooks may go, and how they are signed."""

from __future__ import annotations

import base64
import hmac
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPException

import pytest

from marsmith.gateway.jobs.settings import JobSettings
from marsmith.gateway.jobs.targets import is_public
from marsmith.gateway.jobs.webhooks import PREFIX, Webhooks
from marsmith.gateway.refusals import GatewayError
from tests.codes import coded

KEY = b"k" * 32
SECRET = PREFIX + base64.b64encode(KEY).decode()


def webhooks(*public: str, private: tuple[str, ...] = ()) -> Webhooks:
    settings = JobSettings(webhook_hosts=public, private_webhook_hosts=private)
    return Webhooks(settings, SECRET)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
    ],
)
def test_an_address_that_is_not_public_gets_none_unless_it_is_named_as_private(host: str) -> None:
    with pytest.raises(GatewayError, check=coded("webhook-refused")):
        webhooks(host).send(f"https://{host}:1/", "-/id", b"{}")
    webhooks(private=(host,)).require_allowed(f"http://{host}:1/")


@pytest.mark.parametrize(
    "host",
    [
        "::1",
        "fe80::1",
        "fc00::1",
        "::ffff:10.0.0.1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::1",
    ],
)
def test_addresses_of_ipv6_too(host: str) -> None:
    with pytest.raises(GatewayError, check=coded("webhook-refused")):
        webhooks(host).send(f"https://[{host}]:1/", "-/id", b"{}")


def test_a_host_is_allowed_at_all_ports_or_at_one() -> None:
    webhooks("a.example").require_allowed("https://a.example:8443/")
    webhooks("a.example:8443").require_allowed("https://a.example:8443/")
    webhooks("a.example:443").require_allowed("https://a.example/x?y=z")
    with pytest.raises(GatewayError, check=coded("webhook-refused")):
        webhooks("a.example:8443").require_allowed("https://a.example/")


def test_a_webhook_has_the_same_id_at_each_try_and_a_signature() -> None:
    first, second = (webhooks().headers("-/id", b"{}") for _ in range(2))
    assert first["webhook-id"] == second["webhook-id"]
    signed = f"{first['webhook-id']}.{first['webhook-timestamp']}.{{}}".encode()
    wanted = base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    assert first["webhook-signature"] == f"v1,{wanted}"


@pytest.mark.parametrize("address", ["2606:4700::1111", "1.1.1.1", "::ffff:1.1.1.1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "foo://a.example:80/x",
        "ftp://a.example:22/x",
        "//a.example:80/x",
        "http://a.example/x",
        "https://a.example:nine/x",
        "https://a.example/\u00e9",
        "https://a.example/x y",
        "https://user@a.example/x",
        "https://a.example/x#y",
        "https://b.example/x",
    ],
)
def test_a_url_is_refused_before_it_is_tried(url: str) -> None:
    with pytest.raises(GatewayError, check=coded("webhook-refused")):
        webhooks("a.example").require_allowed(url)


def test_letters_of_a_host_may_be_large() -> None:
    webhooks("A.Example").require_allowed("https://a.eXample/x")
    with pytest.raises(GatewayError, check=coded("webhook-refused")):
        webhooks("A.Example").require_allowed("https://b.eXample/x")


def test_a_receiver_that_answers_a_byte_at_a_time_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, enough = server.getsockname()[1], threading.Event()

        def trickle() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while not enough.wait(0.1):
                    connection.sendall(b"H")

        thread = threading.Thread(target=trickle)
        thread.start()
        settings, began = JobSettings(private_webhook_hosts=("127.0.0.1",)), time.monotonic()
        try:
            with pytest.raises((OSError, HTTPException)):
                Webhooks(settings, SECRET, 0.5).send(f"http://127.0.0.1:{port}/", "x", b"{}")
            assert time.monotonic() - began < 5
        finally:
            enough.set()
            thread.join()
