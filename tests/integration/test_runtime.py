"""The runtime beside TorchServe itself: what one puts on the wire, the other returns."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request, Response
from marsmith.client.http import Client
from marsmith.core.errors import WorkerError
from marsmith.torchserve.ports import free_ports
from marsmith.worker.runtime import Runtime
from tests.integration.kit import ROOT, Kit, Served, leftovers, wait_for

FROM_FRONT_END = {"x-request-id", "pragma", "cache-control", "expires", "content-length"}
FROM_FRONT_END |= {"connection", "transfer-encoding"}

# What a handler may do, by the request header that asks for it: how it answers a list of requests.
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
    "no_list": "return {'a': 1}",
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
    "echo": """
    own = {k: v for k, v in data[0].items()}
    seen = {k: str(v) for k, v in context.get_all_request_header(0).items()}
    seen = {k: v for k, v in seen.items() if k.lower() in ('body', 'content-type', 'explain')}
    return [f'{own} {seen} {sys.path[0] == os.getcwd()} {context.model_name} {context.manifest}'
            f'{context.model_yaml_config} {sorted(context.system_properties)}']""",
    "rows": """
    return [{k: [type(v).__name__, str(v)] for k, v in row.items()} for row in data]""",
    "dies": "sys.exit(3)",
}
START = """import os, sys, torch
from ts.utils.util import PredictionException
def handle(data, context):
    return data and globals()[context.get_request_header(0, 'do')](data, context)
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of an archive that does all this."""
    kit = Kit(tmp_path_factory.mktemp("odd"))
    functions = [f"def {name}(data, context):\n    {body}\n" for name, body in HANDLERS.items()]
    kit.write("own.py", START + "".join(functions))
    serving = "serving = { minWorkers = 1, maxWorkers = 1 }\n"
    kit.write("archives.toml", f'[archives.odd]\nversion = "1"\nhandler = "own.py"\n{serving}')
    kit.write("config.properties", (ROOT / "config.properties").read_text())
    kit("build")
    port = free_ports(5)
    kit("serve", "--background", "--port", port)
    yield Served(kit, port)
    kit("stop", "--port", port)


@pytest.fixture(scope="module")
def running(odd: Served) -> Iterator[Runtime]:
    """The same archive in a runtime."""
    with Runtime(odd.kit.root / "model_store" / "odd.mar") as run:
        yield run


def over_http(
    served: Served, name: str, body: bytes, content_type: str, do: str = ""
) -> httpx2.Response:
    headers = {"Content-Type": content_type} if content_type else {}
    url = served.url(f"/predictions/{name}")
    headers |= {"do": do}
    return httpx2.put(url, content=body, headers=headers, timeout=60, trust_env=False)


def assert_same(served: httpx2.Response, own: Response) -> None:
    assert (own.status, own.body) == (served.status_code, served.content)
    assert own.reason == served.reason_phrase
    headers = {k: v for k, v in served.headers.items() if k not in FROM_FRONT_END}
    assert {k: v for k, v in own.headers.items() if k not in FROM_FRONT_END} == headers


@pytest.mark.parametrize("do", HANDLERS)
def test_the_runtime_answers_as_torchserve_does(odd: Served, running: Runtime, do: str) -> None:
    requests = [(b"x", ""), (b'{"a": 1}', "application/json"), (b"t", "text/plain"), (b"{", "x/y")]
    for body, content_type in requests[: 1 if do == "dies" else None]:
        served = over_http(odd, "odd", body, content_type, do)
        own = running.predict(body, content_type=content_type, headers={"do": do})
        assert_same(served, own)
    if do == "dies":
        wait_for(lambda: over_http(odd, "odd", b"x", "", "text").is_success, "another worker")


REQUESTS = {
    "form with files": form(
        [Field("image", b"\x89\r\n--x", "a.png", "image/png"), Field("mask", b"\x00", "m.bin")]
    ),
    "form with texts": form([Field("strength", b"0.5"), Field("name", "grün".encode())]),
    "form with JSON": form([Field("data", b'{"a": [1]}', "a.json", "application/json")]),
    "form with a text file": form([Field("data", b"a text", "a.txt", "text/plain")]),
    "a name twice": form([Field("a", b"1"), Field("a", b"2")]),
    "JSON": Request(b'{"a": [1, null]}', "application/json"),
    "JSON in UTF-8": Request('{"ä": 1}'.encode(), "application/json; charset=utf-8"),
    "broken JSON": Request(b'{"a"', "application/json"),
    "a text": Request("grün".encode(), "text/plain"),
    "URL-encoded": Request(b"a=1&b=x+y%20z&c=", "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_of_any_form_reaches_the_handler_as_from_torchserve(
    odd: Served, running: Runtime, kind: str
) -> None:
    request = replace(REQUESTS[kind], headers={"do": "rows"})
    with Client(odd.url("")) as client:
        assert_same_answer(client.predict("odd", request), running.predict(request))


def assert_same_answer(served: Response, own: Response) -> None:
    assert (served.status, served.values) == (own.status, own.values)
    assert own.ok


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left, neither process nor file, of what a test runs."""
    with tempfile.TemporaryDirectory(prefix="clean") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert leftovers(folder) == []
        assert list(Path(folder).iterdir()) == []


