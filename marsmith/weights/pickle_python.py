"""Which Python wrote the bytecode in a pickle of cloudpickle; nothing else can run it."""

from __future__ import annotations

import sys
from typing import Any

_MAKES_CODE = ("cloudpickle.cloudpickle._builtin_type", "types.CodeType")
_BEFORE_3_11, _SINCE_3_11 = 16, 18  # arguments of types.CodeType
# The number of an opcode that most functions have, and that the versions beside do not use.
_PRECALL_3_11, _RETURN_CONST_3_12 = 166, 121
_RESUME_3_13, _RESUME_3_12 = 149, 151
_START = 16  # bytes; a function begins with RESUME, behind its closure


def python_of(name: str, arguments: Any) -> str:
    """Return the Python that made the arguments of types.CodeType; "" if it is not told."""
    if name not in _MAKES_CODE or not isinstance(arguments, tuple):
        return ""
    if len(arguments) == _BEFORE_3_11:
        return "3.8 to 3.10"
    code = arguments[6] if len(arguments) == _SINCE_3_11 else b""
    made = getattr(code, "arguments", None)  # _codecs.encode(text, "latin1") of protocol 2
    if isinstance(made, tuple) and made and isinstance(made[0], str):
        code = made[0].encode("latin1", "replace")
    return _by_opcodes(code[::2]) if isinstance(code, bytes) else ""


def _by_opcodes(opcodes: bytes) -> str:
    if _RESUME_3_12 not in opcodes[:_START]:
        return "3.13" if _RESUME_3_13 in opcodes[:_START] else ""
    if _PRECALL_3_11 in opcodes:
        return "3.11"
    return "3.12" if _RETURN_CONST_3_12 in opcodes else ""


def is_other(python: str) -> bool:
    """Return whether it is another Python than this one."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    old = python == "3.8 to 3.10" and sys.version_info < (3, 11)
    return bool(python) and not old and python != own
