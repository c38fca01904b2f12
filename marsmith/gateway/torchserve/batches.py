"""Who shares a batch: a request whose batch failed is asked again without its batch-mates.

TorchServe answers 503 to a whole batch if its handler raises, and does not say for which request.
So each of them is asked again by itself, while other requests for the model wait for a moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

# Seconds that others wait for one that is alone, and that it waits for them.
_LONGEST = 1.0


class Batches:
    """The open requests of each model."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()  # how many were asked, ever
        self._turns: dict[str, asyncio.Lock] = {}
        self._closed: dict[str, asyncio.Event] = {}  # models at which others wait
        self._ended = asyncio.Event()

    async def enter(self, model: str) -> None:
        """Begin a request that may share its batch."""
        # Waits for one at most, so that failing requests do not keep others out.
        if (gate := self._closed.get(model)) is not None:
            await gate.wait()
        self._open[model] += 1
        self.begun[model] += 1

    def is_sole(self, model: str) -> bool:
        """Say whether a request that is open has no other beside it."""
        return self._open[model] == 1 and model not in self._closed

    def leave(self, model: str) -> None:
        """End it."""
        self._open[model] -= 1
        self._ended.set()

    @asynccontextmanager
    async def alone(self, model: str) -> AsyncIterator[None]:
        """Have no other request open, if the others end soon."""
        async with self._turns.setdefault(model, asyncio.Lock()):
            gate = self._closed[model] = asyncio.Event()
            opening = asyncio.get_running_loop().call_later(2 * _LONGEST, gate.set)
            try:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._emptied(model), _LONGEST)
                self.begun[model] += 1
                yield
            finally:
                opening.cancel()
                gate.set()
                del self._closed[model]

    async def _emptied(self, model: str) -> None:
        while self._open[model]:
            self._ended.clear()
            await self._ended.wait()
