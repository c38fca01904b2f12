"""Archives made of single files, as one finds them: no project around them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import yaml

from marsmith.archive.reader import Archive
from marsmith.check.modules import Module
from marsmith.check.subject import Subject
from marsmith.project.python_imports import imports


def subject(
    folder: Path,
    files: dict[str, str | bytes],
    config: dict[str, Any] | None = None,
    **model: str,
) -> Subject:
    """Return an archive of these files; `model` are further keys of its manifest."""
    values = {"modelName": "m", "modelVersion": "1", "handler": "h.py", **model}
    path = folder / "m.mar"
    if config is not None:
        values["configFile"] = "c.yaml"
        files = files | {"c.yaml": yaml.safe_dump(config)}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": values}))
        for name, content in files.items():
            file.writestr(name, content)
    return Subject(Archive(path))


def module(of: Subject, entry: str = "h.py") -> Module:
    """Return a Python file of an archive, read."""
    import ast

    tree = ast.parse(of.python_files[entry])
    return Module(entry, tree, imports(tree, ""))
