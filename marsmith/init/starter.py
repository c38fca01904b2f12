"""Write a project's files. What is there already stays as it is; only lists of entries grow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError
from marsmith.core.hashing import sha256_of
from marsmith.init import texts
from marsmith.init.names import names_for
from marsmith.init.picture import sample_picture
from marsmith.init.plan import Plan
from marsmith.init.spec_table import require_absent, with_archive
from marsmith.project.spec import SPEC_FILE
from marsmith.torchserve.properties import CONFIG_FILE
from marsmith.weights.tensors import Tensor
from marsmith.weights.torch_writer import write_torch_zip

_SIZE_NOTE = "Not sure: the usual values. Set what the training used."


@dataclass
class Written:
    """Whether each file was written, by its path in the project."""

    written: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # they existed
    picture: str = ""  # to ask the model about


def require_new(root: Path, name: str) -> None:
    """Raise ProjectError if an archive cannot have that name, or archives.toml describes it."""
    names_for(name)
    if (text := _spec_text(root)) is not None:
        require_absent(text, name)


def write_project(root: Path, plan: Plan) -> Written:
    """Write all files of a plan into `root`.

    Raises ProjectError if archives.toml has such an archive already; then nothing is written.
    """
    name, module = plan.names.archive, plan.names.module
    done = Written(picture="samples/shapes.png")
    weights = _weights_name(root, name, plan.tensors)
    model = plan.model_path or f"model_defs/{module}.py"
    handler = f"handlers/{module}_handler.py"
    classes = f"model_defs/{module}/index_to_name.json"
    table = _table(plan, model, weights, handler, classes)
    spec = with_archive(_spec_text(root), name, table)
    files = {
        model: plan.model_text,
        handler: texts.handler(plan),
        classes: _index(plan) if plan.classes else None,
        f"tests/test_{module}.py": texts.test(plan, done.picture),
        CONFIG_FILE: texts.CONFIG,
        "README.md": texts.readme(plan, done.picture),
        "model_store/.gitkeep": "",
    }
    try:
        _write_weights(root, weights, plan.tensors, done)
        _write_new(root, done.picture, sample_picture(), done)
        for path, text in files.items():
            if text is not None:
                _write_new(root, path, text.encode(), done)
        _ignore(root, done)
        # Last: until then there is no project whose files are missing.
        _write(root / SPEC_FILE, spec.encode(), SPEC_FILE, done)
    except OSError as error:
        raise ProjectError(
            f"{error.filename or root} cannot be written: {error.strerror}",
            "make the folder writable, or make room; then run it again",
            code="not-writable",
        ) from error
    return done


def _spec_text(root: Path) -> str | None:
    path = root / SPEC_FILE
    try:
        return path.read_text(encoding="utf-8") if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"{SPEC_FILE} cannot be read: {error}",
            "make it a readable UTF-8 text file",
            code="spec-syntax",
        ) from error


def _table(plan: Plan, model: str, weights: str, handler: str, classes: str) -> dict[str, Any]:
    table: dict[str, Any] = {
        "version": "1.0",
        "handler": handler,
        "model_file": model,
        "serialized_file": weights,
    }
    if plan.classes:
        table["extra_files"] = [classes]
    table["serving"] = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 4, "maxBatchDelay": 5}
    if plan.handler_config:
        unsure = "mean" in plan.handler_config
        table["handler_config"] = {
            **({"comments": [_SIZE_NOTE]} if unsure else {}),
            **plan.handler_config,
        }
    return table


def _index(plan: Plan) -> str:
    names = {str(number): name for number, name in enumerate(plan.classes)}
    return json.dumps(names, indent=2, ensure_ascii=False) + "\n"


def _weights_name(root: Path, name: str, tensors: Mapping[str, Tensor]) -> str:
    """Return where the weights go: beside a file of that name that holds something else."""
    digest = ""
    for number in count(1):
        path = f"weights/{name}{'' if number == 1 else f'-{number}'}.pth"
        if not (root / path).exists():
            break
        digest = digest or _digest(tensors)
        if sha256_of(root / path) == digest:
            break
    return path


def _digest(tensors: Mapping[str, Tensor]) -> str:
    with TemporaryFile() as file:
        write_torch_zip(file, tensors)
        file.seek(0)
        return sha256_of(file)


def _write_weights(root: Path, path: str, tensors: Mapping[str, Tensor], done: Written) -> None:
    if (root / path).exists():
        done.left.append(path)
        return
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(root / path) as file:
        write_torch_zip(file, tensors)
    done.written.append(path)


def _write_new(root: Path, path: str, content: bytes, done: Written) -> None:
    if (root / path).exists():
        done.left.append(path)
        return
    _write(root / path, content, path, done)


def _write(path: Path, content: bytes, name: str, done: Written) -> None:
    existed = path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)
    (done.extended if existed else done.written).append(name)


def _ignore(root: Path, done: Written) -> None:
    """Have git leave archives and keys alone; lines that are there stay."""
    path = root / ".gitignore"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    wanted = texts.IGNORED.splitlines()
    known = set(before.splitlines())
    missing = [line for line in wanted if line not in known and not line.startswith("#")]
    if before and not missing:
        done.left.append(".gitignore")
        return
    text = texts.IGNORED if not before else "\n".join([before.rstrip("\n"), *missing]) + "\n"
    _write(path, text.encode(), ".gitignore", done)
