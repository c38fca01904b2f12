"""Read requirements files, and find which of them are met here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING

from packaging import requirements
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from cyclonedx.model.license import License

_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTIONS = re.compile(r"\s+--?[a-zA-Z].*$")  # of one requirement, such as --hash
_INCLUDED = re.compile(r"(?:-r|--requirement)[\s=]*(?P<name>\S+)")
_EDITABLE = re.compile(r"^(?:-e|--editable)[\s=]*(?P<place>\S+)")
_SECRET = re.compile(r"(?<=://)[^/@\s]+@")  # a user and password within a URL
# URLs and paths often contain a name: of a repository, an archive, a wheel, a folder.
_EGG = re.compile(r"#egg=(?P<name>[\w.\-]+)")
_PLACE = re.compile(r"(\S*/)?(?P<name>[A-Za-z]\w*([.-](?!git\b)[A-Za-z]\w*)*)[^/]*$")
_FOREIGN = (
    (_EDITABLE, "installs a folder, which a server need not have"),
    (
        re.compile(r"^(-r|--requirement|-c|--constraint)[\s=]*[\"']?(/|~|\w+:|(\S*/)?\.\.(/|$))"),
        "reads a file outside of the archive",
    ),
    (re.compile(r"^(-i|--(extra-)?index-url|--pypi-url)\b"), "takes packages from another index"),
    (re.compile(r"^(-f|--find-links)\b"), "takes packages from another place"),
    (re.compile(r"--trusted-host\b"), "trusts a host without its certificate"),
    (
        re.compile(r"--(config-settings?|global-option|install-option)\b"),
        "passes options to a build",
    ),
    (re.compile(r"^(\S+\s*@\s*)?[\"']?(git|hg|svn|bzr)\+"), "installs a repository"),
    (re.compile(r"^(\S+\s*@\s*)?[\"']?\w+://"), "installs a file from an address"),
    (re.compile(r"^(\.|/|~)"), "installs a file or folder, which a server need not have"),
)
_LONGEST = 100  # characters of a licence's name; some packages put the whole text there


class Requirement:
    """One requirement, written as `line`."""

    def __init__(self, line: str) -> None:
        self.line = line

    @property
    def name(self) -> str | None:
        """The package's normalised name; None for a URL or a path."""
        return canonicalize_name(self._parsed.name) if self._parsed else None

    @property
    def version(self) -> str | None:
        """The version that it pins, else the installed version if that meets it."""
        exact = [one for one in self._specifiers if one.operator in ("==", "===")]
        pinned = next((one.version for one in exact if not one.version.endswith(".*")), None)
        return pinned or (self._installed.version if self._installed else None)

    @property
    def licences(self) -> list[License]:
        """What the installed distribution declares: an SPDX expression, a name, or classifiers."""
        # Slow to import, and only needed for a bill of materials.
        from cyclonedx.contrib.license.factories import LicenseFactory
        from cyclonedx.model.license import LicenseAcknowledgement

        if self._installed is None:
            return []
        said = self._installed.metadata
        short = [said[key] for key in ("License-Expression", "License") if said[key]]
        names = [text for text in short if len(text) <= _LONGEST and "\n" not in text][:1]
        names = names or [
            text.rpartition(" :: ")[2]
            for text in said.get_all("Classifier") or []
            if text.startswith("License :: ") and not text.endswith("OSI Approved")
        ]
        make, declared = LicenseFactory(), LicenseAcknowledgement.DECLARED
        if len(names) == 1:
            return [make.make_from_string(names[0], license_acknowledgement=declared)]
        return [make.make_with_name(name, acknowledgement=declared) for name in names]

    @cached_property
    def _parsed(self) -> requirements.Requirement | None:
        try:
            return requirements.Requirement(self.line)
        except requirements.InvalidRequirement:
            return None

    @property
    def _specifiers(self) -> SpecifierSet:
        return self._parsed.specifier if self._parsed else SpecifierSet()

    @cached_property
    def _installed(self) -> metadata.Distribution | None:
        """The installed distribution that meets it, if there is one."""
        if not self._parsed or (self._parsed.marker and not self._parsed.marker.evaluate()):
            return None
        try:
            found = metadata.distribution(self._parsed.name)
        except metadata.PackageNotFoundError:
            return None
        return found if self._specifiers.contains(found.version, prereleases=True) else None


def requirement_lines(text: str) -> Iterator[str]:
    """Yield each requirement without comments, options, and passwords in URLs."""
    for line in _lines(text):
        if editable := _EDITABLE.match(line):
            yield _SECRET.sub("", editable["place"])
        elif not line.startswith("-"):
            yield _SECRET.sub("", _OPTIONS.sub("", line))


def declared(text: str) -> set[str]:
    """Return the normalised names of all requirements; for URLs and paths, the likely names."""
    lines = list(requirement_lines(text))
    places = (_EGG.search(line) or _PLACE.match(line) for line in lines)
    named = (Requirement(line).name for line in lines)
    pairs = zip(named, places, strict=True)
    found = (name or (place and normal_name(place["name"])) for name, place in pairs)
    return {name for name in found if name}


def normal_name(name: str) -> str:
    """Return a distribution's normalised name (PEP 503)."""
    return canonicalize_name(name)


def included_files(text: str) -> Iterator[str]:
    """Yield the names of other requirements files that this one includes."""
    for line in _lines(text):
        if included := _INCLUDED.match(line):
            yield included["name"].strip("\"'")


def foreign_sources(text: str) -> Iterator[tuple[str, str]]:
    """Yield lines that take code from elsewhere than the package index, and what each does."""
    for line in _lines(text):
        for pattern, what in _FOREIGN:
            if pattern.search(line):
                yield _SECRET.sub("", line), what
                break


def _lines(text: str) -> Iterator[str]:
    # pip joins continued lines without a space (req_file.py: join_lines).
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        if bare := _COMMENT.sub("", line).strip():
            yield bare
