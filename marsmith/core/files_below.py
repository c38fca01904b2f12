"""The files below a folder, none of which a link brings in from elsewhere."""

from __future__ import annotations

from pathlib import Path

from marsmith.core.errors import ProjectError


def files_below(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted. Raises ProjectError for a link that leads out."""
    inside = folder.resolve()
    found = sorted(folder.rglob("*"))
    for path in found:
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise ProjectError(
                f"{path} is a link that leads out of {folder}",
                "name the file itself, or put it into the folder",
                code="link-leads-out",
            )
    return [path for path in found if path.is_file()]
