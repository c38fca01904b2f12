"""Options of `marsmith serve`, for the command line and Python callers; no IO."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from marsmith.torchserve.log_config import LogFormat

DEFAULT_TIMEOUT = 120.0  # seconds for all models to load and answer; TorchServe's own, per model
_PACKED = (".mar", ".tar.gz", ".tgz")


Kind = Literal["torchserve", "gateway"]  # of a server


@dataclass(frozen=True)
class ServeOptions:
    """What `marsmith serve` is told."""

    command: ClassVar[str] = "serve"
    kind: ClassVar[Kind] = "torchserve"

    names: tuple[str, ...] = ()  # of archives, or paths of files; none: all archives
    port: int | None = None  # None takes the addresses of config.properties, 0 five free ports
    timeout: float = DEFAULT_TIMEOUT
    public_key: Path | None = None  # every archive must be signed with its private key
    secure: bool = False  # whether every request must carry a token
    tls: bool = False
    log_format: LogFormat = "text"
    fresh: bool = False  # whether what was deployed is forgotten
    fork: bool = True  # whether workers are forked from one process, or each imports PyTorch

    def arguments(self) -> list[str]:
        """Return them as arguments of `marsmith serve`, for any working directory."""
        names = [str(Path(name).absolute()) if is_file(name) else name for name in self.names]
        given = [*names, "--timeout", str(self.timeout)]
        given += ["--port", str(self.port)] if self.port is not None else []
        given += [f"--require-signature={self.public_key.absolute()}"] if self.public_key else []
        given += ["--log-format", self.log_format] if self.log_format != "text" else []
        given += ["--fresh"] * self.fresh + ["--no-fork"] * (not self.fork)
        return given + ["--secure"] * self.secure + ["--tls"] * self.tls


def is_file(text: str) -> bool:
    """Whether a user means an archive's file, not the name of an archive."""
    return text.endswith(_PACKED) or os.sep in text
