"""marsmith/check/context_keys.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.check.context_keys import KEYS, check_context_keys
from tests.unit.check.archives import module, subject


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("context.system_properties['model']", [1]),
        ("context.system_properties.get('model')", [1]),
        ("\nproperties = context.system_properties\nproperties['gpu']", [3]),
        ("p = self.context.system_properties\np.get('gpu')\np['batch']", [2, 3]),
        ("context.system_properties['model_dir']", []),
        ("context.system_properties.get('model', None)", []),
        ("context.system_properties.get('model', default=1)", []),
        ("context.system_properties[key]", []),
        ("other['model']", []),
        ("context.manifest['model']", []),
    ],
)
def test_a_key_that_torchserve_never_sets_is_found(
    tmp_path: Path, code: str, lines: list[int]
) -> None:
    archive = subject(tmp_path, {"h.py": code})
    found = list(check_context_keys(archive, module(archive)))
    assert [(one.rule, one.line, one.presumed) for one in found] == [
        ("context-key", line, True) for line in lines
    ]


@pytest.mark.parametrize("key", KEYS)
def test_each_key_that_it_sets_is_known(tmp_path: Path, key: str) -> None:
    archive = subject(tmp_path, {"h.py": f"context.system_properties[{key!r}]"})
    assert list(check_context_keys(archive, module(archive))) == []
