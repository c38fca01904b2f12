"""Builds that write down what came out, and builds that let nothing else come out."""

from __future__ import annotations

from marsmith.building.building import Built, build
from marsmith.core.atomic_write import replacing
from marsmith.core.errors import ProjectError
from marsmith.project.lockfile import LOCK_FILE, Lock, Locked, format_lock, parse_lock
from marsmith.project.project import Project


def build_and_lock(project: Project, *, force: bool = False) -> list[Built]:
    """Build all archives and write `archives.lock`, whole or not at all. Raises as `build` does."""
    built = build(project, force=force)
    archives = {
        one.name: Locked(project.archives[one.name].version, one.sha256, one.size) for one in built
    }
    path = project.root / LOCK_FILE
    try:
        with replacing(path) as file:
            file.write(format_lock(archives).encode())
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise ProjectError(message, "make room there, or make its folder writable") from error
    return built


def build_locked(
    project: Project, names: tuple[str, ...] = (), *, force: bool = False
) -> list[Built]:
    """Build archives as `build` does, and put only those in place that are as locked.

    Raises FindingsError for all others: they would come out different, or are not locked, or are
    locked and not described.
    """
    return build(project, names, force=force, lock=_read(project))


def _read(project: Project) -> Lock:
    path = project.root / LOCK_FILE
    try:
        return parse_lock(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"there is no {LOCK_FILE} in {project.root}"
        raise ProjectError(message, "make it: marsmith build --lock") from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{LOCK_FILE} cannot be read: {error}"
        raise ProjectError(message, "take it from git again, or: marsmith build --lock") from error
