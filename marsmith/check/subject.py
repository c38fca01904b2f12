"""The subject of a check: an archive, and its project if that is available."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from marsmith.archive.manifest import Manifest
from marsmith.archive.reader import Archive
from marsmith.core.findings import Finding, Severity
from marsmith.core.installed import is_installed
from marsmith.project.entries import entries
from marsmith.project.project import Project
from marsmith.project.spec import DEFAULT_HANDLERS, SPEC_FILE, ArchiveSpec
from marsmith.torchserve.environment import torchserve_home

MODULE = r"(/__init__)?\.(py|pyc|(\w|-)+\.so|so)"  # what may follow a module's path in a file name


@dataclass(frozen=True)
class Subject:
    """One archive that is checked; `spec` is its table in the project."""

    archive: Archive
    project: Project | None = None
    spec: ArchiveSpec | None = None
    accepted: frozenset[str] = frozenset()  # digests of files whose code may run

    @property
    def manifest(self) -> Manifest:
        """The archive's manifest. Raises ArchiveError."""
        return self.archive.manifest

    @cached_property
    def python_files(self) -> dict[str, bytes]:
        """The archive's Python files by name, except files too large for code."""
        small = [e for e in self.archive.entries if e.name.endswith(".py") and e.size < 1 << 22]
        return {entry.name: self.archive.read(entry.name) for entry in small}

    @property
    def default_handler(self) -> str | None:
        """The name of TorchServe's own handler, if the archive uses one."""
        handler = self.manifest.handler
        return handler if not self.handler_module_is_own and _is_default(handler) else None

    @property
    def handler_module(self) -> str:
        """The module that TorchServe imports as the handler (ts/model_loader.py)."""
        return self.manifest.handler.partition(":")[0].removesuffix(".py").rpartition("/")[2]

    @property
    def handler_module_is_own(self) -> bool:
        """Whether the archive contains the handler, as text or as bytecode."""
        return any(is_module(name, self.handler_module) for name in self.archive.names)

    @property
    def handler_file(self) -> str | None:
        """The handler's Python file in the archive; None if there is none."""
        path = self.handler_module.replace(".", "/")
        found = (f"{path}/__init__.py", f"{path}.py")
        return next((one for one in found if one in self.archive.names), None)

    def defined(self, function: str) -> tuple[str, int] | tuple[None, None]:
        """Return the handler's file and the line of a function or method in it, or (None, None).

        `handle` stands for the entry point, which `handler.py:function` may name differently.
        """
        name = self.entry_point if function == "handle" and self.entry_point else function
        text = self.python_files.get(self.handler_file or "", b"").decode(errors="replace")
        found = re.search(rf"^[ \t]*(async[ ]+)?def[ ]+{re.escape(name)}\b", text, re.MULTILINE)
        if self.handler_file is None or found is None:
            return None, None
        return self.handler_file, text.count("\n", 0, found.start()) + 1

    @property
    def entry_point(self) -> str | None:
        """The function of `handler.py:function`, if the handler names one."""
        return self.manifest.handler.partition(":")[2] or None

    @cached_property
    def _source_files(self) -> dict[str, str]:
        if self.project is None or self.spec is None:
            return {}
        return {entry.name: entry.source for entry in entries(self.project, self.spec)}

    def place(self, entry: str) -> str:
        """Return the project's file behind an entry, or `archive/entry` without one."""
        return self._source_files.get(entry) or f"{self.archive.shown.name}/{entry}"

    def presume(
        self,
        message: str,
        hint: str,
        entry: str | None = None,
        line: int | None = None,
        *,
        rule: str,
    ) -> Finding:
        """Return a finding that is reported only if the archive cannot be loaded."""
        return replace(self.finding(message, hint, entry, line, rule=rule), presumed=True)

    def finding(
        self,
        message: str,
        hint: str,
        entry: str | None = None,
        line: int | None = None,
        *,
        rule: str,
        severity: Severity = Severity.ERROR,
    ) -> Finding:
        """Return a finding about an entry, or about the archive as a whole."""
        file = self.place(entry) if entry else self.archive.shown.name
        return Finding(message, hint, file, line, severity, rule)

    def config_finding(
        self,
        key: str,
        message: str,
        hint: str,
        *,
        rule: str,
        severity: Severity = Severity.ERROR,
    ) -> Finding:
        """Return a finding about a key of the model-config, at its line in archives.toml."""
        tables = self.spec.model_config_values() if self.spec else {}
        own = key in tables or key in tables.get("handler_config", ())
        if self.project and self.spec and self.spec.config_file and not own:
            lines = (self.project.root / self.spec.config_file).read_text(
                encoding="utf-8", errors="replace"
            )
            found = re.search(rf"^\s*[\"']?{re.escape(key)}\b", lines, re.MULTILINE)
            line = lines.count("\n", 0, found.end()) + 1 if found else None
            return Finding(message, hint, self.spec.config_file, line, severity, rule)
        if self.project and self.spec:
            table = "serving" if key in self.spec.serving else "handler_config"
            line = self.project.spec_file.line(self.spec.name, table, key)
            return Finding(message, hint, SPEC_FILE, line, severity, rule)
        file = self.manifest.config_file
        return self.finding(message, hint, file, rule=rule, severity=severity)


def is_module(entry: str, module: str) -> bool:
    """Return whether an entry is the file of a module, as text or compiled."""
    return re.fullmatch(re.escape(module.replace(".", "/")) + MODULE, entry) is not None


def _is_default(handler: str) -> bool:
    if handler in DEFAULT_HANDLERS or not is_installed("ts"):
        return handler in DEFAULT_HANDLERS
    file = torchserve_home() / "ts" / "torch_handler" / f"{handler}.py"
    return handler.isidentifier() and file.is_file()
