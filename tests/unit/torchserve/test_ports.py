"""marsmith/torchserve/ports.py, with real listeners."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from marsmith.core.errors import PortInUseError, ServerError
from marsmith.torchserve.ports import free_ports, require_free
from marsmith.torchserve.properties import Address
from tests.codes import coded


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen()
        yield server.getsockname()[1]


def at(port: int, host: str = "127.0.0.1") -> Address:
    return Address("management", "http", host, port)


def test_a_port_in_use_is_refused_with_its_role_and_owner() -> None:
    with listening() as port, pytest.raises(PortInUseError) as caught:
        require_free(at(port))
    assert caught.value.code == "port-in-use"
    assert f"port {port} (management)" in caught.value.message
    assert f"(pid {os.getpid()})" in caught.value.message
    assert "--port N" in caught.value.hint


@pytest.mark.parametrize(
    ("theirs", "ours"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::1", "::1")]
)
def test_a_listener_on_another_address_of_the_port_counts(theirs: str, ours: str) -> None:
    try:
        with listening(theirs) as port, pytest.raises(PortInUseError):
            require_free(at(port, ours))
    except OSError:
        pytest.skip("no IPv6 here")


def test_a_port_that_nobody_listens_on_is_free() -> None:
    with listening() as port, pytest.raises(PortInUseError):
        require_free(at(port))
    require_free(at(port))  # raises nothing any more


def test_a_port_whose_last_connection_is_still_closing_is_free() -> None:
    with listening() as port:
        pass
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = server.accept()
        connection.close()  # the side that closes first keeps the port for a minute
        assert client.recv(1) == b""
        client.close()
    require_free(at(port))


def test_a_host_that_is_not_this_machine_is_not_called_a_port_in_use() -> None:
    with pytest.raises(ServerError, check=coded("address-unusable")) as caught:
        require_free(at(8081, "192.0.2.1"))
    assert "192.0.2.1" in caught.value.message


def test_free_ports_are_free_and_in_a_row() -> None:
    first = free_ports(5)
    for port in range(first, first + 5):
        require_free(at(port))
    assert 1024 < first < 32_764  # below those the system hands out itself


def test_free_ports_pass_over_those_in_use() -> None:
    first = free_ports(5)
    with listening(port=first + 4):
        other = free_ports(5)
    assert not {*range(first, first + 5)} & {*range(other, other + 5)}
