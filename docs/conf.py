"""The site of this documentation: `scripts/docs` builds it."""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "Marsmith"
release = re.findall(r'"(.+)"', (ROOT / "marsmith/__init__.py").read_text())[0]
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Marsmith {release}"
html_show_sphinx = False
html_show_copyright = False
myst_heading_anchors = 4  # `page.md#the-heading`, as GitHub has it
nitpicky = True


def name_files_of_the_repository(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Show a link to a file outside docs/ as its name: the site does not have the file."""
    source[0] = re.sub(r"\[([^]]+)]\(\.\./\.\./([^)]+)\)", r"\1 (`\2`)", source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", name_files_of_the_repository)
