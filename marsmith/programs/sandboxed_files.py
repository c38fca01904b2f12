"""The file system of a sandbox: part of sandboxed.py.

All that was mounted becomes read-only. Over it come folders of one small file system in memory:
those of other programs and users are empty, and a few can be written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from marsmith.programs import sandboxed_kernel as kernel

_SCRATCH = "/tmp"  # noqa: S108 - where that file system is mounted
_HARMLESS = kernel.NOSUID | kernel.NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


def arrange(plan: dict[str, Any]) -> None:
    """Make the file system that the worker sees. Raises OSError."""
    kernel.mount("", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    _give(plan["model"], plan["user"])
    before = {path: _opened(path) for path in (*plan["readable"], plan["model"])}
    devices = {path: _opened(f"/dev/{path}") for path in (*_DEVICES, *plan["devices"])}
    kernel.change_mount("/", add=kernel.READ_ONLY | _HARMLESS, whole_tree=True)
    kernel.mount("tmpfs", _SCRATCH, "tmpfs", _HARMLESS, f"size={plan['limits']['storage']}")
    scratch = _Scratch(plan["user"])
    for path in plan["hidden"]:
        scratch.cover(path)
    _device_folder(scratch, devices)
    for path in plan["writable"]:
        scratch.cover(path, writable=True)
    _lay_over(scratch, before.pop(plan["model"]), plan["model"])
    for path, source in before.items():
        if scratch.covers(path):
            Path(path).mkdir(parents=True, exist_ok=True)
            kernel.mount(_path(source), path, flags=kernel.BIND | kernel.RECURSIVE)
    for path in (*plan["hidden"], "/dev"):
        if path not in plan["writable"]:
            kernel.change_mount(scratch.mounted(path), add=kernel.READ_ONLY)
    kernel.mount("proc", "/proc", "proc", _HARMLESS | kernel.NOEXEC)


class _Scratch:
    """The file system in memory; it stays reachable after its own place is covered too."""

    def __init__(self, user: int) -> None:
        self._user = user
        self._root = _opened(_SCRATCH)
        self._mounted: dict[str, int] = {}
        self._parts = 0

    def part(self, *, writable: bool = False) -> str:
        """Return the path of a new folder of it, which only the worker can write."""
        self._parts += 1
        path = f"{_path(self._root)}/{self._parts}"
        Path(path).mkdir(0o755)
        if writable and self._user != os.getuid():
            os.chown(path, self._user, self._user)
        return path

    def cover(self, path: str, *, writable: bool = False) -> None:
        """Put an empty folder over that at `path`, or make one there if that is covered."""
        Path(path).mkdir(parents=True, exist_ok=True)
        kernel.mount(self.part(writable=writable), path, flags=kernel.BIND)
        self._mounted[path] = _opened(path)

    def covers(self, path: str) -> bool:
        """Return whether nothing is left to see of what was at `path`."""
        return any(Path(path).is_relative_to(one) for one in self._mounted)

    def mounted(self, path: str) -> str:
        """Return a path of what was put over `path`."""
        return _path(self._mounted[path])


def _device_folder(scratch: _Scratch, devices: dict[str, int]) -> None:
    scratch.cover("/dev")
    for name, source in devices.items():
        place = Path("/dev", name)
        place.parent.mkdir(parents=True, exist_ok=True)
        if Path(_path(source)).is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        kernel.mount(_path(source), str(place), flags=kernel.BIND | kernel.RECURSIVE)
        kernel.change_mount(str(place), remove=kernel.NODEV)
    for name, target in _LINKS.items():
        Path("/dev", name).symlink_to(target)


def _lay_over(scratch: _Scratch, model: int, place: str) -> None:
    """Show the unpacked model where it was; what the worker changes of it stays in memory."""
    upper, work = scratch.part(writable=True), scratch.part()
    Path(place).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={_path(model)},upperdir={upper},workdir={work},userxattr"
    kernel.mount("overlay", place, "overlay", _HARMLESS, options)


def _give(folder: str, user: int) -> None:
    """Let the worker's user own the unpacked model."""
    if user == os.getuid():
        return
    for root, _, names in os.walk(folder):
        for path in (root, *(f"{root}/{name}" for name in names)):
            os.chown(path, user, user, follow_symlinks=False)


def _opened(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _path(descriptor: int) -> str:
    """Return a path that leads to what is open, whatever is mounted over it."""
    return f"/proc/self/fd/{descriptor}"
