"""Does an archive say of itself what TorchServe needs to know, and is it true?

ModelArchive.java (validate) refuses an archive without the entries that are asked for here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from marsmith.errors import ArchiveError
from marsmith.findings import Finding, Severity
from marsmith.manifest import MANIFEST_FILE
from marsmith.spec import DEFAULT_HANDLERS, did_you_mean
from marsmith.verify.subject import Subject

_AGAIN = "make the archive anew: marsmith build, or torch-model-archiver"
_VERSION = re.compile(r"v?\d+(\.\w+)*([-+.]\w+)*")
_RUNTIMES = ("python", "python3")


def check_manifest(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the manifest; after an error in it nothing else can be judged."""
    if MANIFEST_FILE not in subject.archive.names:
        message = f"there is no {MANIFEST_FILE}, so this is no model archive"
        yield subject.finding("manifest-missing", message, _AGAIN)
        return
    try:
        values = json.loads(subject.archive.read(MANIFEST_FILE))
        manifest = subject.manifest
    except (ArchiveError, ValueError) as error:
        message = f"the manifest cannot be read: {getattr(error, 'message', error)}"
        yield subject.finding("manifest-unreadable", message, _AGAIN, MANIFEST_FILE)
        return
    yield from _check_version(subject)
    runtime = values.get("runtime")
    if runtime not in _RUNTIMES:
        message = f"its runtime is {runtime!r}, and TorchServe starts {' and '.join(_RUNTIMES)}"
        yield subject.finding("manifest-runtime", message, _AGAIN, MANIFEST_FILE)
    if manifest.model_name != subject.archive.name and not subject.archive.path.is_dir():
        message = f"the manifest calls the model {manifest.model_name!r}, the file does not"
        hint = f"rename the file to {manifest.model_name}.mar, or make it anew under its name"
        yield subject.finding(
            "manifest-name", message, hint, MANIFEST_FILE, severity=Severity.WARNING
        )
    yield from _check_named_files(subject)


def _check_version(subject: Subject) -> Iterator[Finding]:
    version = subject.manifest.model_version
    if not version:
        message = "the manifest holds no modelVersion, and TorchServe refuses such an archive"
        yield subject.finding("manifest-version", message, _AGAIN, MANIFEST_FILE)
    elif not _VERSION.fullmatch(version):
        message = f"{version!r} is no version; it becomes part of a URL, and is compared as one"
        yield subject.finding("manifest-version", message, 'write one such as "1.0"', MANIFEST_FILE)


def _check_named_files(subject: Subject) -> Iterator[Finding]:
    manifest, names = subject.manifest, subject.archive.names
    if subject.handler_file is None and subject.default_handler is None:
        beside = [name for name in names if name.endswith(".py") and "/" not in name]
        hint = did_you_mean(manifest.handler, [*DEFAULT_HANDLERS, *beside])
        message = f"the handler {manifest.handler!r} is neither in the archive nor TorchServe's own"
        yield subject.finding("manifest-file", message, hint, MANIFEST_FILE)
    kinds = {
        "modelFile": manifest.model_file,
        "serializedFile": manifest.serialized_file,
        "requirementsFile": manifest.requirements_file,
        "configFile": manifest.config_file,
    }
    for kind, name in kinds.items():
        if name is not None and name not in names:
            message = f"the manifest names {name!r} as {kind}, and the archive does not hold it"
            hint = did_you_mean(name, sorted(names - {MANIFEST_FILE}))
            yield subject.finding("manifest-file", message, hint, MANIFEST_FILE)
