"""What archives tell of what their models take and give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marsmith.gateway.kserve.models import signature_of
from marsmith.gateway.kserve.rows import Signature
from tests.unit.gateway.kserve.archives import archive
from tests.unit.gateway.kserve.asking import Answering, ask

PNG, JPG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
JSON = "application/json"


IMAGE, ANY = ("image", "BYTES", [-1]), ("input", "BYTES", [-1])
OUTPUT, TYPE = ("output", "BYTES", [-1]), ("content_type", "BYTES", [-1])
LABEL = [("label", "BYTES", [-1]), ("scores", "FP64", [-1, -1])]
ANSWER = b'{"label": "7", "scores": [0.5, 1]}'
OURS = {"pictures": True, "tensors": True}
CHARSET = f"{JSON}; charset=utf-8"


@pytest.mark.parametrize(
    ("given", "inputs", "outputs", "how"),
    [
        ({"request": None}, [ANY], [OUTPUT], {}),
        ({"request": None, "ours": True}, [IMAGE], [OUTPUT], OURS),
        ({"request": b"YQ==", "response": ANSWER, "ours": True}, [IMAGE], LABEL, OURS),
        ({"request": JPG, "response": JPG, "ours": True}, [IMAGE], [IMAGE, TYPE], OURS),
        ({"request": PNG, "response": ANSWER}, [IMAGE], LABEL, {"pictures": True}),
        ({"request": PNG, "response": PNG}, [IMAGE], [OUTPUT], {"pictures": True}),
        (
            {"request": b"a,b", "response": b"1.5", "content_type": "text/csv"},
            [ANY],
            [("output", "FP64", [-1])],
            {"content_type": "text/csv"},
        ),
        (
            {"request": b'{"a": [1, 2], "b": "x"}', "response": b"[1]", "content_type": JSON},
            [("a", "INT64", [-1, -1]), ("b", "BYTES", [-1])],
            [("output", "INT64", [-1, -1])],
            {"keyed": True},
        ),
        (
            {"request": b"[[1.5]]", "response": b"2", "content_type": CHARSET},
            [ANY],
            [("output", "INT64", [-1])],
            {"content_type": CHARSET},
        ),
    ],
)
def test_the_sample_tells_inputs_and_outputs(
    tmp_path: Path, given: Any, inputs: Any, outputs: Any, how: Any
) -> None:
    signature = signature_of(archive(tmp_path, **given))
    assert [tuple(one.values()) for one in signature.inputs] == inputs
    assert [tuple(one.values()) for one in signature.outputs] == outputs
    assert replace(signature, inputs=(), outputs=()) == Signature((), (), **how)


def test_what_metadata_say_can_be_sent(tmp_path: Path) -> None:
    of = archive(tmp_path, b'{"a": [1, 2], "b": "x"}', content_type=JSON)
    backend = Answering(of=of)
    metadata = ask(backend, "/v2/models/m").json
    values = {"a": [[1, 2], [3, 4]], "b": ["x", "y"]}
    inputs = [
        {**one, "shape": [2, 2][: len(one["shape"])], "data": values[one["name"]]}
        for one in metadata["inputs"]
    ]
    assert ask(backend, "/v2/models/m/infer", {"inputs": inputs}).status == 200
    sent = [json.loads(call.request.body) for call in backend.calls]
    assert sent == [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": "y"}]


def test_a_damaged_archive_is_an_error_of_the_server(tmp_path: Path) -> None:
    of = archive(tmp_path, b"1")
    (tmp_path / "samples/samples.json").write_bytes(b"{")
    got = ask(Answering(of=of), "/v2/models/m")
    assert (got.status, got.json["code"]) == (500, "samples-unreadable")


@pytest.mark.parametrize(("envelope", "bodies"), [("kserve", 1), ("json", 1), ("body", 2)])
def test_an_envelope_reads_the_instances_itself(tmp_path: Path, envelope: str, bodies: int) -> None:
    backend = Answering(of=archive(tmp_path, None, envelope=envelope))
    body = {"instances": [1, 2]}
    got = ask(backend, "/v1/models/m:predict", body)
    assert got.json == (body if bodies == 1 else {"predictions": [1, 2]})
    assert len(backend.calls) == bodies
