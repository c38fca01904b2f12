from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement

from marsmith.core.extras import MODULES, Extra, MissingExtraError, extra_of, install_hint
from marsmith.core.installed import is_installed, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]
# The distribution of each module that has another name.
DISTRIBUTIONS = {
    "ts": "torchserve",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "pillow_heif": "pillow-heif",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}


def test_each_extra_names_the_modules_that_pyproject_brings() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    brought = {
        extra: {Requirement(line).name for line in lines} - {"marsmith"}
        for extra, lines in extras.items()
    }
    named = {
        extra: {DISTRIBUTIONS.get(module, module) for module in modules}
        for extra, modules in MODULES.items()
    }
    assert named == brought
    assert set(get_args(Extra)) == set(extras)


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "torch"),
        ("torch.nn.functional", "torch"),
        ("ts.torch_handler", "torchserve"),
        ("google.protobuf", "grpc"),
        ("google", None),
        ("numpy", None),
    ],
)
def test_the_extra_of_a_module(module: str, extra: str | None) -> None:
    assert extra_of(module) == extra


def test_a_missing_module_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("serving", "torchserve")
    monkeypatch.setitem(MODULES, "tune", ("no_such_module", "nor.this"))
    with pytest.raises(MissingExtraError) as caught:
        require("tuning", "tune")
    assert caught.value.code == "missing-extra"
    assert re.search(r"^tuning .*no_such_module", caught.value.message)
    assert caught.value.hint == install_hint("tune") == "pip install 'marsmith[tune]'"
    assert not is_installed("nor.this")
