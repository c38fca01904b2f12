"""What the files and classes of an archive are called."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from marsmith.core.errors import ProjectError
from marsmith.project.spec import is_name


@dataclass(frozen=True)
class Names:
    """Names made of an archive's: of a Python module, and of its classes."""

    archive: str
    module: str

    @property
    def network(self) -> str:
        """The class of the model file."""
        return "".join(part[:1].upper() + part[1:] for part in self.module.split("_"))

    @property
    def handler(self) -> str:
        """The class of the handler."""
        return f"{self.network}Handler"


def names_for(archive: str) -> Names:
    """Return the names for an archive. Raises ProjectError if none can be called that."""
    if not is_name(archive):
        raise ProjectError(
            f"{archive!r} cannot name an archive",
            "use letters from a to z, digits, '_', '-' and '.'; begin with a letter or digit",
            code="archive-name",
        )
    module = re.sub(r"\W", "_", archive.lower())
    module = f"model_{module}" if module[0].isdigit() else module
    return Names(archive, f"{module}_net" if _is_taken(module) else module)


def _is_taken(module: str) -> bool:
    """Tell whether `import module` means something else already, in a worker or anywhere."""
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        return True
    spec = find_spec(module)
    return spec is not None and "site-packages" in (spec.origin or "")
