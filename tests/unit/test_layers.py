"""The rooms of docs/explanation/architecture.md, their order, and what none of them may do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A module imports from its own room and from rooms above it in this list.
ROOM_ORDER = """
core answers archive weights torchserve project client security worker building init inspect check
server deploy gateway tune cli programs
"""
ROOMS = ROOM_ORDER.split()
TOP = {"__init__", "__main__", "pytest_plugin"}
# These turn text into data: they read no file, wait for nothing and open no connection.
NO_IO_MODULES = """
core/errors core/extras core/findings core/suggestions core/worker_bounds
weights/dtypes weights/pickle_names weights/state_dict_names weights/state_dict_differences
answers/messages answers/forms answers/pictures answers/samples answers/agreement
archive/manifest
torchserve/properties torchserve/front_end torchserve/worker_protocol torchserve/load_failure
torchserve/log_records torchserve/tracebacks torchserve/withheld torchserve/worker_lines
torchserve/log_entries torchserve/log_config torchserve/metrics_text torchserve/metrics
project/toml_lines project/spec_schema project/spec project/lockfile project/python_outline
project/python_imports project/toml_editor project/gateway_schema project/gateway_table
project/answer_template
deploy/canary_routes client/http1 security/exposure_rules
inspect/answer_differences inspect/describe_body inspect/model_layers
check/downloads gateway/refusals tune/space tune/load_result tune/pareto
"""
NO_IO = NO_IO_MODULES.split()
# All that they import.
PURE = "__future__ _compat_pickle ast collections dataclasses datetime difflib email enum "
PURE += "functools hashlib http httptools io ipaddress itertools json marsmith math PIL "
PURE += "prometheus_client pydantic_core re struct sys tomli tomlkit tomllib typing urllib xml"
IO = "open input exec eval sys.stdin sys.stdout sys.stderr sys.argv"
MAY_PRINT = {"", "cli", "programs"}
PRINTS_OR_EXITS = "print exit quit sys.exit os._exit sys.stdout sys.stderr click rich"
SOURCES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "marsmith").rglob("*.py"))}
SHIPPED = [path for name in ("handlers", "model_defs") for path in (ROOT / name).rglob("*.py")]
# With Runtime(in_process=True) a handler and the worker's code run in the caller's process.
IN_PROCESS = "marsmith/worker/in_process.py"
NOT_OURS = {"torch", "torchvision", "ts", "handlers", "model_defs", *(p.stem for p in SHIPPED)}


def room(source: str) -> str:
    """Turn `marsmith/cli/build.py` into `cli`, `marsmith/__init__.py` into nothing."""
    return source.split("/")[1] if source.count("/") > 1 else ""


def imports(path: Path) -> set[str]:
    """Return the full names that a file imports anywhere, also by import_module("a literal")."""
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def names_used(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    return {ast.unparse(node) for node in nodes if isinstance(node, (ast.Name, ast.Attribute))}


def rooms_of(path: Path) -> set[str]:
    """Return the rooms that a file imports from; of the package itself only the version is free."""
    own = {name.split(".")[1] for name in imports(path) if name.startswith("marsmith.")}
    assert own <= {"__version__", *ROOMS}, "the package's face is for users"
    return own & set(ROOMS)


def test_every_module_is_in_a_room() -> None:
    loose = {Path(source).stem for source in SOURCES if not room(source)}
    assert {room(source) for source in SOURCES} - {""} == set(ROOMS)
    assert loose == TOP


@pytest.mark.parametrize("source", [source for source in SOURCES if room(source)])
def test_a_module_imports_only_from_its_own_room_or_rooms_above(source: str) -> None:
    place = ROOMS.index("programs" if source == IN_PROCESS else room(source))
    assert {name for name in rooms_of(SOURCES[source]) if ROOMS.index(name) > place} == set()


@pytest.mark.parametrize("name", NO_IO)
def test_modules_that_turn_text_into_data_do_no_io(name: str) -> None:
    path = SOURCES[f"marsmith/{name}.py"]
    assert packages(path) - set(PURE.split()) == set()
    assert names_used(path) & set(IO.split()) == set()
    own = {name.replace(".", "/") for name in imports(path) if name.startswith("marsmith.")}
    modules = {"/".join(name.split("/")[1:3]) for name in own}
    assert modules - set(NO_IO) == set()


@pytest.mark.parametrize("source", [s for s in SOURCES if room(s) not in MAY_PRINT])
def test_only_the_command_line_prints_and_exits(source: str) -> None:
    used = names_used(SOURCES[source]) | packages(SOURCES[source])
    assert used & set(PRINTS_OR_EXITS.split()) == set()


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if room(s) != "programs" and s != IN_PROCESS]
)
def test_only_programs_import_torch_and_nothing_imports_programs(source: str) -> None:
    assert packages(SOURCES[source]) & NOT_OURS == set()
    assert not any(name.startswith("marsmith.programs") for name in imports(SOURCES[source]))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_runs_inside_a_worker_never_imports_marsmith(path: Path) -> None:
    assert "marsmith" not in packages(path)
