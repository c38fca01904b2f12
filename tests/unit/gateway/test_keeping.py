"""Descriptors outlive the process that had them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from marsmith.gateway.keeping import Keeper, KeeperClient


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    keeper.close()


@contextmanager
def web(keeper: Keeper) -> Iterator[KeeperClient]:
    """One life of a web process."""
    client = KeeperClient(keeper.connection().detach())
    yield client
    client.close()


def is_open(read: int) -> bool:
    """Whether anybody holds the other end of a pipe."""
    try:
        return os.read(read, 1) != b""
    except BlockingIOError:
        return True


def test_what_is_kept_comes_back_to_the_next_web_process(keeper: Keeper) -> None:
    read, write = os.pipe()
    with web(keeper) as first:
        first.keep(9000, {"model": "digits"}, [write])
        (kept,) = first.take_back()
        os.close(kept.descriptors[0])
    os.close(write)
    with web(keeper) as second:
        (kept,) = second.take_back()
        assert (kept.id, kept.about) == (9000, {"model": "digits"})
        os.write(kept.descriptors[0], b"x")
        assert os.read(read, 1) == b"x"
        os.close(kept.descriptors[0])
    os.close(read)


def test_what_is_forgotten_is_closed(keeper: Keeper) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with web(keeper) as client:
        client.keep(1, {}, [write])
        os.close(write)
        client.forget(2)  # of nothing
        (kept,) = client.take_back()
        os.close(kept.descriptors[0])
        assert is_open(read)
        client.forget(1)
        assert client.take_back() == []
        assert not is_open(read)
    os.close(read)


def test_without_a_supervisor_nothing_is_kept() -> None:
    client = KeeperClient()
    client.keep(1, {}, [0])
    assert client.take_back() == []
