"""Names of classes and functions in pickles: which are tensors, harmless, or known attacks."""

from __future__ import annotations

import _compat_pickle
import re

from marsmith.weights.dtypes import DTYPES

# What torch.load(weights_only=True) allows, and Python's own types of values.
_TENSORS = re.compile(
    rf"torch\.({'|'.join(DTYPES)}|u?int[1-7]|qu?int\w+|Size|device|per_\w+_(affine|symmetric)\w*)"
    r"|torch\.(storage\.|cuda\.)?(sparse\.)?(\w*Tensor|\w*Storage)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|collections\.(OrderedDict|Counter|defaultdict)|_codecs\.encode"
    r"|(__builtin__|builtins)\.(set|dict|list|tuple|int|float|bool|complex|bytearray|slice|range)"
)
# Containers and values that checkpoints hold beside tensors. Their constructors store what they are
# given: none imports, calls, opens or evaluates it, and importing their modules does nothing else.
_VALUES = re.compile(
    r"builtins\.(object|str|bytes|frozenset)|copyreg\.(_reconstructor|__newobj__|__newobj_ex__)"
    r"|collections\.(deque|UserDict|UserList|ChainMap)|array\.(array|_array_reconstructor)"
    r"|datetime\.(date|datetime|time|timedelta|timezone)|decimal\.Decimal|fractions\.Fraction"
    r"|pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path|uuid\.UUID|argparse\.Namespace"
    r"|types\.SimpleNamespace|typing\.(Any|Dict|List|Optional|Tuple|Union)"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+DType|_?core\.multiarray\.(_reconstruct|scalar))"
    r"|numpy\._?core\.numeric\._frombuffer"
    r"|numpy\.(bool|u?int|float|complex|str|bytes|void|object|longdouble|datetime|timedelta)\d*_?"
    r"|numpy\.random\._pickle\.__(randomstate|generator|bit_generator)_ctor"
    r"|numpy\.random\.(_mt19937\.MT19937|_pcg64\.PCG64)|joblib\.numpy_pickle\.NumpyArrayWrapper"
    r"|torch\.(torch_version\.)?TorchVersion"
    r"|torch\.jit\._pickle\.(build_\w+|restore_type_tag)|__torch__\.[\w.]+"  # TorchScript
    r"|omegaconf\.(dictconfig\.DictConfig|listconfig\.ListConfig|nodes\.\w+Node)"
    r"|omegaconf\.base\.(Container)?Metadata|easydict\.EasyDict|addict\.(addict\.)?Dict"
    r"|yacs\.config\.CfgNode|(pytorch_lightning|lightning(\.pytorch|\.fabric|_fabric)?)"
    r"\.utilities\.(parsing|data)\.AttributeDict"
)
# What an attack uses and no checkpoint needs: programs, files, the network.
_HOSTILE = re.compile(
    r"(^|\.)(os|posix|nt|subprocess|sys|pty|shutil|socket|ctypes|importlib|runpy|webbrowser)\."
    r"|^(pip|asyncio|urllib\.request|requests|http|ftplib|smtplib|ensurepip|pydoc|doctest|timeit"
    r"|cProfile|profile\.run|trace\.Trace|pdb|bdb|distutils|multiprocessing\.util"
    r"|numpy\.testing\._private\.utils\.runstring|torch\.utils\.collect_env"
    r"|code\.(interact|Interactive\w+)|commands\.get\w+|_posixsubprocess|marshal|pickle|io"
    r"|torch\.(hub|load|ops|utils\.cpp_extension))\b"
    r"|^(builtins|__builtin__)\.(eval|exec|execfile|compile|open|file|input|__import__|apply|vars"
    r"|globals|setattr)(\.|$)"
)


def is_tensor(name: str) -> bool:
    """Return whether a name only stands for tensors or plain values, as state_dicts have them."""
    return _TENSORS.fullmatch(name) is not None


def is_harmless(name: str) -> bool:
    """Return whether unpickling a name runs nothing but the constructor of a value.

    Names are Python 3's, see `today`.
    """
    return is_tensor(name) or _VALUES.fullmatch(name) is not None


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
