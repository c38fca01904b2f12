"""Does an archive say of itself what TorchServe needs to know, and is it true?

ModelArchive.java (validate) refuses an archive without a name, or with a runtime that it does not
know. What else a manifest lacks, older archivers did not write, and TorchServe does without.
"""

from __future__ import annotations

from collections.abc import Iterator

from marsmith.archive.manifest import MANIFEST_FILE, is_version
from marsmith.check.subject import Subject
from marsmith.core.errors import ArchiveError
from marsmith.core.findings import Finding, Severity
from marsmith.core.suggestions import did_you_mean
from marsmith.project.distributions import is_installed
from marsmith.project.spec import DEFAULT_HANDLERS

_AGAIN = "make the archive anew: marsmith build, or torch-model-archiver"
_RUNTIMES = ("python", "python3")


def check_manifest(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the manifest; after an error in it nothing else can be judged."""
    if MANIFEST_FILE not in subject.archive.names:
        yield _missing(subject)
        return
    try:
        manifest = subject.manifest
    except ArchiveError as error:
        message = error.message.removeprefix(f"{MANIFEST_FILE} ")
        yield subject.finding(
            "manifest-unreadable", f"the manifest {message}", _AGAIN, MANIFEST_FILE
        )
        return
    yield from _check_version(subject)
    runtime = manifest.runtime
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


def _missing(subject: Subject) -> Finding:
    message = f"there is no {MANIFEST_FILE}, so this is no model archive"
    below = [name for name in sorted(subject.archive.names) if name.endswith(f"/{MANIFEST_FILE}")]
    if not below:
        return subject.finding("manifest-missing", message, _AGAIN)
    folder = below[0].removesuffix(f"/{MANIFEST_FILE}")
    message = f"{MANIFEST_FILE} is not at its top: it was packed with the folder {folder!r} around"
    hint = f"pack what is in the folder: cd {folder} && zip -r ../{folder.split('/')[-1]}.mar ."
    return subject.finding("manifest-missing", message, hint)


def _check_version(subject: Subject) -> Iterator[Finding]:
    version = subject.manifest.model_version
    if not version:
        message = "the manifest holds no modelVersion, so nobody can tell two versions apart"
        yield subject.finding(
            "manifest-version", message, _AGAIN, MANIFEST_FILE, severity=Severity.WARNING
        )
    elif not is_version(version):
        message = f"{version!r} is no version: it becomes part of a URL"
        yield subject.finding("manifest-version", message, 'write one such as "1.0"', MANIFEST_FILE)


def _check_named_files(subject: Subject) -> Iterator[Finding]:
    manifest, names = subject.manifest, subject.archive.names
    module = subject.handler_module
    known = subject.handler_module_is_own or subject.default_handler or is_installed(module)
    if not known:
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
