"""Follow the imports of an archive's handler and model, without running them."""

from __future__ import annotations

import ast
import platform
import re
from collections.abc import Iterable, Iterator
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


def follow(
    subject: Subject, entries: Iterable[str], modules: dict[str, Module]
) -> Iterator[Finding]:
    """Read files, and all files of the archive that they import, into `modules`; each file once."""
    waiting, seen = [*entries][::-1], set[str]()
    while waiting:
        entry = waiting.pop()
        if entry in seen or entry not in subject.python_files:
            continue
        seen.add(entry)
        module = _read(subject, entry)
        if isinstance(module, Finding):
            yield module
            continue
        modules[entry] = module
        names = [name for one in module.imports for name in one.modules]
        waiting += [own for name in names for own in _own_files(subject, name)][::-1]


def _read(subject: Subject, entry: str) -> Module | Finding:
    try:
        tree = ast.parse(subject.python_files[entry])
    except SyntaxError as error:
        message = f"not valid in Python {platform.python_version()}: {error.msg}"
        return subject.presume(message, "correct the line", entry, error.lineno, rule="syntax")
    except ValueError as error:
        return subject.presume(
            f"not Python: {error}", "save it as UTF-8 text", entry, 1, rule="syntax"
        )
    package = ".".join(PurePosixPath(entry).parent.parts)
    return Module(entry, tree, imports(tree, package))


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
