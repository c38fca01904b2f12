"""The layers of docs/architecture.md: a module imports from its own layer or lower ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = [
    "__init__ errors findings",
    "toml_lines spec_schema spec archives_lock manifest properties pictures samples python_source "
    "dtypes pickled_names state_dict_names layers bodies worker_log messages imported_names "
    "downloads worker_protocol answer_differences agreement toml_editing tuning_space "
    "frontier load_result exposure routing log_records log_entries log_config "
    "exposition figures",
    "replacing locking ports processes project stored_zip contents containers archive archiver "
    "tensors stand_ins inert_pickle pickle_scan torch_zip torch_legacy safetensors_file checkpoint "
    "state_dict_file state_dicts weights exported_program onnx_file model_files archive_parts "
    "tensor_differences file_differences java "
    "log_files log_tails environment forking server server_state running protos client "
    "stop_signals worker_notes worker_process in_process runtime "
    "certificates self_signed tokens signing_keys signing requirements distributions calibration "
    "load_connection load measurements",
    "verify building locked_building bill_of_materials exporting extracting inspecting "
    "comparing readiness sampling connecting serving check_targets checking variants trial_server "
    "trial study tuning finals winning guarding server_logs watching canary deployments "
    "placing tidying draining scaling proving beginning reviving supervising operating switching "
    "rollout",
    "cli __main__ children pytest_plugin",
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
# All that layers 0 and 1 import: nothing of it reads, writes, waits or connects.
PURE = "__future__ _compat_pickle ast collections dataclasses datetime difflib enum ipaddress json "
PURE += "marsmith math PIL http io prometheus_client pydantic_core re struct sys tomli tomllib "
PURE += "typing urllib xml"
IO = "open input exec eval sys.stdin sys.stdout sys.stderr sys.argv"
PRINTS_OR_EXITS = "print exit quit sys.exit os._exit sys.stdout sys.stderr click rich"
SOURCES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "marsmith").rglob("*.py"))}
SHIPPED = [path for name in ("handlers", "model_defs") for path in (ROOT / name).rglob("*.py")]
NOT_OURS = {"torch", "torchvision", "ts", "handlers", "model_defs", *(p.stem for p in SHIPPED)}


def own_module(source: str) -> str:
    """Turn `marsmith/cli/build.py` into `cli`, `marsmith/spec.py` into `spec`."""
    return source.split("/")[1].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the full names that a file imports anywhere, also within functions."""
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def names_used(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    return {ast.unparse(node) for node in nodes if isinstance(node, (ast.Name, ast.Attribute))}


def test_every_module_is_in_a_layer_and_every_layer_names_modules_that_exist() -> None:
    assert {own_module(source) for source in SOURCES} == LAYER_OF.keys()


@pytest.mark.parametrize("source", SOURCES)
def test_a_module_imports_only_from_its_own_layer_or_lower_ones(source: str) -> None:
    own = {name.split(".")[1] for name in imports(SOURCES[source]) if name.startswith("marsmith.")}
    modules = {name if name in LAYER_OF else "__init__" for name in own}
    assert {name for name in modules if LAYER_OF[name] > LAYER_OF[own_module(source)]} == set()


@pytest.mark.parametrize("source", [s for s in SOURCES if LAYER_OF.get(own_module(s), 0) < 2])
def test_layers_0_and_1_do_no_io(source: str) -> None:
    assert packages(SOURCES[source]) - set(PURE.split()) == set()
    assert names_used(SOURCES[source]) & set(IO.split()) == set()


@pytest.mark.parametrize("source", [s for s in SOURCES if LAYER_OF.get(own_module(s), 0) < 4])
def test_layers_0_to_3_never_print_and_never_exit(source: str) -> None:
    used = names_used(SOURCES[source]) | packages(SOURCES[source])
    assert used & set(PRINTS_OR_EXITS.split()) == set()


@pytest.mark.parametrize("source", [s for s in SOURCES if own_module(s) != "children"])
def test_marsmith_imports_neither_torch_nor_what_runs_inside_a_worker(source: str) -> None:
    assert packages(SOURCES[source]) & NOT_OURS == set()
    assert not any(name.startswith("marsmith.children") for name in imports(SOURCES[source]))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_runs_inside_a_worker_never_imports_marsmith(path: Path) -> None:
    assert "marsmith" not in packages(path)
