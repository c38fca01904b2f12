"""What a server's configuration is made safe with."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from marsmith.project.project import Project
from marsmith.security.certificates import still_good
from marsmith.security.hardening import with_tls
from marsmith.torchserve.ports import own_addresses


@pytest.mark.parametrize(("host", "others"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_certificate_names_how_others_reach_the_server(
    tmp_path: Path, host: str, others: bool
) -> None:
    values = with_tls(Project(tmp_path), {"inference_address": f"http://{host}:8000"})
    files = Path(values["private_key_file"]), Path(values["certificate_file"])
    assert still_good(*files, ["localhost", "127.0.0.1"])
    assert still_good(*files, [socket.gethostname(), *own_addresses()]) == others
