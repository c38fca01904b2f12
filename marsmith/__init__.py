"""Build TorchServe model archives, check them, run and serve them.

    from marsmith import Project, Runtime, connect

`Project` is a folder with an archives.toml, `Runtime` a worker with one archive, `Client` a
connection to a server, and `connect(project)` the client of the project's own server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marsmith.client.http import Client
    from marsmith.project.project import Project
    from marsmith.server.lookup import connect
    from marsmith.worker.runtime import Runtime

__version__ = "0.1.0"
__all__ = ["Client", "Project", "Runtime", "connect"]
_MODULES = {
    "Client": "marsmith.client.http",
    "Project": "marsmith.project.project",
    "Runtime": "marsmith.worker.runtime",
    "connect": "marsmith.server.lookup",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: every command imports this package."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
