"""The system calls of a sandbox that Python does not have: part of sandboxed.py."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

_USER, _NETWORK, _PROCESSES = 0x10000000, 0x40000000, 0x20000000  # CLONE_NEW…
_MOUNTS, _MESSAGES = 0x00020000, 0x08000000

BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000  # MS_…
NOSUID, NODEV, NOEXEC = 2, 4, 8
READ_ONLY = 1  # MOUNT_ATTR_RDONLY; NOSUID, NODEV and NOEXEC are the same in both
_MOUNT_SETATTR = 442  # on all architectures
_HERE, _WHOLE_TREE = -100, 0x8000  # AT_FDCWD, AT_RECURSIVE

_PARENT_DIES, _DUMPABLE, _DROP_BOUND, _SECURE_BITS, _NO_NEW_RIGHTS = 1, 4, 24, 28, 38  # PR_…
_NO_ROOT_RIGHTS = 0xE3  # user 0 gets no rights by being it, nor later; all of it locked
_CAPABILITY_VERSION = 0x20080522

libc: Any = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: Any, about: str = "") -> None:
    """Call libc. Raises OSError, told with what it was about."""
    kept = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    if getattr(libc, function)(*kept) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{about or function}: {os.strerror(number)}")


def told(error: OSError) -> str:
    """Return an error as one line."""
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)


def enter_namespaces(user: int, group: int, worker: int) -> None:
    """Enter namespaces where this process has all rights; `worker` is a second user in them."""
    known, entered = os.pipe()
    mapped, done = os.pipe()
    parent = os.getpid()
    helper = os.fork()
    if not helper:  # stays outside, where it may say who is who inside
        try:
            os.close(entered)
            if os.read(known, 1):
                _map_users(parent, user, group, worker)
                os.write(done, b"1")
        except OSError as error:
            os.write(done, f"users cannot be mapped: {told(error)}".encode())
        os._exit(0)
    os.close(done)
    every = _USER | _NETWORK | _PROCESSES | _MOUNTS | _MESSAGES
    _call("unshare", every, about="new namespaces (unshare)")
    os.write(entered, b"1")
    answer = os.read(mapped, 1000)
    os.waitpid(helper, 0)
    for one in (known, entered, mapped):
        os.close(one)
    if answer != b"1":
        raise OSError(1, answer.decode() or "users cannot be mapped")


def _map_users(process: int, user: int, group: int, worker: int) -> None:
    both = f"\n{worker} {worker} 1" if worker != user else ""
    lines = [("uid_map", f"{user} {user} 1{both}"), ("gid_map", f"{group} {group} 1{both}")]
    for name, text in [("setgroups", "deny"), *lines]:
        descriptor = os.open(f"/proc/{process}/{name}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount. Raises OSError."""
    given = [part.encode() or None for part in (source, target, kind)]
    about = f"mounting {kind or source} on {target}"
    _call("mount", *given, flags, options.encode() or None, about=about)


def change_mount(
    target: str, *, add: int = 0, remove: int = 0, whole_tree: bool = False, at: int = _HERE
) -> None:
    """Change what is allowed in a mounted file system. Raises OSError."""
    attributes = (ctypes.c_uint64 * 4)(add, remove, 0, 0)
    flags = _WHOLE_TREE if whole_tree else 0
    values = ctypes.byref(attributes), ctypes.c_ulong(ctypes.sizeof(attributes))
    given = ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(at), target.encode(), ctypes.c_uint(flags)
    if libc.syscall(*given, *values) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount_setattr of {target}: {os.strerror(number)}")


def die_with_parent() -> None:
    """End when the parent ends."""
    _call("prctl", _PARENT_DIES, int(signal.SIGKILL), 0, 0, 0)


def hide_from_others() -> None:
    """Let no other process read or trace this one."""
    _call("prctl", _DUMPABLE, 0, 0, 0, 0)


def forbid_new_namespaces() -> None:
    """Allow no further user namespaces, in which a process would get rights again."""
    descriptor = os.open("/proc/sys/user/max_user_namespaces", os.O_WRONLY)
    os.write(descriptor, b"0")
    os.close(descriptor)


def give_up_rights(user: int) -> None:
    """Become `user` without any rights, which no program that is started brings back."""
    right = 0
    while libc.prctl(_DROP_BOUND, right, 0, 0, 0) == 0:
        right += 1
    _call("prctl", _SECURE_BITS, _NO_ROOT_RIGHTS, 0, 0, 0)
    if user != os.getuid():
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    _call("prctl", _NO_NEW_RIGHTS, 1, 0, 0, 0)
