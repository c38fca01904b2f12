"""Operators of programs in files of PyTorch: TorchScript's code, and graphs of torch.export."""

from __future__ import annotations

import json
import re
from typing import BinaryIO

from marsmith.weights.pickle_names import shown

_LARGEST = 1 << 25  # bytes of a program's text
_SCRIPT = re.compile(r"(^|/)code/.*\.py$")
_BYTECODE = re.compile(r"(^|/)bytecode\.pkl$")
_GRAPH = re.compile(r"(^|/)(models/[^/]+|serialized_exported_program)\.json$")
_FLATBUFFER = b"PTMF"  # at byte 4: TorchScript for phones, which torch.jit.load reads too
_MACHINE_CODE = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_GAP = rb"(?:\s|\\\n|#[^\n]*\n)*"  # TorchScript allows it between names
_DOT = _GAP + rb"\." + _GAP
_NAMED = (
    re.compile(rb"\b(?P<space>torch)" + _DOT + rb"(?P<name>\w+)"),
    re.compile(rb"\bops" + _DOT + rb"(?P<space>\w+)" + _DOT + rb"(?P<name>\w+)"),
    re.compile(rb"\b__torch__\.torch\.classes\.(?P<space>\w+)\.(?P<name>\w+)"),
)
_LISTED = re.compile(rb"(?P<space>\w+)::(?P<name>\w+)")  # bytecode names operators so
# They read or write files, start programs, or reach other machines.
_ACTS = re.compile(
    r"aten::(_?save|from_file)|image::(read_file|write_file)|torchaudio::\w+|torchvision::read_video\w*"
    r"|prim::rpc_\w+|(c10d|_c10d\w*)::\w+|profiler::\w+|caffe2::\w+"
)
# What comes with PyTorch and torchvision.
_OWN = re.compile(
    r"aten|torch|prims?|_?quantized|quantized_decomposed|torchvision|image|mkldnn|onednn|sparse"
    r"|mkldnn_prepacked|prepacked|xnnpack|rnn|cuda|inductor|higher_order|nnapi"
)
_PLAIN_TARGETS = re.compile(
    r"_operator\.\w+|math\.\w+|torch\.(_?sym_\w+|_C\._set_grad_enabled)"
    r"|torch\.amp\.autocast_mode\._(enter|exit)_autocast"
)


def operators_in(file: BinaryIO, place: str) -> tuple[set[str], set[str]]:
    """Return the operators of a program that act on files or more, and those of other libraries.

    Neither for a file that is none. Raises ValueError if it is too large or too deeply nested.
    """
    file.seek(0)
    start = file.read(8)
    if place and start.startswith(_MACHINE_CODE):
        return set(), {"machine code"}
    named: set[str] = set()
    acts: set[str] = set()
    if _SCRIPT.search(place):
        named = _named(_content(file), *_NAMED)
    elif _BYTECODE.search(place) or start[4:8] == _FLATBUFFER:
        named = _named(_content(file), _LISTED)
    elif _GRAPH.search(place):
        targets = _targets(_content(file))
        named = {f"{space}::{name}" for space, name in filter(None, map(_of_ops, targets))}
        acts = {shown(one) for one in targets if not _of_ops(one) and not _is_plain(one)}
    acts |= {one for one in named if _ACTS.fullmatch(one)}
    custom = {one for one in named if not _OWN.fullmatch(one.partition("::")[0])}
    return acts, custom - acts


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("a program in it is too large to be searched")
    return content


def _named(text: bytes, *patterns: re.Pattern[bytes]) -> set[str]:
    """Return operators as PyTorch writes them: TorchScript calls those of aten by `torch`."""
    found = (one for pattern in patterns for one in pattern.finditer(text))
    pairs = {(one["space"].decode(), one["name"].decode()) for one in found}
    return {f"{'aten' if space == 'torch' else space}::{name}" for space, name in pairs}


def _targets(text: bytes) -> set[str]:
    """Return what the nodes of a graph call."""
    found: set[str] = set()

    def note(table: dict[str, object]) -> None:
        if isinstance(target := table.get("target"), str):
            found.add(target)

    try:
        json.loads(text, object_hook=note)
    except RecursionError:
        raise ValueError("a program in it is nested too deeply to be searched") from None
    except ValueError:
        pass  # PyTorch cannot read it either
    return found


def _of_ops(target: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)(\.\w+)?", target)
    return (found[1], found[2]) if found else None


def _is_plain(target: str) -> bool:
    """Return whether a target is arithmetic, or a name that PyTorch does not look up."""
    looked_up = target.startswith(("_operator", "torch", "math", "#"))
    return not looked_up or _PLAIN_TARGETS.fullmatch(target) is not None