@pytest.fixture
def archive(odd: Served) -> Path:
    return odd.kit.root / "model_store" / "odd.mar"


def test_in_this_process_it_answers_the_same(archive: Path, running: Runtime) -> None:
    before = Path.cwd(), list(sys.path)
    with Runtime(archive, in_process=True) as run:
        for do in ("headers", "raises", "values", "parts"):
            assert run.predict(b"x", headers={"do": do}) == running.predict(
                b"x", headers={"do": do}
            )
        assert "own" in sys.modules
    assert "own" not in sys.modules
    assert (Path.cwd(), sys.path) == before


TWICE = """
from pathlib import Path
from marsmith.worker.runtime import Runtime
for _ in range(2):
    with Runtime("model_store/digits.mar", in_process=True) as run:
        for _ in range(2):
            print(run.predict(Path("samples/seven.png").read_bytes()).json()["label"])
"""


def test_the_kits_own_handler_in_this_process(kit: Kit) -> None:
    """It changes how its worker reads; the process that lends itself must not notice."""
    kit("build")
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", TWICE]
    result = subprocess.run(
        command, cwd=kit.root, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout.split()) == (0, ["7"] * 4), result.stderr


def test_a_batch_is_answered_in_order(kit: Kit) -> None:
    kit("build")
    with Runtime(kit.root / "model_store" / "digits.mar") as run:
        bodies = [
            (ROOT / "samples" / name).read_bytes() for name in ("seven.png", "three-photo.jpg")
        ]
        answers = run.predict_batch([Request(body) for body in (*bodies, b"text", *bodies)])
    assert [answer.status for answer in answers] == [200, 200, 400, 200, 200]
    assert [a.json()["label"] for a in answers if a.ok] == ["7", "3", "7", "3"]


def test_answers_in_parts_come_whole_and_to_their_requests(running: Runtime) -> None:
    answers = running.predict_batch(
        [Request(body, headers={"do": "parts"}) for body in (b"x", b"y")]
    )
    assert [answer.body for answer in answers] == [b"one two done"] * 2
    assert [answer.headers["ts_stream_next"] for answer in answers] == ["true"] * 2


def test_the_traceback_of_a_failed_request_has_the_users_file_names(running: Runtime) -> None:
    start = len(running.log())
    assert running.predict(b"x", headers={"do": "raises"}).status == 503
    lines = running.traceback(lambda entry: f"handlers/{entry}", start)
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no"
    assert any(line.startswith('  File "handlers/own.py", line ') for line in lines)
    assert "/models/" not in "".join(lines)


@pytest.mark.usefixtures("clean")
def test_a_worker_that_died_is_replaced(archive: Path) -> None:
    with Runtime(archive) as run:
        answers = [run.predict(b"x", headers={"do": do}) for do in ("dies", "dies", "text")]
    assert [answer.status for answer in answers] == [500, 500, 200]


def test_the_fixture_comes_with_the_installation(archive: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.parametrize("in_process", [True, False])
        def test_own(run_archive, in_process):
            run = run_archive("{archive}", in_process=in_process)
            assert run.predict(b"x", headers={{"do": "values"}}).json() == {{"ä": [1, 2.5, None]}}
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


@pytest.mark.usefixtures("clean")
def test_what_a_worker_cannot_load_is_named(kit: Kit) -> None:
    (kit.root / "handlers" / "digit_classifier.py").write_text(
        "from marsmith_handlers.image_classifier import ImageClassifier\nimport not_there\n"
        "class Own(ImageClassifier): pass\n"
    )
    kit("build")
    run = Runtime(kit.root / "model_store" / "digits.mar")
    with pytest.raises(WorkerError) as caught:
        run.start()
    assert run.traceback()[-1] == "ModuleNotFoundError: No module named 'not_there'"
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
