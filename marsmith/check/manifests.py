"""Check that a manifest has what TorchServe needs, and fits the archive.

ModelArchive.java (validate) refuses an archive without a name or with an unknown runtime. Other
keys may be missing: older archivers did not write them.
"""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.archive.manifest import MANIFEST_FILE, is_version
from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError
from marsmith.core.findings import Finding, Severity
from marsmith.core.installed import is_installed
from marsmith.core.suggestions import did_you_mean
from marsmith.project.spec import DEFAULT_HANDLERS

_AGAIN = "build the archive again: marsmith build, or torch-model-archiver"
_RUNTIMES = ("python", "python3")


def check_manifest(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the manifest. After an error in it, nothing else can be checked."""
    if MANIFEST_FILE not in subject.archive.names:
        yield _missing(subject)
        return
    try:
        manifest = subject.manifest
    except ArchiveError as error:
        message = error.message.removeprefix(f"{MANIFEST_FILE} ")
        yield subject.finding(
            f"the manifest {message}", _AGAIN, MANIFEST_FILE, rule="manifest-unreadable"
        )
        return
    yield from _check_version(subject)
    runtime = manifest.runtime
    if runtime not in _RUNTIMES:
        message = f"its runtime is {runtime!r}, but TorchServe only has {' and '.join(_RUNTIMES)}"
        yield subject.finding(message, _AGAIN, MANIFEST_FILE, rule="manifest-runtime")
    if manifest.model_name != subject.archive.name and not subject.archive.path.is_dir():
        message = f"the manifest names the model {manifest.model_name!r}, unlike the file"
        hint = f"rename the file to {manifest.model_name}.mar, or build it again under its name"
        yield subject.finding(
            message, hint, MANIFEST_FILE, severity=Severity.WARNING, rule="manifest-name"
        )
    yield from _check_named_files(subject)


def _missing(subject: Subject) -> Finding:
    message = f"there is no {MANIFEST_FILE}, so this is not a model archive"
    below = [name for name in sorted(subject.archive.names) if name.endswith(f"/{MANIFEST_FILE}")]
    if not below:
        return subject.finding(message, _AGAIN, rule="manifest-missing")
    folder = below[0].removesuffix(f"/{MANIFEST_FILE}")
    message = f"{MANIFEST_FILE} is not at the top: the folder {folder!r} was packed as well"
    hint = f"pack the content of the folder: cd {folder} && zip -r ../{folder.split('/')[-1]}.mar ."
    return subject.finding(message, hint, rule="manifest-missing")


def _check_version(subject: Subject) -> Iterator[Finding]:
    version = subject.manifest.model_version
    if not version:
        message = "the manifest has no modelVersion, so two versions cannot be told apart"
        yield subject.finding(
            message, _AGAIN, MANIFEST_FILE, severity=Severity.WARNING, rule="manifest-version"
        )
    elif not is_version(version):
        message = f"{version!r} is not a version: it must fit into a URL"
        yield subject.finding(
            message, 'choose one such as "1.0"', MANIFEST_FILE, rule="manifest-version"
        )


def _check_named_files(subject: Subject) -> Iterator[Finding]:
    manifest, names = subject.manifest, subject.archive.names
    top = subject.handler_module.partition(".")[0]
    known = subject.handler_module_is_own or subject.default_handler or is_installed(top)
    if not known:
        beside = [name for name in names if name.endswith(".py") and "/" not in name]
        hint = did_you_mean(manifest.handler, [*DEFAULT_HANDLERS, *beside])
        message = f"the handler {manifest.handler!r} is neither in the archive nor TorchServe's own"
        yield subject.finding(message, hint, MANIFEST_FILE, rule="manifest-file")
    kinds = {
        "modelFile": manifest.model_file,
        "serializedFile": manifest.serialized_file,
        "requirementsFile": manifest.requirements_file,
        "configFile": manifest.config_file,
    }
    for kind, name in kinds.items():
        if name is not None and name not in names:
            message = f"the manifest names {name!r} as {kind}, but the archive does not contain it"
            hint = did_you_mean(name, sorted(names - {MANIFEST_FILE}))
            yield subject.finding(message, hint, MANIFEST_FILE, rule="manifest-file")
