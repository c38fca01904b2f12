"""Which modules a file of an archive hides: the archive's folder is first on sys.path."""

from __future__ import annotations

import re

from marsmith.core.findings import Finding, Severity
from marsmith.project.distributions import distribution_of, is_of_distribution
from marsmith.project.find_modules import is_standard

_MODULE = re.compile(r"(?P<name>[^/.]+)(?P<package>/__init__)?(\.[\w-]+)*\.(py|pyc|so)")


def hidden_by(entry: str, place: str) -> Finding | None:
    """Return what a file of an archive hides from everything in the worker, or None.

    Python's own modules are imported before and beside the handler: that is an error. `place` is
    the file as a message names it.
    """
    found = _MODULE.fullmatch(entry)
    if found is None:
        return None
    module = found["name"]
    severity = Severity.ERROR if is_standard(module) else Severity.WARNING
    # A package that hides a distribution is meant to: it is a copy of it.
    if not is_standard(module) and (found["package"] or not is_of_distribution(module)):
        return None
    hidden = "Python's own" if is_standard(module) else f"that of {distribution_of(module)}"
    message = f"the module {module!r} hides {hidden} from everything in the worker"
    return Finding(message, "rename the file", place, 1, severity, "shadows-library", about=module)
