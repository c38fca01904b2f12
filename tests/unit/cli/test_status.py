"""The words for a server's state."""

from __future__ import annotations

import os

import pytest

from marsmith.cli.status import word
from marsmith.core.processes import identity
from marsmith.server.state import ServerState


def state(models: list[str], unproven: list[str], *, ready: bool = True) -> ServerState:
    here, url = identity(os.getpid()), "http://127.0.0.1:9000"
    return ServerState(
        *(9000, url, url, url, models, unproven, ready, 1.5, here, here, "served", "nonce", "boot"),
        secure=False,
        certificate=None,
        warnings=[],
    )


@pytest.mark.parametrize(
    ("models", "unproven", "expected"),
    [
        (["a", "b"], [], "ready"),
        (["a", "b"], ["b"], "ready, 1 unproven"),
        (["a", "b"], ["b", "a"], "started, unproven"),
        (["a"], ["gone"], "ready"),  # undeployed since
        ([], [], "ready"),
    ],
)
def test_only_a_model_that_answered_is_called_ready(
    models: list[str], unproven: list[str], expected: str
) -> None:
    assert word(state(models, unproven)) == expected
    assert word(state(models, unproven, ready=False)) == "starting"
