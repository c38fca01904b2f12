"""The file of a gateway's keys, and the keys as a running gateway knows them.

Several gateways may share a file. Whoever changes it replaces it whole, under a file lock; gateways
read it again when it has changed.
"""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError, ProjectError
from marsmith.core.file_lock import locked
from marsmith.gateway.access.keys import Key, digest_of, id_of, key_from, key_values
from marsmith.gateway.access.refusals import key_expired, key_unknown, keys_unreadable
from marsmith.gateway.refusals import GatewayError

KEYS_FILE = "keys.json"  # in .marsmith/gateway
_FORMAT = 1
_LARGEST = 16 << 20  # bytes
_LOOK = 0.5  # seconds between two looks at the file: a revoked key works no longer than that
_NOBODY = digest_of("")  # compared where no key has the id, so that this takes as long


class KeyStore:
    """A file of keys."""

    def __init__(self, path: Path) -> None:
        """Name the file; a missing one has no keys."""
        self.path = path

    def read(self) -> tuple[Key, ...]:
        """Read all keys. Raises ProjectError if they cannot be trusted or read."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o022:
                    self._refuse("can be written by other users", f"chmod 600 {self.path}")
                values = json.loads(file.read(_LARGEST))
            if values["format"] != _FORMAT:
                raise ValueError("another format")
            return tuple(key_from(one) for one in values["keys"])
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._refuse(f"cannot be read: {error.strerror}", "correct its permissions")
        except (ValueError, KeyError, TypeError, AttributeError, MarsmithError) as error:
            if isinstance(error, ProjectError):
                raise
            self._refuse("is damaged", "restore it, or remove it and make new keys")

    def add(self, key: Key) -> None:
        """Add a key. Raises ProjectError if its name is taken, or the file cannot be written."""
        with self._changing():
            keys = self.read()
            if any(one.name == key.name for one in keys):
                raise ProjectError(
                    f"there is a key named {key.name}",
                    f"choose another name, or revoke that one: {_REVOKE} {key.name}",
                    code="key-exists",
                )
            self._write((*keys, key))

    def revoke(self, name: str) -> Key:
        """Remove the key with this name or id. Raises ProjectError if there is none."""
        with self._changing():
            keys = self.read()
            for key in keys:
                if name in (key.name, key.id):
                    self._write(tuple(one for one in keys if one is not key))
                    return key
        raise ProjectError(
            f"there is no key {name!r}", "see marsmith gateway key list", code="no-such-key"
        )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with locked(self.path.with_name(f"{self.path.name}.lock")):
                yield
        except OSError as error:
            self._refuse(f"cannot be written: {error.strerror}", "make its folder writable")

    def _write(self, keys: tuple[Key, ...]) -> None:
        values = {"format": _FORMAT, "keys": [key_values(one) for one in keys]}
        with replacing(self.path, 0o600) as file:
            file.write(json.dumps(values, indent=1).encode())
            file.flush()
            os.fsync(file.fileno())

    def _refuse(self, problem: str, hint: str) -> NoReturn:
        raise ProjectError(f"the file of keys {self.path} {problem}", hint, code="keys-unreadable")


_REVOKE = "marsmith gateway key revoke"


class KeyRing:
    """The keys that a running gateway accepts: those of a store, and one of its own."""

    def __init__(
        self,
        store: KeyStore | None = None,
        own: Key | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`own` is the key of Marsmith's own commands, which is in no store."""
        self._store = store
        self._own = own
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._seen: tuple[int, int, int] | None = (0, 0, 0)
        self._next_look = 0.0
        self._problem: GatewayError | None = None

    def check(self, token: str) -> Key:
        """Return the key of a token. Raises GatewayError: unknown, revoked or expired."""
        digest = digest_of(token)
        if self._own is not None and hmac.compare_digest(self._own.digest, digest):
            return self._own
        self._look()
        if self._problem is not None:
            raise self._problem
        key = self._keys.get(id_of(token) or "")
        if not hmac.compare_digest(key.digest if key else _NOBODY, digest) or key is None:
            raise key_unknown()
        if key.expires is not None and self._clock() >= key.expires:
            raise key_expired(key.name)
        return key

    def _look(self) -> None:
        """Read the file again if it has changed."""
        now = time.monotonic()
        if self._store is None or now < self._next_look:
            return
        self._next_look = now + _LOOK
        seen = _stamp(self._store.path)
        if seen == self._seen and self._problem is None:
            return
        self._seen = seen
        try:
            self._keys, self._problem = {key.id: key for key in self._store.read()}, None
        except ProjectError as error:
            # Nobody knows what has been revoked.
            self._keys, self._problem = {}, keys_unreadable(error.message)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
