"""Options of `marsmith gateway`, for the command line and Python callers; no IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from marsmith.server.options import Kind, ServeOptions

BackendName = Literal["local", "torchserve"]
DEFAULT_PORT = 8000


@dataclass(frozen=True)
class GatewayOptions(ServeOptions):
    """What `marsmith gateway` is told, beside what `serve` can be told."""

    command: ClassVar[str] = "gateway"
    kind: ClassVar[Kind] = "gateway"

    port: int | None = DEFAULT_PORT
    host: str = "127.0.0.1"
    backend: BackendName | None = None  # None: torchserve if one of this project runs, else local
    urls: tuple[str, ...] = ()  # of TorchServes, for that back end
    torchserve_ports: bool = False  # whether it listens where config.properties says, too

    def arguments(self) -> list[str]:
        """Return them as arguments of `marsmith gateway`, for any working directory."""
        given = [*super().arguments(), "--host", self.host]
        given += ["--backend", self.backend] if self.backend else []
        given += [word for url in self.urls for word in ("--url", url)]
        return given + ["--torchserve-ports"] * self.torchserve_ports
