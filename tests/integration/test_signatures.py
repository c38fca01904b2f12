"""serve --require-signature: what is signed is served, and nothing starts for what is not."""

from __future__ import annotations

from pathlib import Path

from marsmith.torchserve.ports import free_ports
from tests.integration.kit import Kit, leftovers


def test_a_signed_archive_is_served_and_an_altered_one_is_not(kit: Kit) -> None:
    archive, team = kit.root / "model_store/digits.mar", kit.root / "team"
    kit("build")
    kit("new-key", team)
    kit("sign", archive, "--key", f"{team}.key")
    port = free_ports(5)
    serve = ("serve", "--port", port, "--require-signature", f"{team}.pub")
    kit(*serve, "--background")
    sample = kit.root / "samples/seven.png"
    assert " 7 " in kit("predict", "digits", sample, "--port", port).stdout
    kit("stop", "--port", port)
    _alter(archive)
    for more in ((), ("--background",)):
        refused = kit(*serve, *more, check=False)
        assert refused.returncode == 1
        assert "error[altered]" in refused.stderr
    assert kit.json("status") == []
    assert leftovers(str(kit.root)) == []


def _alter(path: Path) -> None:
    """Change one byte of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
