"""Names of classes and functions in pickles: which are harmless, and which attack."""

from __future__ import annotations

import _compat_pickle
import re

from marsmith.weights.dtypes import DTYPES

# What torch.load(weights_only=True) allows, and Python's own types of values.
_HARMLESS = re.compile(
    rf"torch\.({'|'.join(DTYPES)}|u?int[1-7]|qu?int\w+|Size|device|per_\w+_(affine|symmetric)\w*)$"
    r"|torch\.(storage\.|cuda\.)?(sparse\.)?(\w*Tensor|\w*Storage)$"
    r"|torch\.nn\.parameter\.Parameter$|torch\.serialization\._get_layout$"
    r"|torch\._utils\._rebuild_\w+$|torch\._tensor\._rebuild_from_type_v2$"
    r"|collections\.(OrderedDict|Counter|defaultdict)$|_codecs\.encode$"
    r"|(__builtin__|builtins)\.(set|dict|list|tuple|int|float|bool|complex|bytearray|slice|range)$"
)
# What an attack uses and no checkpoint needs: programs, files, the network.
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
    """Return whether a name only stands for tensors or plain values."""
    return _HARMLESS.match(name) is not None


def is_hostile(name: str) -> bool:
    """Return whether a name is known from attacks. Other names can be dangerous as well."""
    return _HOSTILE.search(name) is not None or _HOSTILE.search(today(name)) is not None


def today(name: str) -> str:
    """Return Python 3's name for what pickle protocols 0 to 2 name by Python 2's."""
    module, _, last = name.rpartition(".")
    new: tuple[str, str] | None = _compat_pickle.NAME_MAPPING.get((module, last))
    return ".".join(new or (_compat_pickle.IMPORT_MAPPING.get(module, module), last))


def shown(name: str) -> str:
    """Return a name from a file without characters that control a terminal."""
    return (name if name.isprintable() else ascii(name)[1:-1])[:200]
