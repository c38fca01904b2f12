"""Threads that ask a server all the time, and look at every answer."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field

from marsmith.client import Client
from marsmith.core.errors import ClientError


@dataclass
class Asking:
    """Asks from several threads while it is entered; then says what became of every request."""

    client: Client
    model: str
    threads: int = 8
    versions: Counter[str] = field(default_factory=Counter)  # which one answered how often
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __enter__(self) -> Asking:
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self._all = [threading.Thread(target=self._ask) for _ in range(self.threads)]
        for thread in self._all:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._all:
            thread.join()
        self.client.close()

    @property
    def answered(self) -> int:
        """How many answers were right so far."""
        return sum(self.versions.values())

    def _ask(self) -> None:
        while not self._ended.is_set():
            said = f"request {next(self._numbers)}"
            try:
                answer = self.client.predict(self.model, said.encode())
            except ClientError as error:
                self.lost.append(error.message)
                continue
            if not answer.ok:
                self.lost.append(f"{answer.status}: {answer.complaint}")
            elif (values := answer.json()).get("said") != said:
                self.wrong.append(f"{said!r} got {values}")
            else:
                self.versions[values["version"]] += 1
