"""What each archive was made of, so that a build without changes does nothing.

Like git's index this trusts a file's size, times and inode instead of reading it; the change time
moves with every write, even one that sets the modification time back.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

from marsmith import __version__
from marsmith.core.atomic_write import replacing
from marsmith.project.entries import Entry, entries
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec


def record_path(project: Project, name: str) -> Path:
    """Return where the record of an archive is kept."""
    return project.state_path("build") / f"{name}.json"


def write_record(project: Project, spec: ArchiveSpec, made_of: str, sha256: str) -> None:
    """Record what the archive that is now in the model store was made of."""
    output = _stat(project.archive_path(spec.name))
    record = {"inputs": made_of, "output": output, "sha256": sha256}
    with replacing(record_path(project, spec.name)) as file:
        file.write(json.dumps(record).encode())


def unchanged(project: Project, spec: ArchiveSpec) -> str | None:
    """Return the archive's sha256 if none of its inputs has changed since."""
    try:
        record = json.loads(record_path(project, spec.name).read_text())
        output = _stat(project.archive_path(spec.name))
        same = record["inputs"] == inputs(project, spec) and record["output"] == output
        sha256: str = record["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sha256 if same else None


def inputs(project: Project, spec: ArchiveSpec) -> str:
    """Return all that an archive depends on, as JSON: spec, tools, and its files' stats."""
    files = {f"{one.name} < {one.source}": _file_stat(one) for one in entries(project, spec)}
    values = {
        "spec": asdict(spec),
        "marsmith": __version__,
        "tools": {name: _stat(_package_file(name))[:2] for name in ("model_archiver", "yaml")},
        "files": files,
    }
    return json.dumps(values, sort_keys=True)


def _file_stat(entry: Entry) -> list[int]:
    """Return the stats of a file; of an installed one only its size and modification time.

    Installers link files into several environments, and each link moves a file's change time.
    """
    return _stat(entry.file)[:2] if entry.installed else _stat(entry.file)


def _package_file(name: str) -> Path:
    """Return an installed package's own file, which changes with every upgrade."""
    spec = importlib.util.find_spec(name)
    return Path((spec and spec.origin) or "")


def _stat(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
