"""Follow the imports of an archive's handler and model, without running them."""

from __future__ import annotations

import ast
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from marsmith.check.subject import MODULE, Subject
from marsmith.core.findings import Finding
from marsmith.project.python_imports import Import, imports


@dataclass(frozen=True)
class Module:
    """A Python file of the archive that its handler or model imports."""

    entry: str
    tree: ast.Module
    imports: list[Import]


def follow(subject: Subject, entry: str, modules: dict[str, Module]) -> Iterator[Finding]:
    """Read a file and all files of the archive that it imports into `modules`."""
    if entry in modules or entry not in subject.python_files:
        return
    try:
        tree = ast.parse(subject.python_files[entry])
    except SyntaxError as error:
        message = f"not valid in Python {platform.python_version()}: {error.msg}"
        yield subject.presume(message, "correct the line", entry, error.lineno, rule="syntax")
        return
    except ValueError as error:
        yield subject.presume(
            f"not Python: {error}", "save it as UTF-8 text", entry, 1, rule="syntax"
        )
        return
    package = ".".join(PurePosixPath(entry).parent.parts)
    found = imports(tree, package)
    modules[entry] = Module(entry, tree, found)
    for name in (name for one in found for name in one.modules):
        for own in _own_files(subject, name):
            yield from follow(subject, own, modules)


def _own_files(subject: Subject, module: str) -> list[str]:
    """Return the archive's files that an import runs: the module and its packages."""
    parts = module.split(".")
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    found = [f"{name}{end}" for name in names for end in (".py", "/__init__.py")]
    return [name for name in found if name in subject.archive.names]


def is_own(subject: Subject, module: str) -> bool:
    """Return whether the archive has a module, in any folder (handlers extend `sys.path`)."""
    top = module.partition(".")[0]
    found = re.compile(rf"(^|/){re.escape(top)}(/|{MODULE}$)")
    return any(found.search(name) for name in subject.archive.names)
