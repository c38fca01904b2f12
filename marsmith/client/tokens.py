"""A client's tokens: where they come from, and how it follows keys that are rotated."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Literal, Protocol

from marsmith.core.errors import ClientError

Api = Literal["inference", "management"]
# TorchServe refuses a token with status 400, not 401, and this type (InvalidKeyException.java);
# over gRPC with PERMISSION_DENIED and these words.
REFUSAL = b"InvalidKeyException"
REFUSAL_WORDS = "Token Authorization failed"
# TorchServe uses a new key before it writes the file (TokenAuthorization.java).
_PATIENCE = 2.0  # seconds to wait for the file
_PAUSE = 0.01


class TokenSource(Protocol):
    """Knows the token of each API. Several threads use it at once.

    `left` is the seconds until the call must end.
    """

    def token(self, api: Api, left: float = math.inf) -> str | None:
        """Return the token to send; None if the server needs none."""

    def renewed(self, api: Api, refused: str | None, left: float = math.inf) -> str | None:
        """Return another token than the refused one; None if there is none."""


def bearer(token: str) -> str:
    """Return the authorization header.

    Raises ClientError for a token that no header can hold: grpc would show it.
    """
    if token and token.isascii() and token.isprintable():
        return f"Bearer {token}"
    raise ClientError(
        "the token is empty or has characters that no header can hold",
        "copy it from the server's key file, without quotes and line ends",
        code="bad-token",
    )


class StaticToken:
    """One token for everything, which never changes. Its text is never shown."""

    def __init__(self, token: str | None) -> None:
        if token is not None:
            bearer(token)
        self._token = token

    def token(self, _api: Api, _left: float = math.inf) -> str | None:
        """Return it."""
        return self._token

    def renewed(self, _api: Api, _refused: str | None, _left: float = math.inf) -> None:
        """Return None: there is no other."""
        return


class KeyFile:
    """TorchServe's key_file.json: a key for each API, read again when one is refused.

    A missing file is no error: there is none if token authorization is off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._keys: dict[str, str] = {}

    def token(self, api: Api, left: float = math.inf) -> str | None:
        """Return the key of an API. Raises ClientError if the file is there without it."""
        with self._lock:
            if not self._keys:
                self._keys = self._read()
            if api in self._keys:
                return self._keys[api]
        key = self.renewed(api, None, left)  # it may just be written
        if key is None and self._path.exists():
            raise ClientError(
                f"{self._path} has no {api} key",
                "the server may still be starting: try again",
                code="no-token",
            )
        return key

    def renewed(self, api: Api, refused: str | None, left: float = math.inf) -> str | None:
        """Read the file until it holds another key than the refused one, for 2 s at most."""
        end = time.monotonic() + min(_PATIENCE, left)
        while True:
            with self._lock:
                self._keys = self._read() or self._keys
                now = self._keys.get(api)
            if now not in (None, refused):
                return now
            if time.monotonic() > end or not self._path.exists():
                return None
            time.sleep(_PAUSE)

    def _read(self) -> dict[str, str]:
        """Return the keys; none while the file is being written."""
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            return {api: str(values[api]["key"]) for api in ("inference", "management")}
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise ClientError(
                f"{self._path} belongs to another user",
                "run this as the user that runs the server",
                code="other-user",
            ) from error
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def token_source(token: str | TokenSource | None, key_file: Path | str | None) -> TokenSource:
    """Return the source of tokens. Raises ClientError if two are given."""
    if token is not None and key_file is not None:
        raise ClientError("both token and key_file are given", "pass one", code="bad-argument")
    if key_file is not None:
        return KeyFile(Path(key_file))
    return StaticToken(token) if token is None or isinstance(token, str) else token
