"""TorchServe's tokens: read them, and renew them before they expire.

TorchServe 0.12.0 has one key for each API, valid for `token_expiration_min` minutes, and a third
one ("API") that never expires, with which `GET /token` replaces one of the others. A replaced key
is refused at once: the two are never valid together (TokenAuthorization.java).
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from marsmith.client.retries import ONCE, Deadline
from marsmith.client.sending import Call, Sender
from marsmith.client.tokens import Api, StaticToken
from marsmith.core.errors import ClientError, ServerError

APIS: tuple[Api, ...] = ("inference", "management")

_MARGIN = 60.0  # seconds before a key expires, in which it is renewed, if it is valid long enough
_PAUSE = 0.5  # seconds between two looks at the clock
_TIMEOUT = 5.0  # seconds for an answer
_PATIENCE = 2.0  # seconds for TorchServe to write its file


@dataclass(frozen=True)
class Key:
    """A key, and when it expires."""

    value: str = field(repr=False)
    expires: datetime

    @property
    def seconds_left(self) -> float:
        """For how long it is still valid, by the clock that TorchServe uses too."""
        return (self.expires - datetime.now(timezone.utc)).total_seconds()


def read_key(key_file: Path, api: Api) -> Key:
    """Return the key of an API. Raises ServerError if the file has none within 2 s."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            values = _entry(key_file, api)
            # Without the nanoseconds, which Python 3.10 cannot parse.
            expires = datetime.fromisoformat(values["expiration time"][:19])
            return Key(values["key"], expires.replace(tzinfo=timezone.utc))
        except (OSError, ValueError, KeyError, TypeError) as error:
            # TorchServe writes it in place, so it may be half written.
            if time.monotonic() > end or not key_file.exists():
                raise ServerError(
                    f"{key_file} has no {api} key",
                    "the server may still be starting: try again",
                    code="no-token",
                ) from error
        time.sleep(0.01)


def _entry(key_file: Path, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(key_file.read_text(encoding="utf-8"))[name]
    return entry


class KeyRotation:
    """Renews a server's keys before they expire, in a thread. Use it as a context manager."""

    def __init__(
        self, management_url: str, key_file: Path, lifetime: float, certificate: Path | None
    ) -> None:
        """`lifetime` is that of a new key, in seconds; `certificate` is the server's own."""
        self._url = management_url
        self._key_file = key_file
        self._margin = min(_MARGIN, lifetime / 3)
        self._pause = min(_PAUSE, lifetime / 10)
        self._sender = Sender(_TIMEOUT, ONCE, StaticToken(None), certificate)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key rotation", daemon=True)

    def __enter__(self) -> KeyRotation:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sender.close()

    def _run(self) -> None:
        while not self._ended.wait(self._pause):
            for api in APIS:
                # Not listening yet, or busy: the next look tries again, even after the key expired.
                with suppress(ClientError, ServerError):
                    if read_key(self._key_file, api).seconds_left < self._margin:
                        self._renew(api)

    def _renew(self, api: Api) -> None:
        try:
            key = _entry(self._key_file, "API")["key"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        headers = {"authorization": f"Bearer {key}"}
        path = f"/token?type={api}"
        call = Call("management", "GET", self._url, path, headers=headers, with_token=False)
        self._sender.send(call, Deadline(_TIMEOUT))
