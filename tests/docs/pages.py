"""The pages of the documentation, and what is looked at in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs/**/*.md", "monitoring/*.md", "weights/*.md", "*.md")
_FENCE = re.compile(
    r"^(?P<note><!-- .* -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the comment on the line before it."""

    language: str
    text: str
    note: str


@dataclass(frozen=True)
class Page:
    """A page in Markdown."""

    path: Path

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[Block]:
        """Return its fenced blocks in a language."""
        found = (
            Block(match["language"], match["text"], match["note"] or "")
            for match in _FENCE.finditer(self.text)
        )
        return [block for block in found if block.language == language]

    def links(self) -> list[str]:
        """Return the targets of its links and pictures."""
        return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", self.prose))

    def spans(self) -> list[str]:
        """Return what stands in backquotes; a bar in a table is written with a backslash."""
        return [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", self.prose)]

    def anchors(self) -> set[str]:
        """Return the anchors of its headings, as GitHub and the site make them."""
        titles = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def pages() -> list[Page]:
    """Return all pages, in order of their names."""
    found = {path for pattern in FOLDERS for path in ROOT.glob(pattern)}
    return [Page(path) for path in sorted(found) if "_build" not in path.parts]


def page(name: str) -> Page:
    """Return one page."""
    return Page(ROOT / name)
