"""Every way in, kind of picture and way out, over all archives, through real TorchServe."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from marsmith.answers.samples import difference
from marsmith.client.grpc_wire import Wire
from marsmith.client.retries import ONCE, Deadline
from marsmith.client.tokens import StaticToken
from tests.integration.kit import ROOT, Served

SPEC = (ROOT / "archives.toml").read_text()
IMAGES = ["image/jpeg", "image/png", "image/webp"]
OFFERED = {
    "digits": ["application/json", "text/plain"],
    "cartoon": [*IMAGES, "application/json"],
    "line-art": [*IMAGES, "application/json"],
    "rotation": ["application/json", *IMAGES, "text/plain"],
}
ARCHIVES = [name for name in OFFERED if f"[archives.{name}]" in SPEC]
CAT = Image.open(ROOT / "samples" / "cat.jpg").resize((90, 60))
SEVEN = Image.open(ROOT / "samples" / "seven.png").copy()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture_of(archive: str) -> Image.Image:
    return SEVEN if archive == "digits" else CAT


def with_orientation(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda image: encoded(image, "PNG"),
    "PNG 1": lambda image: encoded(image.convert("1"), "PNG"),
    "PNG L": lambda image: encoded(image.convert("L"), "PNG"),
    "PNG LA": lambda image: encoded(image.convert("L").convert("LA"), "PNG"),
    "PNG P": lambda image: encoded(image.convert("RGB").quantize(128), "PNG"),
    "PNG RGBA": lambda image: encoded(image.convert("RGBA"), "PNG"),
    "PNG I;16": lambda image: encoded(
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"
    ),
    "JPEG": lambda image: encoded(image.convert("RGB"), "JPEG", quality=95),
    "JPEG CMYK": lambda image: encoded(image.convert("CMYK"), "JPEG", quality=95),
    "JPEG turned by EXIF": lambda image: with_orientation(image.convert("RGB")),
    "WebP": lambda image: encoded(image.convert("RGB"), "WEBP", lossless=True),
    "GIF, animated": lambda image: encoded(
        image.convert("RGB").quantize(128), "GIF", save_all=True, append_images=[image.rotate(180)]
    ),
}


def base64_of(body: bytes) -> str:
    return base64.b64encode(body).decode()


def v2_of(body: bytes) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64_of(body)]}
    return {"id": "a-1", "inputs": [tensor]}


def form(field: str) -> Callable[[bytes], dict[str, Any]]:
    return lambda body: {"files": {field: ("picture.jpg", body)}}


# How httpx2 sends one picture. A name in a form says .jpg, whatever the picture is.
WAYS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "raw, PUT": lambda body: {"method": "PUT", "content": body},
    "raw, POST, no type": lambda body: {"content": body},
    "raw, wrong type": lambda body: {"content": body, "headers": {"content-type": "image/gif"}},
    "raw, odd type": lambda body: {"content": body, "headers": {"content-type": "x/y"}},
    "raw, type with parameters": lambda body: {
        "content": body,
        "headers": {"content-type": "application/octet-stream; charset=binary"},
    },
    **{f"form, {field}": form(field) for field in ("data", "image", "file", "body")},
    "form, base64": lambda body: {"data": {"image": base64_of(body)}, "files": {"file": b""}},
    "JSON": lambda body: {"json": {"image": base64_of(body)}},
    "JSON, data URL": lambda body: {"json": {"image": f"data:image/png;base64,{base64_of(body)}"}},
    "KServe v1": lambda body: {"json": {"instances": [{"b64": base64_of(body)}]}},
    "KServe v2": lambda body: {"json": v2_of(body)},
    "base64": lambda body: {"content": base64_of(body)},
    "base64 text, wrapped": lambda body: {
        "content": base64.encodebytes(body),
        "headers": {"content-type": "text/plain"},
    },
}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=60, trust_env=False) as client:
        yield client


def ask(
    http: httpx2.Client, served: Served, archive: str, accept: str | None = None, **how: Any
) -> httpx2.Response:
    how = {"method": "POST", **how}
    headers = {**how.pop("headers", {}), **({"accept": accept} if accept else {})}
    response = http.request(url=served.url(f"/predictions/{archive}"), headers=headers, **how)
    assert "no-store" in response.headers["cache-control"]
    return response


def plain_answer(response: httpx2.Response) -> Any:
    """Return the one answer in a response, however it is wrapped; of an image its pixels' mean."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("image/"):
        return image_answer(response.content)
    answer = response.json()
    if "predictions" in answer:
        (answer,) = answer["predictions"]
    if "outputs" in answer:
        assert answer["id"] == "a-1"
        answer = {one["name"]: one["data"][0] for one in answer["outputs"]}
        if "probabilities" in answer:
            answer["probabilities"] = json.loads(answer["probabilities"])
    return image_answer(base64.b64decode(answer["image"])) if "image" in answer else answer


def image_answer(body: bytes) -> dict[str, Any]:
    image = Image.open(io.BytesIO(body)).convert("RGB").resize((3, 2), Image.Resampling.BOX)
    return {"pixels": [value / 255 for value in np.asarray(image).ravel().tolist()]}


def assert_same(first: Any, second: Any, tolerance: float, what: str = "") -> None:
    found = difference(json.dumps(first).encode(), json.dumps(second).encode(), tolerance)
    assert found is None, f"{what}: {found}"


