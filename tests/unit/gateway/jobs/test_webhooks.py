"""Where webhooks may go, and how they are signed."""

from __future__ import annotations

import base64
import hmac

import pytest

from marsmith.gateway.jobs.settings import JobSettings
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


@pytest.mark.parametrize("host", ["::1", "fe80::1", "fc00::1", "::ffff:10.0.0.1"])
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
