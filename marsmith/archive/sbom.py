"""A software bill of materials of an archive, as CycloneDX 1.6 in JSON.

The same archive and the same installed packages give the same bill: it has no serial number and no
date, which are optional in CycloneDX.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from marsmith import __version__
from marsmith.archive.reader import Archive
from marsmith.archive.requirements import Requirement, included_files, requirement_lines
from marsmith.core.errors import ArchiveError
from marsmith.core.hashing import sha256_of


def bill_of_materials(archive: Archive) -> str:
    """Return the bill: the archive, each of its files, and each declared requirement.

    Raises ArchiveError if a file is damaged, or an included requirements file is missing.
    """
    root = _root(archive)
    declared = [_library(Requirement(line)) for line in sorted(set(_declared(archive)))]
    parts = [*_files(archive), *declared]
    bom = Bom(components=parts, metadata=BomMetaData(component=root, tools=_tools()))
    bom.register_dependency(root, parts)
    values: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del values["serialNumber"], values["metadata"]["timestamp"]
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _root(archive: Archive) -> Component:
    manifest = archive.manifest
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=manifest.model_name,
        version=manifest.model_version,
        bom_ref=f"archive:{manifest.model_name}",
        # For a folder, Archive.digest is not the digest of a file.
        hashes=[] if archive.path.is_dir() else [_sha256(archive.digest)],
        properties=_properties(runtime=manifest.runtime),
    )


def _tools() -> ToolRepository:
    own = Component(type=ComponentType.APPLICATION, name="marsmith", version=__version__)
    return ToolRepository(components=[own, this_component()])


def _files(archive: Archive) -> Iterator[Component]:
    roles = _roles(archive)
    with tempfile.TemporaryDirectory(prefix="marsmith-bill-") as folder:
        copied = Path(folder) / "file"
        for name in sorted(archive.names):
            archive.copy(name, copied)
            yield Component(
                type=ComponentType.FILE,
                name=name,
                bom_ref=f"file:{name}",
                hashes=[_sha256(sha256_of(copied))],
                properties=_properties(role=roles.get(name)),
            )


def _roles(archive: Archive) -> dict[str | None, str]:
    manifest = archive.manifest
    return {
        manifest.requirements_file: "requirements",
        manifest.config_file: "model-config",
        manifest.serialized_file: "weights",
        manifest.model_file: "model",
        manifest.handler.partition(":")[0]: "handler",
    }


def _declared(archive: Archive) -> Iterator[str]:
    """Yield the requirements that TorchServe installs for this archive."""
    waiting = [name for name in [archive.manifest.requirements_file] if name]
    seen = set()
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        if name not in archive.names:
            raise ArchiveError(
                f"{archive.path} holds no requirements file {name!r}",
                "add it to the archive's extra_files, or remove the line that includes it",
                code="requirements-missing",
            )
        text = archive.read(name).decode("utf-8-sig", errors="replace")
        yield from requirement_lines(text)
        waiting += [str(PurePosixPath(name).parent / other) for other in included_files(text)]


def _library(requirement: Requirement) -> Component:
    name, version = requirement.name, requirement.version
    return Component(
        type=ComponentType.LIBRARY,
        name=name or requirement.line,
        version=version,
        purl=PackageURL("pypi", None, name, version) if name else None,
        bom_ref=f"requirement:{requirement.line}",
        licenses=requirement.licences,
        properties=_properties(requirement=requirement.line),
    )


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _properties(**values: str | None) -> list[Property]:
    return [
        Property(name=f"marsmith:{name}", value=value) for name, value in values.items() if value
    ]
