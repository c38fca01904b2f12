"""A folder with an `archives.toml`, and the fixed places in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from marsmith.core.errors import ProjectError
from marsmith.core.findings import FindingsError
from marsmith.core.suggestions import did_you_mean
from marsmith.project.spec import SPEC_FILE, ArchiveSpec, SpecFile, parse_spec
from marsmith.project.toml_lines import TomlLines
from marsmith.torchserve.properties import CONFIG_FILE, parse_properties


@dataclass(frozen=True)
class Project:
    """A project, known by its root. Its files are read when they are needed."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the project around `start` (default: the working directory).

        With `start`, only that folder counts. A folder from which an archive's file
        was served counts as well. Raises ProjectError if there is none.
        """
        folder = (start or Path.cwd()).absolute()
        for root in [folder] if start else [folder, *folder.parents]:
            if (root / SPEC_FILE).is_file():
                return cls(root)
        if (folder / ".marsmith" / "servers").is_dir():
            return BareFolder(folder)
        where = f"in {folder}" if start else f"in {folder} or a folder above it"
        raise ProjectError(
            f"there is no {SPEC_FILE} {where}",
            "change into a project's folder, or name it: --project DIR",
            code="no-project",
        )

    @classmethod
    def around(cls, archive: Path) -> Project | None:
        """Return the project in whose model store an archive lies."""
        parents = archive.absolute().parents
        project = cls(parents[min(1, len(parents) - 1)])
        inside = project.model_store == archive.absolute().parent
        return project if inside and (project.root / SPEC_FILE).is_file() else None

    @property
    def model_store(self) -> Path:
        """Where built archives are, and where TorchServe looks for them."""
        return self.root / "model_store"

    def archive_path(self, name: str) -> Path:
        """Return where the archive `name` is built, whether it exists or not."""
        return self.model_store / f"{name}.mar"

    @cached_property
    def spec_file(self) -> SpecFile:
        """The content of `archives.toml`. Raises ProjectError if it is not TOML."""
        try:
            text = (self.root / SPEC_FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProjectError(
                f"{SPEC_FILE} cannot be read: {error}",
                "make it a readable UTF-8 text file",
                code="spec-unreadable",
            ) from error
        return parse_spec(text)

    @property
    def archives(self) -> dict[str, ArchiveSpec]:
        """The archives it describes. Raises FindingsError if one of them has a problem."""
        if self.spec_file.problems:
            raise FindingsError(self.spec_file.problems)
        return self.spec_file.archives

    @property
    def gateway(self) -> dict[str, Any]:
        """Its table `[gateway]`, empty without one. Raises FindingsError as `archives` does."""
        return self.spec_file.gateway if self.archives else {}

    def specs(self, names: tuple[str, ...]) -> list[ArchiveSpec]:
        """Return the specs of `names`, or all of them. Raises ProjectError for an unknown name."""
        known = self.archives
        for name in names:
            if name not in known:
                raise ProjectError(
                    f"{SPEC_FILE} describes no archive {name!r}",
                    did_you_mean(name, list(known)),
                    code="unknown-archive",
                )
        return [known[name] for name in dict.fromkeys(names or known)]

    @cached_property
    def config(self) -> dict[str, str]:
        """`config.properties` as values; empty if the project has none."""
        path = self.root / CONFIG_FILE
        try:
            # Java reads properties as Latin-1, where every byte is a character.
            return parse_properties(path.read_text(encoding="latin-1")) if path.exists() else {}
        except OSError as error:
            raise ProjectError(
                f"{CONFIG_FILE} cannot be read: {error.strerror}",
                "make it a readable file",
                code="config-unreadable",
            ) from error

    @property
    def envelope(self) -> str:
        """The `service_envelope` in which TorchServe wraps every request; empty without one."""
        return self.config.get("service_envelope", "").strip()

    def state_path(self, name: str) -> Path:
        """Return where a file or folder of Marsmith's own is, `.marsmith/NAME`; makes nothing."""
        return self.root / ".marsmith" / name

    def state_folder(self, name: str) -> Path:
        """Return a folder of Marsmith's own, `.marsmith/NAME`, which git ignores.

        Raises ProjectError if it cannot be written, or is a symbolic link: a checkout of somebody
        else must not have files written elsewhere.
        """
        folder, target = self.root / ".marsmith", self.state_path(name)
        for path in (target, *target.parents):
            if self.root in path.parents and path.is_symlink():
                raise ProjectError(
                    f"{path} is a symbolic link, which Marsmith does not write through",
                    f"remove it: rm {shlex.quote(str(path))}",
                    code="linked-folder",
                )
        try:
            folder.mkdir(exist_ok=True)
            if not (folder / ".gitignore").exists():
                (folder / ".gitignore").write_text("*\n")
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(
                f"{folder} cannot be written: {error.strerror}",
                "make the folder writable: Marsmith keeps its build records and logs there",
                code="not-writable",
            ) from error
        return target


@dataclass(frozen=True)
class BareFolder(Project):
    """A folder without archives.toml, from which archives are served by their files."""

    @property
    def model_store(self) -> Path:
        """Copies of the archives that are served."""
        return self.root / ".marsmith" / "model_store"

    @cached_property
    def spec_file(self) -> SpecFile:
        """It describes no archive."""
        return SpecFile({}, (), TomlLines(""))
