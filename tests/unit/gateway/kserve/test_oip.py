"""The Open Inference Protocol over HTTP, over a back end that answers in this process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marsmith import __version__
from marsmith.answers.messages import Response
from tests.unit.gateway.backends import Said
from tests.unit.gateway.kserve.asking import Answering, ask

ROWS = {"a": 1, "b": "x"}
INFER = "/v2/models/m/infer"


def answering() -> Answering:
    return Answering(answer=lambda _: Response(200, "", {}, json.dumps(ROWS).encode()))


def infer(**values: Any) -> Said:
    inputs = [{"name": "x", "shape": [2], "datatype": "BYTES", "data": ["1", "2"]}]
    return ask(answering(), INFER, {"inputs": inputs, **values})


def test_server_says_what_it_is_and_whether_it_is_ready() -> None:
    said = ask(Answering(), "/v2").json
    assert (said["name"], said["version"]) == ("marsmith", __version__)
    assert ask(Answering(), "/v2/health/live").json == {"live": True}
    assert ask(Answering(), "/v2/health/ready").json == {"ready": True}
    down = Answering(up=False)
    assert (got := ask(down, "/v2/health/ready")).status == 503
    assert got.json == {"ready": False}
    assert ask(down, "/v2/models/m/ready").status == 503
    (one,) = ask(down, "/v2/repository/index", method="POST").json
    assert (one["name"], one["version"], one["state"]) == ("m", "1.0", "UNAVAILABLE")


def test_a_model_of_which_nothing_is_known_takes_bytes() -> None:
    for path in ("/v2/models/m", "/v2/models/m/versions/1.0"):
        assert ask(Answering(), path).json == {
            "name": "m",
            "versions": ["1.0"],
            "platform": "torchserve_mar",
            "inputs": [{"name": "input", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": "output", "datatype": "BYTES", "shape": [-1]}],
        }


@pytest.mark.parametrize("path", ["/v2/nope", "/v2/models/m/nope", "/v1/nope"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_is_none_is_refused_in_kserves_form(path: str, method: str) -> None:
    got = ask(Answering(), path, method=method)
    assert (got.status, got.json["code"]) == (404, "no-such-path")
    assert isinstance(got.json["error"], str)


@pytest.mark.parametrize(
    ("path", "method"), [("/v2", "POST"), ("/v2/models/m", "PUT"), (INFER, "GET")]
)
def test_another_method_is_refused_in_kserves_form(path: str, method: str) -> None:
    got = ask(Answering(), path, method=method)
    assert (got.status, got.json["code"]) == (405, "no-such-path")


def test_no_extension_is_announced_that_is_not_whole() -> None:
    assert ask(Answering(), "/v2").json["extensions"] == ["binary_tensor_data"]


@pytest.mark.parametrize("path", ["", "/ready", "/infer"])
@pytest.mark.parametrize("model", ["other", "m/versions/2"])
def test_what_is_not_there_is_404(model: str, path: str) -> None:
    inputs = [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["1"]}]
    body = {"inputs": inputs} if path == "/infer" else None
    got = ask(Answering(), f"/v2/models/{model}{path}", body)
    assert (got.status, got.headers["content-type"]) == (404, "application/json")
    assert isinstance(got.json["error"], str)


def test_inference_answers_with_json() -> None:
    got = infer(id="é")
    assert "inference-header-content-length" not in got.headers
    assert got.json == {
        "model_name": "m",
        "model_version": "1.0",
        "id": "é",
        "outputs": [
            {"name": "a", "datatype": "INT64", "shape": [2], "data": [1, 1]},
            {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["x", "x"]},
        ],
    }
    assert "id" not in infer().json


def test_outputs_come_as_asked_for_and_in_that_order() -> None:
    got = infer(outputs=[{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}])
    length = int(got.headers["inference-header-content-length"])
    assert json.loads(got.body[:length])["outputs"] == [
        {"name": "b", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}},
        {"name": "a", "datatype": "INT64", "shape": [2], "data": [1, 1]},
    ]
    assert got.body[length:] == b"\1\0\0\0x\1\0\0\0x"
    everything = infer(parameters={"binary_data_output": True})
    assert everything.body.endswith(b"\1\0\0\0\0\0\0\0" * 2 + b"\1\0\0\0x\1\0\0\0x")


def test_bytes_of_inputs_follow_the_json() -> None:
    backend = Answering()
    inputs = [
        {"name": "p", "shape": [1, 2], "datatype": "INT8", "parameters": {"binary_data_size": 2}},
        {"name": "q", "shape": [1], "datatype": "INT8", "data": [5]},
        {"name": "r", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}},
    ]
    head = json.dumps({"inputs": inputs}).encode()
    body = head + b"\1\2" + b"\2\0\0\0ab"
    got = ask(backend, INFER, body, {"Inference-Header-Content-Length": str(len(head))})
    assert got.status == 200
    assert json.loads(backend.calls[0].request.body) == {"p": [1, 2], "q": 5, "r": "ab"}


def one(**changed: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["1"], **changed}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [one(name="")]},
        {"inputs": [one(name=5)]},
        {"inputs": [one(), one()]},
        {"inputs": [one(parameters=[])]},
        {"inputs": [one(parameters={"binary_data_size": 0})]},
        {"inputs": [one(data=None, parameters={"binary_data_size": 1})]},
        {"inputs": [one(data=None, parameters={"binary_data_size": -1})]},
        {"inputs": [one(data=None, parameters={"binary_data_size": "5"})]},
        {"inputs": [one(data=None, parameters={"binary_data_size": True})]},
        {"inputs": [one()], "id": 5},
        {"inputs": [one()], "parameters": []},
        {"inputs": [one()], "outputs": [{}]},
        {"inputs": [one()], "outputs": {"name": "a"}},
        {"inputs": [one()], "outputs": [{"name": "missing"}]},
        {"inputs": [one(shape=[1025], data=["1"] * 1025)]},
    ],
)
def test_other_requests_are_refused(values: Any) -> None:
    got = ask(answering(), INFER, values)
    assert (got.status, got.json["code"]) == (400, "malformed-request")


@pytest.mark.parametrize(
    "length", ["-1", "1e3", "+1", "0x1", "99999", "9" * 5000, "", " 1", "²", "0", "1"]
)
def test_a_wrong_length_of_the_json_is_refused(length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    got = ask(answering(), INFER, {"inputs": [one()]}, headers)
    assert (got.status, got.json["code"]) == (400, "malformed-request")


def test_bytes_of_no_input_are_refused() -> None:
    head = json.dumps({"inputs": [one()]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    assert ask(answering(), INFER, head, headers).status == 200
    assert ask(answering(), INFER, head + b"\0", headers).status == 400
