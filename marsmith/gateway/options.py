"""Options of `marsmith gateway`, for the command line and Python callers; no IO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
    keys: Path | None = None  # the file of its keys; None: .marsmith/gateway/keys.json
    behind_proxy: tuple[str, ...] = ()  # addresses of proxies, whose X-Forwarded-… count
    allow_hosts: tuple[str, ...] = ()  # further names by which it may be asked for
    cors_origins: tuple[str, ...] = ()  # sites whose pages may ask models
    otel: bool = False  # whether it sends spans, as the variables OTEL_… say

    def arguments(self) -> list[str]:
        """Return them as arguments of `marsmith gateway`, for any working directory."""
        given = [*super().arguments(), "--host", self.host]
        given += ["--backend", self.backend] if self.backend else []
        given += ["--keys", str(self.keys.absolute())] if self.keys else []
        repeated = {
            "--url": self.urls,
            "--behind-proxy": self.behind_proxy,
            "--allow-host": self.allow_hosts,
            "--cors-origin": self.cors_origins,
        }
        given += [word for name, all_ in repeated.items() for one in all_ for word in (name, one)]
        return given + ["--torchserve-ports"] * self.torchserve_ports + ["--otel"] * self.otel
