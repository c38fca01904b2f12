"""marsmith/torchserve/properties.py."""

from __future__ import annotations

import pytest

from marsmith.core.errors import ProjectError
from marsmith.torchserve.properties import (
    Address,
    addresses,
    format_properties,
    parse_properties,
    with_ports,
)
from tests.codes import coded


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("a=1\nb = 2 \n", {"a": "1", "b": "2 "}),  # as Java has it
        ("# a=1\n! b=2\n\n  # c=3\n", {}),
        ("a=b=c\n", {"a": "b=c"}),
        ("a=\n", {"a": ""}),
        ("a=1\na=2\n", {"a": "2"}),
        ("a=1\\\n2\n", {"a": "12"}),
        ("url=http://127.0.0.1:8080\n", {"url": "http://127.0.0.1:8080"}),
    ],
)
def test_keys_and_values_are_read(text: str, values: dict[str, str]) -> None:
    assert parse_properties(text) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: 1\nb:2\n", {"a": "1", "b": "2"}),
        ("a 1\n", {"a": "1"}),
        ("a=1,\\\n   2\n", {"a": "1,2"}),
        ("a=x\\\\\nb=2\n", {"a": "x\\", "b": "2"}),
        ("a=s3\\\\.x/.*\n", {"a": "s3\\.x/.*"}),
        ("a=https\\://x\n", {"a": "https://x"}),
        ("# a comment \\\na=1\n", {"a": "1"}),
    ],
    ids=[
        "a colon separates",
        "a space separates",
        "a continued line loses its indent",
        "two backslashes at the end are one character",
        "two backslashes are one character",
        "a backslash escapes",
        "a comment is not continued",
    ],
)
def test_the_finer_points_of_java_util_properties_hold(text: str, values: dict[str, str]) -> None:
    """Else TorchServe would run with other settings than the file says to TorchServe alone."""
    assert parse_properties(text) == values


@pytest.mark.parametrize(
    "values",
    [
        {"a": "1", "b": ""},
        {"allowed_urls": "https://s3\\.example\\.com/.*"},
        {"a": "ends in \\"},
        {"models": '{"a": {"1.0": {"minWorkers": 1}}}'},
    ],
)
def test_what_is_written_reads_back_the_same(values: dict[str, str]) -> None:
    assert parse_properties(format_properties(values)) == values


def test_an_empty_configuration_means_torchserves_own_addresses() -> None:
    assert [(a.role, a.host, a.port) for a in addresses({})] == [
        ("inference", "127.0.0.1", 8080),
        ("management", "127.0.0.1", 8081),
        ("metrics", "127.0.0.1", 8082),
        ("gRPC inference", "127.0.0.1", 7070),
        ("gRPC management", "127.0.0.1", 7071),
    ]


def test_addresses_come_from_the_values() -> None:
    values = {"inference_address": "http://localhost:9000", "grpc_inference_port": "9001"}
    found = addresses(values)
    assert found[0] == Address("inference", "http", "localhost", 9000)
    assert found[0].url == "http://localhost:9000"
    assert found[3].port == 9001


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inference_address", "ftp://127.0.0.1:8443"),
        ("inference_address", "https://127.0.0.1"),
        ("inference_address", "unix:/tmp/x.sock"),
        ("management_address", "http://127.0.0.1"),
        ("metrics_address", "http://127.0.0.1:99999"),
        ("metrics_address", "http://127.0.0.1:port"),
        ("metrics_address", "http://:8080"),
        ("metrics_address", ""),
        ("grpc_inference_port", ""),
        ("grpc_inference_port", "-1"),
        ("grpc_management_port", "70000"),
    ],
)
def test_an_address_that_cannot_be_served_on_is_refused_by_its_key(key: str, value: str) -> None:
    code = "config-port" if key.endswith("_port") else "config-address"
    with pytest.raises(ProjectError, check=coded(code)) as caught:
        addresses({key: value})
    assert f"{key}={value}" in caught.value.message
    assert f"{key}=" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("host.example", False),
    ],
)
def test_loopback_means_this_machine_only(host: str, loopback: bool) -> None:
    assert Address("inference", "http", host, 1).is_loopback is loopback


def test_all_of_a_machines_addresses_are_reached_by_one_of_them() -> None:
    assert Address("inference", "https", "0.0.0.0", 1).local_url == "https://127.0.0.1:1"
    assert Address("inference", "http", "192.0.2.1", 1).local_url == "http://192.0.2.1:1"


def test_moved_ports_keep_tls() -> None:
    moved = with_ports({"management_address": "https://127.0.0.1:8081"}, 9000)
    assert [a.url for a in addresses(moved)[:2]] == [
        "http://127.0.0.1:9000",
        "https://127.0.0.1:9001",
    ]


def test_ports_are_moved_in_a_row_and_hosts_stay() -> None:
    values = {"inference_address": "http://localhost:1", "metrics_mode": "prometheus"}
    moved = with_ports(values, 9000)
    assert [a.port for a in addresses(moved)] == [9000, 9001, 9002, 9003, 9004]
    assert addresses(moved)[0].host == "localhost"
    assert moved["metrics_mode"] == "prometheus"
