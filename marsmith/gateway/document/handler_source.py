"""What the source of an archive's handler tells, where it is one of the kit's kind."""

from __future__ import annotations

import re
from contextlib import suppress

from marsmith.archive.reader import Archive
from marsmith.core.errors import ArchiveError

_FOLDER = "marsmith_handlers/"  # of archives whose handler takes a picture in any usual form
_OFFERED = re.compile(r"\bcontent_types(?:: [^=\n]+)? = \(([^)]*)\)")
_BASE = re.compile(r"^from marsmith_handlers\.(\w+) import", re.MULTILINE)
_PICTURES = ("image/jpeg", "image/png", "image/webp")
_MEANT = {"JSON": ("application/json",), "TEXT": ("text/plain",), "_MASK_TYPE": ("image/png",)}


def is_ours(archive: Archive) -> bool:
    """Tell whether an archive's handler is of the kit's kind."""
    return any(name.startswith(_FOLDER) for name in archive.names)


def reads_exif(archive: Archive) -> bool:
    """Tell whether the handler itself says how EXIF turned a picture."""
    return "exif" in _source(archive, archive.manifest.handler)


def offered(archive: Archive) -> tuple[str, ...]:
    """Return the media types that a handler of the kit's kind answers with, the default first.

    They are those of its class, or else of the class of the kit that it is made of.
    """
    source = _source(archive, archive.manifest.handler)
    bases = sorted(_BASE.findall(source), key=lambda name: name == "image_handler")
    for text in (source, *(_source(archive, f"{_FOLDER}{base}.py") for base in bases)):
        if found := _OFFERED.search(text):
            return tuple(dict.fromkeys(kind for name in _words(found[1]) for kind in _types(name)))
    return ()


def _words(text: str) -> list[str]:
    return [one.strip(" *\"'\n") for one in text.split(",") if one.strip()]


def _types(name: str) -> tuple[str, ...]:
    """Return the media types behind a constant of the kit's handlers, or one as it is written."""
    if name.endswith("_TYPES"):
        return _PICTURES
    return _MEANT.get(name, (name,) if "/" in name else ())


def _source(archive: Archive, name: str) -> str:
    if name not in archive.names:
        return ""
    with suppress(ArchiveError):
        return archive.read(name).decode(errors="replace")
    return ""
