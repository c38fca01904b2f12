"""What TorchServe's front end makes of CUDA_VISIBLE_DEVICES, with a card that only it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.torchserve.ports import free_ports
from tests.integration.kit import Kit

# What the front end asks (ConfigManager.java, getAvailableGpu), and an answer for one card.
_NVIDIA_SMI = "#!/bin/sh\necho index\necho 0\n"
_HANDLER = '''
"""Says which GPU it was given, and which ones it may see."""

import os


class Told:
    def initialize(self, context):
        self.gpu = context.system_properties["gpu_id"]

    def handle(self, data, context):
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        return [{"gpu": self.gpu, "visible": seen} for _ in data]
'''


@pytest.mark.parametrize(
    ("visible", "gpu"),
    [("MIG-4b1ff1d7-4b9b-5f21-8d0c-a5a6d3a7cf21", 0), ("-1", None)],
)
def test_workers_see_what_the_caller_may_see(
    visible: str, gpu: int | None, empty: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "nvidia-smi").write_text(_NVIDIA_SMI)
    (bin_folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (empty.root / "told.py").write_text(_HANDLER)
    (empty.root / "archives.toml").write_text(
        '[archives.told]\nversion = "1.0"\nhandler = "told.py"\n'
    )
    (empty.root / "picture").write_bytes(b"any")
    empty("build")
    port = free_ports(5)
    empty("serve", "--background", "--port", port)
    try:
        (answer,) = empty.json("predict", "told", empty.root / "picture", "--port", port)
    finally:
        empty("stop", "--port", port)
    assert answer["answer"] == {"gpu": gpu, "visible": visible}
