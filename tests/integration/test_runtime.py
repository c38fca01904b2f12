"""The runtime beside TorchServe itself: what one puts on the wire, the other returns."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marsmith.errors import WorkerError
from marsmith.messages import Request, Response
from marsmith.ports import free_ports
from marsmith.runtime import Runtime
from tests.integration.kit import BIN, ROOT, Kit, Served, leftovers

FROM_FRONT_END = {"x-request-id", "pragma", "cache-control", "expires", "content-length"}
FROM_FRONT_END |= {"connection", "transfer-encoding"}

# What a handler may do, by its name: how `handle` answers a list of requests.
HANDLERS = {
    "text": "return ['text'] * len(data)",
    "bytes": "return [b'\\x00\\xff'] * len(data)",
    "values": "return [{'ä': [1, 2.5, None]}] * len(data)",
    "tensor": "return [torch.arange(3.0)] * len(data)",
    "headers": """
    for i in range(len(data)):
        context.set_response_header(i, 'X-Own', 'a b')
        context.set_response_content_type(i, 'text/csv; charset=utf-8')
        context.set_response_status(418, 'I am a teapot', i)
    return ['a,b'] * len(data)""",
    "status": "context.set_all_response_status(404); return ['gone'] * len(data)",
    "raises": "raise ValueError('no')",
    "refuses": "raise PredictionException('not so', 422)",
    "forgets": "return ['one'] * (len(data) + 1)",
    "no-list": "return {'a': 1}",
    "odd": "return [{1, 2}] * len(data)",
    "parts": """
    from ts.handler_utils.utils import send_intermediate_predict_response
    context.set_response_content_type(0, 'text/plain')
    for part in ('one ', b'two '):
        send_intermediate_predict_response(
            [part] * len(data), context.request_ids, 'part', 200, context
        )
    return ['done'] * len(data)""",
    "memory": "raise MemoryError",
    "dies": "sys.exit(3)",
    "echo": """
    own = {k: v for k, v in data[0].items()}
    seen = {k: str(v) for k, v in context.get_all_request_header(0).items()}
    seen = {k: v for k, v in seen.items() if k.lower() in ('body', 'content-type', 'explain')}
    return [f'{own} {seen} {sys.path[0] == os.getcwd()} {context.model_name} {context.manifest}'
            f'{context.model_yaml_config} {sorted(context.system_properties)}']""",
}
START = """import os, sys, torch
from ts.utils.util import PredictionException
def handle(data, context):
    if data is None: return
    """


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of all these handlers."""
    root = tmp_path_factory.mktemp("odd")
    kit, tables = Kit(root), []
    for name, body in HANDLERS.items():
        kit.write(f"h_{name}.py", START + body)
        tables.append(f'[archives.{name}]\nversion = "1"\nhandler = "h_{name}.py"\n')
        tables.append(f"[archives.{name}.serving]\nminWorkers = 1\nmaxWorkers = 1\n")
    kit.write("archives.toml", "\n".join(tables))
    kit.write("config.properties", (ROOT / "config.properties").read_text())
    kit("build")
    port = free_ports(5)
    kit("serve", "--background", "--port", port)
    yield Served(kit, port)
    kit("stop", "--port", port)


def over_http(served: Served, name: str, body: bytes, content_type: str) -> httpx.Response:
    headers = {"Content-Type": content_type} if content_type else {}
    url = served.url(f"/predictions/{name}")
    return httpx.put(url, content=body, headers=headers, timeout=60, trust_env=False)


def assert_same(served: httpx.Response, own: Response) -> None:
    assert (own.status, own.body) == (served.status_code, served.content)
    assert own.reason == served.reason_phrase
    headers = {k: v for k, v in served.headers.items() if k not in FROM_FRONT_END}
    assert {k: v for k, v in own.headers.items() if k not in FROM_FRONT_END} == headers


@pytest.mark.parametrize("name", HANDLERS)
def test_the_runtime_answers_as_torchserve_does(odd: Served, name: str) -> None:
    requests = [(b"x", ""), (b'{"a": 1}', "application/json"), (b"t", "text/plain"), (b"{", "x/y")]
    with Runtime(odd.kit.root / "model_store" / f"{name}.mar") as run:
        for body, content_type in requests:
            served = over_http(odd, name, body, content_type)
            assert_same(served, run.predict(body, content_type=content_type))


