"""Is an extra installed? Looked up without importing it, since PyTorch takes seconds."""

from __future__ import annotations

import importlib.util

from marsmith.core.extras import MODULES, Extra, MissingExtraError


def is_installed(module: str) -> bool:
    """Return whether a module can be found; `module` is its dotted name."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package around it is missing or broken
        return False


def require(purpose: str, extra: Extra, *modules: str) -> None:
    """Raise MissingExtraError unless `modules` are installed; the extra's first one by default.

    The error starts with `purpose`.
    """
    for module in modules or MODULES[extra][:1]:
        if not is_installed(module):
            raise MissingExtraError(purpose, module, extra)
