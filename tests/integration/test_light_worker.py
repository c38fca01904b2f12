"""The worker without torch beside TorchServe's own: the same messages, the same bytes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from marsmith.answers.forms import Field, form
from marsmith.answers.messages import Request
from marsmith.core.errors import ClientError
from marsmith.core.processes import resident_memory
from marsmith.torchserve.worker_protocol import encode_batch, encode_load, read_batch, read_message
from marsmith.worker.process import WorkerGoneError, WorkerProcess
from marsmith.worker.runtime import Runtime
from tests.integration.test_odd_bodies import KINDS, MOST_GROWTH

ODD_BODIES = 480

# What a handler may do, by the request header that asks for it.
WAYS = {
    "text": "return ['grün'] * len(data)",
    "bytes": "return [b'\\x00\\xff', bytearray(b'x'), b''][: len(data)]",
    "values": "return [{'ä': [1, 2.5, None, float('nan')]}] * len(data)",
    "headers": """
    for i in range(len(data)):
        context.set_response_header(i, 'X-Own', 'a b')
        context.set_response_content_type(i, 'text/csv; charset=utf-8')
    context.set_response_status(418, 'I am a teapot', len(data) - 1)
    context._request_processor[0].report_status(None)
    return ['a,b'] * len(data)""",
    "status": "context.set_all_response_status(404); return ['gone'] * len(data)",
    "raises": "raise ValueError('no')",
    "cuda": "raise RuntimeError('CUDA error: out of memory')",
    "memory": "raise MemoryError",
    "forgets": "return ['one'] * (len(data) + 1)",
    "no_list": "return {'a': 1}",
    "odd": "return [{1, 2}] * len(data)",
    "stops": """
    context.stopping_criteria = [lambda one: True] * len(data)
    try:
        return ['last'] * len(data)
    finally:
        context.set_response_header(0, 'before', 'it')""",
    "goes_on": "context.set_response_header(0, 'ts_stream_next', 'true'); return ['a'] * len(data)",
    "metrics": """
    metrics = context.metrics
    metrics.add_counter('own', 1, 0)
    metrics.add_time('took', 0.5, 0, 's')
    metrics.add_size('big', 3, None, 'kB', [])
    metrics.add_percent('part', 50, dimensions=[])
    metrics.add_error('wrong', 1)
    metrics.add_metric_to_cache('mine', 'count').add_or_update(1)
    said = []
    for call in (lambda: metrics.add_time('took', 1, 0, 'h'), lambda: metrics.get_metric('none'),
                 lambda: metrics.add_size('big', 1, 0, 'PB'), lambda: metrics.get_metric('mine'),
                 lambda: metrics.get_metric('mine', 'gauge') and 1):
        try:
            call()
            said.append('taken')
        except (KeyError, ValueError, TypeError) as error:
            said.append(next(k.__name__ for k in (KeyError, ValueError, TypeError)
                             if isinstance(error, k)))
    return [{'said': said, 'model': metrics.model_name}] * len(data)""",
    "echo": """
    own = [dict(one) for one in data]
    headers = [context.get_all_request_header(i) for i in range(len(data))]
    ids = [context.get_request_id(i) for i in range(len(data))] + [context.get_request_id(99)]
    one = [context.get_request_header(0, 'X-Own'), context.get_response_content_type(0)]
    one += [context.get_response_status(0), context.get_sequence_id(0), context.request_ids]
    properties = {k: v for k, v in context.system_properties.items() if k != 'model_dir'}
    place = context.system_properties['model_dir'] == os.getcwd() == sys.path[0]
    return [f'{own} {headers} {ids} {one} {properties} {place} {context.model_name}'
            f'{context.manifest} {context.model_yaml_config}'] * len(data)""",
}
START = """import os, sys
def handle(data, context):
    if data is None:
        return None
    context.stopping_criteria = None
    return globals()[context.get_request_header(0, 'do')](data, context)
