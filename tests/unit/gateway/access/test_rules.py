"""Hosts, origins and proxies that a gateway knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marsmith.core.errors import ProjectError
from marsmith.gateway.access.rules import AccessRules, access_rules, is_loopback
from tests.codes import coded

HOPS = ["127.0.0.1", "::1", "10.0.0.9", "8.8.8.8", "unknown", ""]
HTTP = {"inference_address": "http://127.0.0.1:8000"}


def rules(*bound: str, properties: dict[str, str] | None = None, **options: Any) -> AccessRules:
    given = {"allow_hosts": (), "cors_origins": (), "behind_proxy": ()} | options
    return access_rules(bound or ("127.0.0.1",), given, HTTP | (properties or {}), needs_keys=False)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:9", "[::1]:8000", "localhost."],
)
def test_this_machine_is_known(host: str) -> None:
    assert rules().knows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io"),
        *("", " localhost", "localhost:8000:9", "localhost/", "localhost@evil", "a,localhost"),
        *("127.0.0.2", "0.0.0.0", "[::2]", "localhost:port", "local host", "xn--localhost-"),
        *("2130706433", "0x7f.1", "::1", "localhost\x00", "lоcalhost"),  # noqa: RUF001
    ],
)
def test_others_are_not(host: str) -> None:
    assert not rules().knows_host(host)


def test_a_gateway_for_all_addresses_is_known_by_any_address_and_by_named_hosts() -> None:
    found = rules("0.0.0.0", allow_hosts=("Models.Example.org",))
    hosts = ("192.168.1.7:8000", "[fe80::1]", "models.example.org", "localhost")
    assert all(map(found.knows_host, hosts))
    assert not found.knows_host("evil.example")
    assert rules("192.168.1.7").knows_host("192.168.1.7:8000")
    assert not rules("192.168.1.7").knows_host("192.168.1.8:8000")


def test_what_a_proxy_of_ours_tells_of_its_client_is_believed() -> None:
    found = rules(behind_proxy=("10.0.0.0/24", "::1"))
    assert found.client_of("10.0.0.5", "203.0.113.9") == "203.0.113.9"
    assert found.client_of("10.0.0.5", "1.1.1.1, 203.0.113.9, 10.0.0.7") == "203.0.113.9"
    assert found.client_of("10.0.0.5", "") == "10.0.0.5"
    assert found.client_of("::1", "203.0.113.9") == "203.0.113.9"
    assert found.client_of("::ffff:10.0.0.5", "203.0.113.9") == "203.0.113.9"


def test_what_others_tell_is_not() -> None:
    found = rules(behind_proxy=("10.0.0.0/24",))
    assert found.client_of("203.0.113.9", "127.0.0.1") == "203.0.113.9"
    assert rules().client_of("127.0.0.1", "203.0.113.9") == "127.0.0.1"
    assert not found.trusts("unix")


@given(st.text(max_size=30), st.lists(st.sampled_from(HOPS), max_size=5))
def test_a_client_is_never_what_stands_before_a_stranger(made_up: str, hops: list[str]) -> None:
    found = rules(behind_proxy=("10.0.0.0/24",))
    assert found.client_of("10.0.0.1", ",".join([made_up, "203.0.113.9"])) == "203.0.113.9"
    assert found.client_of("203.0.113.1", ",".join(hops)) == "203.0.113.1"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "", "localhost", "::ffff:10.0.0.1", "unix"])
def test_not_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "options",
    [
        {"allow_hosts": ("https://example.org",)},
        {"allow_hosts": ("a b",)},
        {"allow_hosts": ("*",)},
        {"cors_origins": ("*",)},
        {"cors_origins": ("example.org",)},
        {"cors_origins": ("https://example.org/",)},
        {"cors_origins": ("https://u@example.org",)},
        {"cors_origins": ("null",)},
        {"behind_proxy": ("*",)},
        {"behind_proxy": ("proxy.example.org",)},
        {"behind_proxy": ("10.0.0.1/24",)},
        {"properties": {"max_request_size": "0"}},
        {"properties": {"max_request_size": "-1"}},
        {"properties": {"max_request_size": "32M"}},
    ],
)
def test_options_that_nobody_could_follow(options: dict[str, Any]) -> None:
    with pytest.raises(ProjectError, check=coded("gateway-option")):
        rules(**options)


def test_origins_are_read_in_lower_case() -> None:
    assert rules(cors_origins=("https://Example.org:8443",)).origins == {"https://example.org:8443"}