@pytest.mark.parametrize("archive", ARCHIVES)
def test_every_way_in_gets_the_same_answer(
    served: Served, http: httpx2.Client, archive: str
) -> None:
    body = encoded(picture_of(archive), "PNG")
    expected = plain_answer(ask(http, served, archive, content=body))
    for way, how in WAYS.items():
        answer = plain_answer(ask(http, served, archive, **how(body)))
        assert_same(expected, answer, 0.03, way)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_answered_in_every_way_out(
    served: Served, http: httpx2.Client, kind: str
) -> None:
    for archive in ARCHIVES:
        picture = picture_of(archive)
        body = KINDS[kind](picture)
        for content_type in OFFERED[archive]:
            response = ask(http, served, archive, content_type, content=body)
            assert response.status_code == 200, response.text
            assert response.headers["content-type"].partition(";")[0] == content_type
            if content_type.startswith("image/"):
                image = Image.open(io.BytesIO(response.content))
                assert Image.MIME[image.format or ""] == content_type
                sizes = [picture.size] + ([picture.size[::-1]] if archive == "rotation" else [])
                assert image.size in sizes
            elif archive == "digits":
                answer = response.text if content_type == "text/plain" else response.json()["label"]
                assert answer == "7"
            elif archive == "rotation" and content_type == "application/json":
                assert response.json()["exif_degree"] == (270 if "EXIF" in kind else 0)


@pytest.mark.parametrize("archive", ARCHIVES)
def test_the_default_and_what_is_not_offered(
    served: Served, http: httpx2.Client, archive: str
) -> None:
    body = encoded(picture_of(archive), "PNG")
    response = ask(http, served, archive, content=body)
    assert response.headers["content-type"] == OFFERED[archive][0]
    response = ask(http, served, archive, "application/xml", content=body)
    assert response.status_code == 406
    assert response.json()["error"]["hint"] == f"offered here: {', '.join(OFFERED[archive])}"


def test_a_raw_tensor_skips_preprocessing(served: Served, http: httpx2.Client) -> None:
    values = ((np.asarray(SEVEN, dtype="<f4") / 255 - 0.1302) / 0.3069).astype("<f4")
    files = {"data": ("t", values.tobytes()), "metadata": (None, '{"dims": [1, 28, 28]}')}
    assert ask(http, served, "digits", files=files).json()["label"] == "7"
    files["metadata"] = (None, '{"dims": [1, 28, 29]}')
    response = ask(http, served, "digits", files=files)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "wrong_dims")
    files["metadata"] = (None, '{"dims": [28, 28]}')
    response = ask(http, served, "digits", files=files)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "wrong_dims")
    files["metadata"] = (None, '{"dims": [1, 28, 28]}')
    assert ask(http, served, "line-art", files=files).status_code == 415


REFUSED: list[tuple[int, str, dict[str, Any]]] = [
    (400, "no_image", {"content": b""}),
    (400, "not_an_image", {"content": b"some words"}),
    (400, "broken_image", {"content": encoded(CAT, "JPEG")[:900]}),
    (400, "bad_base64", {"json": {"image": "####"}}),
    (400, "malformed", {"content": b"{", "headers": {"content-type": "application/json"}}),
    (400, "unknown_field", {"files": {"picture": ("a.png", encoded(CAT, "PNG"))}}),
    (400, "unknown_field", {"json": {"picture": "abcd"}}),
    (415, "unsupported_type", {"content": b"%PDF-1.7 and so on"}),
    (413, "too_many_pixels", {"content": encoded(Image.new("1", (9_000, 9_000)), "PNG")}),
]


@pytest.mark.parametrize("archive", ARCHIVES)
def test_good_and_bad_share_batches_and_each_gets_its_own(
    served: Served, http: httpx2.Client, archive: str
) -> None:
    good = encoded(picture_of(archive), "PNG")
    expected = plain_answer(ask(http, served, archive, content=good))
    requests: list[tuple[int, str, dict[str, Any]]] = [
        *REFUSED,
        *[(200, "", {"content": good})] * 6,
        *REFUSED[::-1],
        *[(200, "", {"json": {"image": base64_of(good)}})] * 3,
    ]
    with ThreadPoolExecutor(len(requests)) as pool:
        responses = list(pool.map(lambda one: ask(http, served, archive, **one[2]), requests))
    for (status, code, _), response in zip(requests, responses, strict=True):
        assert response.status_code == status, response.text
        if status == 200:
            assert_same(expected, plain_answer(response), 0.03)
        else:
            error = response.json()["error"]
            assert error["code"] == code
            assert error["message"]
            assert error["hint"]
            assert "Traceback" not in response.text


def test_several_images_in_one_request(served: Served, http: httpx2.Client) -> None:
    text = base64_of(encoded(SEVEN, "PNG"))
    answer = ask(http, served, "digits", json={"instances": [{"b64": text}] * 3}).json()
    assert [one["label"] for one in answer["predictions"]] == ["7", "7", "7"]
    response = ask(http, served, "digits", json={"instances": [{"b64": text}, {"b64": "#"}]})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_base64")


def test_grpc_answers_as_http_does(served: Served, http: httpx2.Client) -> None:
    wire = Wire(
        "inference",
        f"127.0.0.1:{served.port + 3}",
        timeout=60,
        retries=ONCE,
        tokens=StaticToken(None),
        certificate=None,
    )

    def predict(archive: str, **fields: bytes) -> bytes:
        answer = wire.call("Predictions", Deadline(None), model_name=archive, input=fields)
        return bytes(answer.prediction)

    for archive in ARCHIVES:
        body = encoded(picture_of(archive), "PNG")
        over_http = ask(http, served, archive, content=body).content
        for fields in ({"data": body}, {"body": body}, {"image": base64_of(body).encode()}):
            assert difference(over_http, predict(archive, **fields), 0.01) is None
    error = json.loads(predict("digits", data=b"some words"))["error"]
    assert error["code"] == "not_an_image"
    wire.close()
