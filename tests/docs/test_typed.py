"""Blocks of commands are typed from top to bottom, as they stand, against a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from marsmith.project.project import Project
from marsmith.server.state import running_servers
from marsmith.torchserve.ports import free_ports
from tests.docs.pages import ROOT, Block, page
from tests.integration.kit import BIN, Kit, leftovers, wait_for
from tests.projects import copy_project


class Typist:
    """A shell in a project. Its server has the ports of this test, the commands those of the page.

    It has a temporary folder of its own: that is where TorchServe keeps its pid.
    """

    def __init__(self, root: Path, temporary: Path) -> None:
        self.root = root
        port = free_ports(5)
        # Also where a page, or a file that a command writes, names TorchServe's usual ports.
        self.ports = {"8080": port, "8081": port + 1, "8082": port + 2, "7070": port + 3}
        self.ports["7071"] = port + 4
        self.environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        self.environment |= {"TMPDIR": str(temporary), "TEMP": str(temporary)}

    def renumbered(self, text: str) -> str:
        """Return a text with this test's ports."""
        return re.sub(r"\b(808[012]|707[01])\b", lambda found: str(self.ports[found[0]]), text)

    def __call__(self, script: str) -> str:
        """Type a script, which must not fail; return what it prints."""
        output = self.root / "output.txt"  # no pipe: a server in the background would hold it open
        with output.open("w") as stream:
            result = subprocess.run(
                ["bash", "-e", "-u", "-o", "pipefail", "-x", "-c", self.renumbered(script)],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=400,
                check=False,
            )
        assert result.returncode == 0, output.read_text()
        return output.read_text()

    def renumber(self) -> None:
        """Let the project's server listen at this test's ports."""
        config = self.root / "config.properties"
        config.write_text(self.renumbered(config.read_text()))

    def stop(self) -> None:
        """Stop what a failed script left behind."""
        for state in running_servers(Project(self.root)):
            Kit(self.root)("stop", "--port", state.port)


def blocks_of(name: str, title: str) -> list[Block]:
    """Return the shell blocks under a heading of a page."""
    section = page(name).text.partition(f"\n## {title}\n")[2]
    ends = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    return [block for block in page(name).blocks("sh") if block.text in ends]


def test_every_day(tmp_path: Path, temporary_folder: Path) -> None:
    copy_project(tmp_path)
    activate = tmp_path / ".venv/bin/activate"  # its own names the folder it was made in
    activate.parent.mkdir(parents=True)
    activate.write_text(f"PATH={BIN}:$PATH\n")
    typist = Typist(tmp_path, temporary_folder)
    typist.renumber()
    marsmith, torchserve = blocks_of("README.md", "Every day")
    try:
        shown = typist(marsmith.text)
        assert re.search(r"seven\.png +7 +1\.0", shown)
        assert running_servers(Project(tmp_path)) == []
        try:
            shown = typist(torchserve.text)
        finally:
            typist("torchserve --stop || true")
        assert '"label": "7"' in shown
        assert "Workers scaled to 2" in shown
    finally:
        typist.stop()
    wait_for(lambda: not leftovers(str(temporary_folder)), "TorchServe to stop")


def test_the_tutorial(tmp_path: Path, temporary_folder: Path) -> None:
    shutil.copy(ROOT / "samples/cat.jpg", tmp_path / "photo.jpg")
    typist = Typist(tmp_path, temporary_folder)
    try:
        for block in page("docs/tutorial/first-model.md").blocks("sh"):
            if "not run" not in block.note:
                shown = typist(block.text)
                if "marsmith init" in block.text:
                    typist.renumber()
                if "marsmith predict" in block.text:
                    assert re.search(r"photo\.jpg +(daisy|rose|tulip) ", shown)
        assert running_servers(Project(tmp_path)) == []
    finally:
        typist.stop()


def test_the_readme_shows_the_commands_of_the_tutorial() -> None:
    (block,) = blocks_of("README.md", "Your own model in three commands")
    tutorial = "".join(one.text for one in page("docs/tutorial/first-model.md").blocks("sh"))
    for line in block.text.splitlines():
        assert line in tutorial
