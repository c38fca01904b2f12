"""Names of classes and functions in pickles: which of them mean more than weights."""

from __future__ import annotations

import _compat_pickle
import re

from marsmith.weights.dtypes import DTYPES

# What torch.load(weights_only=True) takes, and values of Python's own. All else is foreign.
_HARMLESS = re.compile(
    rf"torch\.({'|'.join(DTYPES)}|u?int[1-7]|qu?int\w+|Size|device|per_\w+_(affine|symmetric)\w*)$"
    r"|torch\.(storage\.|cuda\.)?(sparse\.)?(\w*Tensor|\w*Storage)$"
    r"|torch\.nn\.parameter\.Parameter$|torch\.serialization\._get_layout$"
    r"|torch\._utils\._rebuild_\w+$|torch\._tensor\._rebuild_from_type_v2$"
    r"|collections\.(OrderedDict|Counter|defaultdict)$|_codecs\.encode$"
    r"|(__builtin__|builtins)\.(set|dict|list|tuple|int|float|bool|complex|bytearray|slice|range)$"
)
# What no checkpoint has a use for, and an attack does: programs, files, the network.
_HOSTILE = re.compile(
    r"(^|\.)(os|posix|nt|subprocess|sys|pty|shutil|socket|ctypes|importlib|runpy|webbrowser)\."
    r"|^(pip|asyncio|urllib\.request|requests|http|ftplib|smtplib|ensurepip|pydoc|doctest|timeit"
    r"|cProfile|profile\.run|trace\.Trace|pdb|bdb|distutils|multiprocessing\.util"
    r"|numpy\.testing\._private\.utils\.runstring|torch\.utils\.collect_env"
    r"|code\.(interact|Interactive\w+)|commands\.get\w+"
    r"|torch\.(hub|load|ops|utils\.cpp_extension))\b"
    r"|^(builtins|__builtin__)\.(eval|exec|execfile|compile|open|file|input|__import__|apply|vars"
    r"|globals|setattr)$"
)


def is_harmless(name: str) -> bool:
    """Tell whether a name stands for tensors or values alone."""
    return _HARMLESS.match(name) is not None


def is_hostile(name: str) -> bool:
    """Tell whether a name is that of an attack. Many others can be one: this is no guard."""
    return _HOSTILE.search(name) is not None or _HOSTILE.search(today(name)) is not None


def today(name: str) -> str:
    """Return what Python 3 makes of a name as protocols 0 to 2 write it: commands.Popen."""
    module, _, last = name.rpartition(".")
    new: tuple[str, str] | None = _compat_pickle.NAME_MAPPING.get((module, last))
    return ".".join(new or (_compat_pickle.IMPORT_MAPPING.get(module, module), last))


def shown(name: str) -> str:
    """Return a name from a file as a terminal may have it."""
    return (name if name.isprintable() else ascii(name)[1:-1])[:200]
