"""The file of a gateway's keys, and the keys as a running gateway knows them.

Several gateways may share a file. A change replaces the file whole, under a file lock; gateways
read it again when it has changed.
"""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from marsmith.core.atomic_write import replacing
from marsmith.core.errors import MarsmithError, ProjectError
from marsmith.core.file_lock import locked
from marsmith.gateway.access.keys import Key, digest_of, id_of, key_from, key_values
from marsmith.gateway.access.refusals import refusal
from marsmith.gateway.refusals import GatewayError

_FORMAT = 1
_LOOK = 0.5  # seconds between two looks at the file: a revoked key works no longer than that
_NOBODY = digest_of("")  # compared where no key has the id, so that this takes as long


class KeyStore:
    """A file of keys. All methods raise ProjectError for one that cannot be used."""

    def __init__(self, path: Path) -> None:
        """Name the file; a missing one has no keys."""
        self.path = path

    def read(self) -> tuple[Key, ...]:
        """Return all keys."""
        try:
            if self.path.stat().st_mode & 0o022:
                raise self._unusable("can be written by other users")
            values = json.loads(self.path.read_bytes())
            if values["format"] != _FORMAT:
                raise ValueError("another format")
            return tuple(key_from(one) for one in values["keys"])
        except FileNotFoundError:
            return ()
        except ProjectError:
            raise
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, MarsmithError) as error:
            raise self._unusable("is damaged") from error

    def add(self, key: Key) -> None:
        """Add a key."""

        def added(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            if any(one.name == key.name for one in keys):
                raise ProjectError(
                    f"there is a key named {key.name}",
                    "choose another name, or revoke that one: marsmith gateway key revoke NAME",
                    code="key-exists",
                )
            return (*keys, key)

        self._change(added)

    def revoke(self, name: str) -> None:
        """Remove the key with this name or id."""

        def others(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            left = tuple(one for one in keys if name not in (one.name, one.id))
            if left == keys:
                hint = "see marsmith gateway key list"
                raise ProjectError(f"there is no key {name!r}", hint, code="no-such-key")
            return left

        self._change(others)

    def _change(self, change: Callable[[tuple[Key, ...]], tuple[Key, ...]]) -> None:
        try:
            with locked(self.path.with_name(f"{self.path.name}.lock")):
                keys = [key_values(one) for one in change(self.read())]
                with replacing(self.path, 0o600) as file:
                    file.write(json.dumps({"format": _FORMAT, "keys": keys}, indent=1).encode())
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise self._unusable(f"cannot be written: {error.strerror}") from error

    def _unusable(self, problem: str) -> ProjectError:
        hint = "make it a file that you alone can write, in a folder that exists; or remove it"
        return ProjectError(f"the keys in {self.path}: it {problem}", hint, code="keys-unreadable")


class KeyRing:
    """The keys that a running gateway accepts: those of a store, and one of its own."""

    def __init__(self, store: KeyStore | None = None, own: Key | None = None) -> None:
        """`own` is the key of Marsmith's own commands, which is in no store."""
        self._store = store
        self._own = own
        self._keys: dict[str, Key] = {}
        self._seen: object = None  # of the file that was read last
        self._next_look = 0.0
        self._problem: GatewayError | None = None

    def check(self, token: str) -> Key:
        """Return the key of a token. Raises GatewayError: unknown, revoked or expired."""
        digest = digest_of(token)
        if self._own is not None and hmac.compare_digest(self._own.digest, digest):
            return self._own
        id_ = id_of(token) or ""
        if id_ not in self._keys or time.monotonic() > self._next_look:
            self._look()
        if self._problem is not None:
            raise self._problem
        key = self._keys.get(id_)
        if not hmac.compare_digest(key.digest if key else _NOBODY, digest) or key is None:
            raise refusal("key-unknown")
        if key.expires is not None and time.time() >= key.expires:
            scopes = " --scope ".join(map(str, key.scopes))
            raise refusal("key-expired", name=key.name, scope=scopes)
        return key

    def find(self, id_: str) -> Key:
        """Return the key with this id. Raises GatewayError: unknown, revoked or expired."""
        if self._own is not None and self._own.id == id_:
            return self._own
        self._look()
        if self._problem is not None:
            raise self._problem
        key = self._keys.get(id_)
        if key is None:
            raise refusal("key-unknown")
        if key.expires is not None and time.time() >= key.expires:
            raise refusal("key-expired", name=key.name, scope="predict")
        return key

    def _look(self) -> None:
        """Read the file again if it has changed."""
        if self._store is None:
            return
        self._next_look = time.monotonic() + _LOOK
        seen = _stamp(self._store.path)
        if seen == self._seen and self._problem is None:
            return
        self._seen = seen
        try:
            found = self._store.read()
            self._keys, self._problem = {key.id: key for key in found}, None
        except ProjectError:
            # Nobody knows what has been revoked.
            self._keys = {}
            self._problem = refusal("keys-unreadable", retry_after=5)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
