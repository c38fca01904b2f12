"""How LoadModel of the rotation system makes an archive the default version of a model."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from marsmith.answers.messages import Request
from marsmith.archive.reader import Archive
from marsmith.client.description import Model
from marsmith.core.errors import MarsmithError
from marsmith.gateway.backend import Backend, Call, Registration
from marsmith.gateway.old_clients.rotation_answer import result_of
from marsmith.gateway.refusals import GatewayError, malformed

# Of an archive's copy (pinned_archives.py): the first digits of its SHA-256.
_DIGEST = re.compile(r"-([0-9a-f]{12})(?=\.mar$)")
# A grey picture as PNG. Each archive must answer it as the clients need, whatever its samples are.
_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAFklEQVR42mNoIAAYRhWMKhhVMFIVAABCAAAfN5c2AAAA"
    "AABJRU5ErkJggg=="
)


class Loading:
    """Loads archives as versions of one model. It raises GatewayErrors."""

    def __init__(self, backend: Backend, model: str) -> None:
        self._backend = backend
        self._model = model
        self._digests: dict[str, str] = {}  # of the versions that were loaded here

    async def load(self, file: str) -> None:
        """Register a file of the model store, and make it the default version if it answers."""
        given = Registration(file, self._model, synchronous=True)
        try:
            loaded = await self._backend.register(given)
        except GatewayError as error:
            if error.code != "already-registered":
                raise
            version = await self._same(file, error)
            await self._try(version)
        else:
            version = loaded.version
            await self._keep_if_it_answers(version)
            self._digests[version] = await self._digest(file)
        await self._backend.set_default(self._model, version)

    async def known(self) -> Sequence[Model]:
        """Return the model's versions."""
        return [one for one in await self._backend.models() if one.name == self._model]

    async def _keep_if_it_answers(self, version: str) -> None:
        try:
            await self._try(version)
        except MarsmithError:
            with suppress(GatewayError):  # somebody made it the default one meanwhile
                await self._backend.unregister(self._model, version)
            raise

    async def _try(self, version: str) -> None:
        asked = Request(_PICTURE, "", {"Accept": "application/json"})
        call = Call(self._model, asked, str(uuid.uuid4()), version)
        said = (await self._backend.predict(call)).response
        try:
            result_of(self._model, said)
        except MarsmithError as error:
            raise malformed(
                f"version {version} does not answer a picture as rotation does: {error.message}",
                "name the archive of a model that tells rotation",
            ) from error

    async def _same(self, file: str, error: GatewayError) -> str:
        """Return the version with the bytes of a file: one of other bytes needs another version."""
        digest = await self._digest(file)
        for one in await self.known():
            pinned = _DIGEST.search(Path(one.url).name)
            loaded = self._digests.get(one.version) or (pinned[1] if pinned else "")
            if loaded and digest.startswith(loaded):
                return one.version
        raise error

    async def _digest(self, file: str) -> str:
        """Return the SHA-256 of a file of the store; empty if the store is not on this machine."""
        for one in await self.known():
            if archive := self._backend.archive(self._model, one.version):
                return await asyncio.to_thread(_digest_of, archive.path.parent / file)
        return ""


def _digest_of(path: Path) -> str:
    return Archive(path).digest


def file_of(one: Model) -> str:
    """Return the name of a version's file, without the digest of a copy."""
    return _DIGEST.sub("", Path(one.url).name)
