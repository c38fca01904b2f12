"""Where a client's tokens come from, and how it keeps up with keys that are rotated under it."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Literal, Protocol

from marsmith.core.errors import ClientError

Api = Literal["inference", "management"]
# What TorchServe calls the refusal of a token, which it answers with status 400 and not 401
# (InvalidKeyException.java), or over gRPC with PERMISSION_DENIED and these words.
REFUSAL = b"InvalidKeyException"
REFUSAL_WORDS = "Token Authorization failed"
# TorchServe takes a new key into use before it writes it down (TokenAuthorization.java).
_PATIENCE = 2.0  # seconds to wait for that
_PAUSE = 0.01


class TokenSource(Protocol):
    """Knows the token of each API. It must be safe to ask from several threads.

    `left` is in how many seconds the call that asks must be over.
    """

    def token(self, api: Api, left: float = math.inf) -> str | None:
        """Return the token to send, None where the server wants none."""

    def renewed(self, api: Api, refused: str | None, left: float = math.inf) -> str | None:
        """Return another token than the one that was refused, None if there is none."""


def bearer(token: str) -> str:
    """Return what the authorization header says.

    Raises ClientError for a token that no header can carry: httpx and grpc would quote it.
    """
    if token and token.isascii() and token.isprintable():
        return f"Bearer {token}"
    raise ClientError(
        "the token is empty or holds characters that no header can carry",
        "copy it from the server's key file, without quotes and line ends",
    )


class StaticToken:
    """One token for everything, that never changes. Its text shows up nowhere."""

    def __init__(self, token: str | None) -> None:
        if token is not None:
            bearer(token)
        self._token = token

    def token(self, _api: Api, _left: float = math.inf) -> str | None:
        """Return it."""
        return self._token

    def renewed(self, _api: Api, _refused: str | None, _left: float = math.inf) -> None:
        """There is no other."""
        return


class KeyFile:
    """TorchServe's key_file.json: a key for each API, read again when one is refused.

    A file that does not exist is no error: where token authorization is off, there is none.
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
        key = self.renewed(api, None, left)  # it may be being written just now
        if key is None and self._path.exists():
            raise ClientError(
                f"{self._path} holds no {api} key", "the server may still be starting: try again"
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
        """Return what the file holds now: nothing, while it is being written."""
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            return {api: str(values[api]["key"]) for api in ("inference", "management")}
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise ClientError(
                f"{self._path} belongs to another user", "ask as the user that runs the server"
            ) from error
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def token_source(token: str | TokenSource | None, key_file: Path | str | None) -> TokenSource:
    """Return the one source that the caller named. Raises ClientError if there are two."""
    if token is not None and key_file is not None:
        raise ClientError("a token and a key file were given", "give one of them")
    if key_file is not None:
        return KeyFile(Path(key_file))
    return StaticToken(token) if token is None or isinstance(token, str) else token