def test_all_archives_answer_their_samples_as_torchserve_does(served: Served) -> None:
    for path in sorted((served.kit.root / "model_store").glob("[!.]*.mar")):
        with Runtime(path) as run:
            assert run.archive.samples
            for sample in run.archive.samples:
                body = run.archive.read(sample.request)
                assert_same(over_http(served, path.stem, body, ""), run.predict(body))


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left, neither process nor file, of what a test runs."""
    with tempfile.TemporaryDirectory(prefix="clean") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert leftovers(folder) == []
        assert list(Path(folder).iterdir()) == []


@pytest.fixture
def store(odd: Served) -> Path:
    return odd.kit.root / "model_store"


def test_in_this_process_it_answers_the_same(store: Path) -> None:
    before = Path.cwd(), list(sys.path)
    for name in ("headers", "raises", "values", "parts"):
        with Runtime(store / f"{name}.mar") as run:
            expected = run.predict(b"x")
        with Runtime(store / f"{name}.mar", in_process=True) as run:
            assert run.predict(b"x") == expected
            assert "h_" + name in sys.modules
        assert "h_" + name not in sys.modules
    assert (Path.cwd(), sys.path) == before


TWICE = """
from pathlib import Path
from marsmith.runtime import Runtime
for _ in range(2):
    with Runtime("model_store/digits.mar", in_process=True) as run:
        for _ in range(2):
            print(run.predict(Path("samples/seven.png").read_bytes()).json()["label"])
"""


def test_the_kits_own_handler_in_this_process(served: Served) -> None:
    """It changes how its worker reads; the process that lends itself must not notice."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", TWICE]
    result = subprocess.run(
        command, cwd=served.kit.root, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout.split()) == (0, ["7"] * 4), result.stderr


def test_a_batch_is_answered_in_order(served: Served) -> None:
    with Runtime(served.kit.root / "model_store" / "digits.mar") as run:
        bodies = [
            (ROOT / "samples" / name).read_bytes() for name in ("seven.png", "three-photo.jpg")
        ]
        answers = run.predict_batch([Request.of(body) for body in (*bodies, b"text", *bodies)])
    assert [answer.status for answer in answers] == [200, 200, 400, 200, 200]
    assert [a.json()["label"] for a in answers if a.ok] == ["7", "3", "7", "3"]


def test_answers_in_parts_come_whole_and_to_their_requests(store: Path) -> None:
    with Runtime(store / "parts.mar") as run:
        answers = run.predict_batch([Request.of(b"x"), Request.of(b"y")])
    assert [answer.body for answer in answers] == [b"one two done"] * 2
    assert [answer.headers["ts_stream_next"] for answer in answers] == ["true"] * 2


@pytest.mark.usefixtures("clean")
def test_a_worker_that_died_is_replaced(store: Path) -> None:
    with Runtime(store / "dies.mar") as run:
        assert [run.predict(b"x").status for _ in range(2)] == [500, 500]


def test_the_fixture_comes_with_the_installation(store: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.parametrize("in_process", [True, False])
        def test_own(run_archive, in_process):
            run = run_archive("{store}/values.mar", in_process=in_process)
            assert run.predict(b"x").json() == {{"ä": [1, 2.5, None]}}
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


@pytest.mark.parametrize("form", ["default", "zip-store", "tgz", "no-archive"])
def test_every_form_of_torch_model_archiver_opens(tmp_path: Path, form: str) -> None:
    (tmp_path / "own.py").write_text(START + HANDLERS["values"])
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "deep").mkdir()
    (tmp_path / "extra" / "deep" / "file.txt").write_text("x")
    command = [str(BIN / "torch-model-archiver"), "--model-name", "own", "--version", "1"]
    command += ["--handler", "own.py", "--extra-files", "extra", "--archive-format", form]
    subprocess.run([*command, "--export-path", "."], cwd=tmp_path, check=True)
    ending = {"tgz": ".tar.gz", "no-archive": ""}.get(form, ".mar")
    with Runtime(tmp_path / f"own{ending}") as run:
        assert run.archive.name == "own"
        assert "deep/file.txt" in run.archive.names
        assert run.predict(b"x").json() == {"ä": [1, 2.5, None]}


@pytest.mark.usefixtures("clean")
def test_what_a_worker_cannot_load_is_named(kit: Kit) -> None:
    (kit.root / "handlers" / "digit_classifier.py").write_text(
        "from image_classifier import ImageClassifier\nimport not_there\n"
        "class Own(ImageClassifier): pass\n"
    )
    kit("build")
    with pytest.raises(WorkerError) as caught, Runtime(kit.root / "model_store" / "digits.mar"):
        pass
    assert "digit_classifier.py:2: ModuleNotFoundError" in caught.value.message
    assert "extra_files" in caught.value.hint


@pytest.mark.usefixtures("clean")
def test_a_worker_that_hangs_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\ndef handle(data, context): time.sleep(data and 99 or 0)\n"
    )
    (tmp_path / "MAR-INF").mkdir()
    manifest = {"model": {"modelName": "slow", "handler": "slow.py"}}
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    with Runtime(tmp_path, timeout=5) as run:
        assert run.predict(b"x").status == 500
