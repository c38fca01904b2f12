"""Archives of handlers that are not Marsmith's: one does what it should, the others what they
should not, each in its own way."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.faults.load import expected
from tests.integration.kit import ROOT, Kit

_COMMON = """\
import hashlib
import os
import resource
import time


class Handler:
    def __init__(self):
        self.requests = 0

    def initialize(self, context):
{load}

    def handle(self, data, context):
        return [self.answer(bytes(row["body"])) for row in data]

    def answer(self, body):
        self.requests += 1
{fault}
        return hashlib.sha256(body).hexdigest()
"""
_LIMIT = """\
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (64 << 20), now + (64 << 20)))"""
_CLOSED = """\
        if os.path.exists({path!r}):
            raise RuntimeError("the way in is closed")"""
_BLOCKED = """\
        while os.path.exists({path!r}):
            time.sleep(0.05)"""

_SOUR = """\
        if os.path.exists({path!r}):
            raise RuntimeError("it has gone sour")"""

# What happens on the way to an answer, beside it.
FAULTS = {
    "digest": "",
    "raising": "if self.requests % 10 == 0:\n            raise RuntimeError('the tenth')",
    "hanging": "if self.requests % 300 == 0:\n            time.sleep(3600)",
    "exiting": "if self.requests % 300 == 0:\n            os._exit(1)",
    "hungry": "if self.requests % 50 == 0:\n            bytearray(1 << 30)",
    "closing": "",
    "given_up": "",
    "queueing": "",
    "souring": "",
    "chatty": "print('x' * 4000, flush=True)",
}
MORE = {"queueing": ", jobQueueSize = 4", "given_up": ", maxRetryTimeoutInSec = 1"}
_SPEC = """\
[archives.{name}]
version = "1.0"
handler = "handlers/{name}.py"
serving = {{ minWorkers = {workers}, maxWorkers = {workers}, batchSize = 8, maxBatchDelay = 1, \
responseTimeout = {timeout}{more} }}

[[archives.{name}.samples]]
request = "samples/request"
response = "samples/response"

"""


# How the next version of `digest` fails, and the code of the error.
BROKEN = {
    "at import": ("import nothing_of_that_name\n", "model-not-loaded"),
    "at load": (
        "def initialize(self, context):\n        raise RuntimeError('shut')",
        "model-not-loaded",
    ),
    "at its samples": ("return 'something else'", "wrong-answer"),
    "at half of its requests": (
        "if self.requests % 2:\n            raise RuntimeError('half')",
        "wrong-answer",
    ),
}


def handler(name: str, root: Path) -> str:
    """Return the source of a handler."""
    load = {
        "hungry": _LIMIT,
        "closing": _CLOSED.format(path=str(root / "closed")),
        "given_up": _CLOSED.format(path=str(root / "shut")),
    }.get(name, "        pass")
    fault = {
        "queueing": _BLOCKED.format(path=str(root / "blocked")).strip(),
        "souring": _SOUR.format(path=str(root / "sour")).strip(),
    }.get(name, FAULTS[name])
    return _COMMON.format(load=load, fault=f"        {fault}")


def project(root: Path, *names: str) -> Kit:
    """Make a project with these archives, built."""
    kit = Kit(root)
    root.mkdir(exist_ok=True)
    shutil.copy(ROOT / "config.properties", root)
    kit.write("samples/request", "a request")
    kit.write("samples/response", expected(b"a request").decode())
    spec = ""
    for name in names:
        kit.write(f"handlers/{name}.py", handler(name, root))
        one_worker = name in ("queueing",)
        spec += _SPEC.format(
            name=name,
            workers=1 if one_worker else 2,
            timeout=600 if one_worker else 2,
            more=MORE.get(name, ""),
        )
    kit.write("archives.toml", spec)
    kit("build")
    return kit


def version_of_digest(kit: Kit, version: str, source: str | None = None) -> Path:
    """Build another version of a project's `digest`, beside it; return its archive."""
    other = Kit(kit.root / "next")
    for name in ("config.properties", "samples/request", "samples/response"):
        other.write(name, (kit.root / name).read_text())
    spec = _SPEC.format(name="digest", workers=2, timeout=2, more="")
    other.write("archives.toml", spec.replace('version = "1.0"', f'version = "{version}"'))
    other.write("handlers/digest.py", source or handler("digest", kit.root))
    other("build", "--force")
    return other.root / "model_store" / "digest.mar"


def broken(kit: Kit, how: str) -> Path:
    """Build the next version of a project's `digest`, which fails; return its archive."""
    source, fault = handler("digest", kit.root), BROKEN[how][0]
    if how == "at import":
        source = fault + source
    elif how == "at load":
        source = source.replace("def initialize(self, context):\n        pass", fault)
    else:
        source = source.replace("self.requests += 1\n", f"self.requests += 1\n        {fault}\n")
    return version_of_digest(kit, f"9.{list(BROKEN).index(how)}", source)
