"""Write one `.mar`: torch-model-archiver decides its layout, Marsmith its bytes.

torch-model-archiver writes today's date into the manifest, keeps file times, modes and directory
order, and deflates weights, which saves no space and takes most of the time. So it runs on empty
files of the same names, in a temporary folder of its own (its staging folder is $TMPDIR/NAME, which
parallel builds would share), and gives the manifest. stored_zip.py then writes the real files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from marsmith.archive.manifest import MANIFEST_FILE, normalised_manifest
from marsmith.archive.stored_zip import Content, write_stored_zip
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import BuildError
from marsmith.project.entries import MODEL_CONFIG_FILE, contents
from marsmith.project.project import Project
from marsmith.project.spec import ArchiveSpec

# TorchServe needs a date in the manifest; with a real one, no two builds would be equal.
_CREATED_ON = "01/01/1980 00:00:00"


def write_archive(
    project: Project, spec: ArchiveSpec, accept: Callable[[str, int], None] = lambda *_: None
) -> str:
    """Make `model_store/NAME.mar` and return its sha256.

    The file appears whole or not at all. The spec's files must have been checked (preflight.py).
    `accept` gets the sha256 and the size in bytes before the file is put in place; by raising, it
    prevents that. Raises BuildError if torch-model-archiver fails or nothing can be written.
    """
    target = project.archive_path(spec.name)
    try:
        files = contents(project, spec)
        entries: dict[str, Content] = files | {MANIFEST_FILE: _manifest(spec, files)}
        project.model_store.mkdir(exist_ok=True)
        with replacing(target) as file:
            digest = write_stored_zip(file, entries)
            accept(digest, file.tell())
    except OSError as error:
        raise BuildError(
            f"{target} cannot be made: {error.strerror}"
            + (f" ({error.filename})" if error.filename else ""),
            "free disk space, or make its folder writable; an existing archive is kept",
            code="not-writable",
        ) from error
    return digest


def _manifest(spec: ArchiveSpec, names: Iterable[str]) -> bytes:
    """Return the manifest that torch-model-archiver writes for files of these names."""
    with tempfile.TemporaryDirectory(prefix="marsmith-build-") as folder:
        stage = Path(folder)
        (stage / "files").mkdir()
        for name in names:
            (stage / "files" / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / "files" / name).touch()
        (stage / "tmp").mkdir()
        skeleton = _run_archiver(spec, stage)
        with zipfile.ZipFile(skeleton) as archive:
            laid_out = set(archive.namelist()) - {MANIFEST_FILE}
            manifest = archive.read(MANIFEST_FILE)
    if laid_out != set(names):
        different = ", ".join(sorted(laid_out.symmetric_difference(names)))
        raise BuildError(
            f"torch-model-archiver lays out {spec.name} differently: {different}",
            "rename those files: torch-model-archiver drops or overwrites some names",
            code="archiver-layout",
        )
    return normalised_manifest(manifest, _CREATED_ON)


def _run_archiver(spec: ArchiveSpec, stage: Path) -> Path:
    def staged(path: str | None) -> str | None:
        return f"files/{Path(path).name}" if path else None

    handler = staged(spec.handler_file) or spec.handler
    if spec.entry_point:
        handler = f"{handler.removesuffix('.py')}:{spec.entry_point}"
    has_config = (stage / "files" / MODEL_CONFIG_FILE).exists()
    options = {
        "--model-name": spec.name,
        "--version": spec.version,
        "--handler": handler,
        "--model-file": staged(spec.model_file),
        "--serialized-file": staged(spec.serialized_file),
        "--requirements-file": staged(spec.requirements_file),
        "--config-file": staged(MODEL_CONFIG_FILE if has_config else None),
        "--extra-files": "files",
        "--runtime": spec.runtime,
        "--export-path": ".",
        "--archive-format": "zip-store",
    }
    arguments = [f"{key}={value}" for key, value in options.items() if value]
    command = [sys.executable, "-I", "-m", "model_archiver.model_packaging", *arguments]
    result = subprocess.run(  # noqa: S603
        command,
        cwd=stage,  # so that no path on the command line depends on the machine
        env=os.environ | {"TMPDIR": str(stage / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["it printed nothing"]
        raise BuildError(
            f"torch-model-archiver could not lay out {spec.name}: {lines[-1]}",
            "correct the archive's table if it is at fault; otherwise install Marsmith again",
            code="archiver-failed",
        )
    return stage / f"{spec.name}.mar"