"""
REQUESTS = {
    "raw": [Request(b"x\xff")],
    "json": [Request(b'{"a": [1]}', "application/json", {"x-own": "1", "X-Own": "2"})],
    "damaged": [Request(b"{", "application/json"), Request(b"\xff", "text/plain")],
    "text": [Request("grün".encode(), "text/plain; charset=utf-8")],
    "form": [form([Field("body", b"1", "one.png", "image/png"), Field("more", b"2")])],
    "batch": [Request(b"a"), Request(b"b", "text/plain"), Request(b"c")],
}


def write_archive(folder: Path, code: str, **model: str) -> Path:
    """Write an archive as a folder: a handler and what its manifest says."""
    (folder / "MAR-INF").mkdir(parents=True)
    (folder / "own.py").write_text(code)
    (folder / "config.yaml").write_text("batchSize: 3\nhandler_config: {size: [28, 28]}\n")
    values = {"modelName": "own", "handler": "own.py", "configFile": "config.yaml", **model}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": values}))
    return folder


class Worker:
    """A worker that is asked with bytes, and whose answers are kept as bytes."""

    def __init__(self, code: str, *, torchserve: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="w")
        model = Path(self._folder.name).resolve() / "models" / ("0" * 32)
        write_archive(model, code)
        self._worker = WorkerProcess(model, 60, torchserve=torchserve)
        self._bytes = bytearray()
        self._load = encode_load("own", str(model), handler="own.py", batch_size=3)

    def load(self) -> bytes:
        self._worker.send(self._load)
        read_message(self._read)
        return self._taken()

    def ask(self, requests: list[Request]) -> bytes:
        ids = [f"id-{number}" for number in range(len(requests))]
        self._worker.send(encode_batch(requests, ids))
        read_batch(self._read, ids)
        return self._taken()

    def memory(self) -> int:
        """Return how many bytes it holds."""
        return resident_memory(self._worker.process.pid)

    def _read(self, size: int) -> bytes:
        data = self._worker.read(size)
        self._bytes += data
        return data

    def _taken(self) -> bytes:
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken

    def end(self) -> None:
        """Stop it."""
        self._worker.stop()
        self._folder.cleanup()

    def ending(self) -> tuple[int, str]:
        """Wait until it has ended; return its exit status and the last line of its log."""
        status, log = self._worker.process.wait(30), self._worker.log()
        self.end()
        return status, log.strip().splitlines()[-1].partition("0x")[0]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Worker, Worker]]:
    functions = [f"def {name}(data, context):\n    {body}\n" for name, body in WAYS.items()]
    code = START + "".join(functions)
    own, theirs = Worker(code, torchserve=False), Worker(code, torchserve=True)
    assert own.load() == theirs.load()
    yield own, theirs
    own.end()
    theirs.end()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", REQUESTS)
def test_it_answers_the_same_bytes(both: tuple[Worker, Worker], way: str, kind: str) -> None:
    requests = [replace(one, headers={**one.headers, "do": way}) for one in REQUESTS[kind]]
    own, theirs = (worker.ask(requests) for worker in both)
    assert own == theirs


def test_odd_bodies_neither_end_it_nor_stay_in_memory(both: tuple[Worker, Worker]) -> None:
    """A body that ends TorchServe's own worker would end this test as well."""
    own, theirs = both

    def ask(seed: int, *workers: Worker) -> None:
        chance = random.Random(seed)  # noqa: S311 (made-up bodies)
        for number in range(ODD_BODIES):
            content_type, body = KINDS[number % len(KINDS)](chance)
            request = Request(body, content_type, {"do": "echo"})
            with suppress(ClientError):  # a broken form, which no worker gets
                answers = {worker.ask([request]) for worker in workers}
                assert len(answers) == 1, (content_type, body[:100])

    ask(1, own, theirs)
    before = own.memory()
    ask(2, own)
    assert own.memory() - before < MOST_GROWTH["worker"]


@pytest.mark.parametrize(
    "code",
    [
        "def handle(data, context): raise RuntimeError('CUDA: none')",
        "def handle(data, context): raise MemoryError",
        "def handle(data, context): raise RuntimeError('no')",
        "def handle(data, context): raise ValueError('no')",
        "class One: pass\nclass Two: pass\n",
        "class One: pass\n",
        "x = ",
    ],
)
def test_it_fails_to_load_the_same(code: str) -> None:
    ends = []
    for torchserve in (False, True):
        worker = Worker(code, torchserve=torchserve)
        try:
            answer = worker.load()
        except WorkerGoneError:
            answer = b""
        ends.append((answer, *worker.ending()))
    own, theirs = ends
    assert own[:2] == theirs[:2]
    if not own[0]:
        assert own[2] == theirs[2]


ONNX_HANDLER = """
import sys
import numpy as np
import onnxruntime
class Handler:
    def initialize(self, context):
        folder = context.system_properties["model_dir"]
        self.session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
    def handle(self, data, context):
        rows = np.array([list(bytes(one["body"])) for one in data], "float32")
        (sums,) = self.session.run(None, {"x": rows})
        modules = sorted({"torch", "ts"} & set(sys.modules))
        return [{"sum": float(one), "modules": modules} for one in sums]
"""


def save_sum(path: Path) -> None:
    """Write a model that adds four numbers."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4], np.ones(4, "float32"))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [weights],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


@pytest.fixture
def onnx_archive(tmp_path: Path) -> Path:
    path = write_archive(tmp_path / "sum", ONNX_HANDLER, serializedFile="model.onnx")
    save_sum(path / "model.onnx")
    return path


@pytest.mark.parametrize("watched", [False, True])
def test_an_onnx_archive_is_run_without_torch(onnx_archive: Path, watched: bool) -> None:
    with Runtime(onnx_archive, watched=watched) as run:
        answers = run.predict_batch([Request(bytes([1, 2, 3, 4])), Request(bytes(4))])
    values = [answer.json() for answer in answers]
    assert values == [{"sum": 10.0, "modules": []}, {"sum": 0.0, "modules": []}]


def test_a_watched_light_worker_is_kept_from_the_network(tmp_path: Path) -> None:
    code = """
import urllib.request
def handle(data, context):
    try:
        urllib.request.urlopen("http://example.invalid/x")
    except OSError:
        return data and ["refused"]
"""
    with Runtime(write_archive(tmp_path / "own", code), watched=True) as run:
        assert run.predict(b"x").text == "refused"
        assert run.notes().network[0] == "http://example.invalid/x"


IN_PROCESS = """
import sys
from marsmith.worker.runtime import Runtime
from tests.integration.test_odd_bodies import KINDS, MOST_GROWTH

ODD_BODIES = 480
with Runtime(sys.argv[1], in_process=True) as run:
    print(run.predict(bytes([1, 2, 3, 4])).json(), run.predict(b"x").status)
print(sorted({"torch", "ts", "own"} & set(sys.modules)))
"""


def test_in_a_process_of_the_users_it_needs_no_torch_either(onnx_archive: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, onnx_archive],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.splitlines() == ["{'sum': 10.0, 'modules': []} 503", "[]"]
