"""The figures that docs/explanation/reliability.md shows, kept in results.json beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def record(path: Path, section: str, figures: dict[str, Any]) -> None:
    """Keep figures in a file that holds those of all sections."""
    values = json.loads(path.read_text()) if path.exists() else {}
    values.setdefault(section, {}).update(figures)
    path.write_text(json.dumps(values, indent=1) + "\n")
