"""The names of classes, as a user gives them: in one text, or a file with a name a line."""

from __future__ import annotations

from pathlib import Path

from marsmith.core.errors import ProjectError

_FILES = ".txt"


def read_classes(text: str) -> tuple[str, ...]:
    """Return the names in `a,b,c`, or in the file that the text names. Raises ProjectError."""
    if text.endswith(_FILES):
        return _read_file(Path(text))
    names = tuple(one.strip() for one in text.split(","))
    if "" in names:
        place = names.index("") + 1
        raise ProjectError(
            f"the name of class {place} of {len(names)} is empty: {text!r}",
            "name every class; if a name holds a comma, give a file with one name a line: "
            f"--classes names{_FILES}",
            code="class-name-empty",
        )
    return names


def _read_file(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}",
            "name a text file with one class a line, or the classes themselves: --classes a,b,c",
            code="classes-unreadable",
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    names = tuple(line.strip() for line in lines)
    if not names or "" in names:
        line = names.index("") + 1 if names else 1
        raise ProjectError(
            f"{path}:{line}: a class has no name",
            "write one name a line, without empty lines",
            code="class-name-empty",
        )
    return names
