"""A GPU's answers beside the CPU's, through the engine, `marsmith run` and TorchServe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from marsmith_handlers.card_decoder import CardDecoder
from marsmith_handlers.cuda_engine import CudaEngine
from marsmith_handlers.image_classifier import ImageClassifier
from marsmith_handlers.image_codec import open_picture
from marsmith_handlers.torch_engines import TorchEngine, device_of, in_half
from PIL import Image
from torchvision.models import resnet18

from marsmith.torchserve.ports import free_ports
from marsmith.worker.runtime import Runtime
from tests.integration.kit import ROOT, Kit
from tests.projects import copy_project

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")

_CONTEXT = 50 << 20  # bytes: a process that uses a card takes more, whatever its model is
PHOTO = Image.open(ROOT / "samples/cat.jpg").convert("RGB")


@pytest.fixture(scope="module")
def device() -> torch.device:
    return device_of(0, needed=True)


@pytest.fixture
def whole_card() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("graphs", [False, True])
def test_every_batch_size_gives_the_cpus_outputs(
    dtype: str, graphs: bool, device: torch.device
) -> None:
    torch.manual_seed(0)
    network: torch.nn.Module = resnet18(weights=None).eval()
    batch = np.random.default_rng(0).random((9, 3, 64, 64), np.float32)
    expected = TorchEngine(network, channels_last=True)(batch)
    network = network.to(device)
    network = network if dtype == "float32" else in_half(network, dtype)
    engine = CudaEngine(network, device, channels_last=True, graphs=graphs)
    tolerance = (1e-3 if dtype == "float32" else 0.05) * float(np.abs(expected).max())
    for count in (1, 9, 3, 1, 9, 8, 3):
        found = engine(engine.stack(list(batch[:count])))
        assert found.shape == (count, 1000)
        assert np.abs(found - expected[:count]).max() < tolerance


def test_a_network_that_asks_for_values_is_not_captured(device: torch.device) -> None:
    def network(batch: torch.Tensor) -> torch.Tensor:
        return batch * (2 if batch.sum().item() > 0 else 3)

    engine = CudaEngine(network, device, channels_last=False, graphs=True)
    for sign, factor in ((1, 2), (-1, 3), (1, 2)):
        batch = np.full((2, 1, 4, 4), sign, np.float32)
        assert (engine(batch) == factor * batch).all()


@pytest.mark.usefixtures("whole_card")
@pytest.mark.parametrize("graphs", [False, True])
def test_a_batch_that_fills_the_card_is_halved(graphs: bool, device: torch.device) -> None:
    gibibyte = 1 << 28  # float32 values

    def network(batch: torch.Tensor) -> torch.Tensor:
        return batch.expand(len(batch), gibibyte).clone()[:, :1] + 1

    fraction = 5 * (1 << 30) / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(fraction)
    engine = CudaEngine(network, device, channels_last=False, graphs=graphs)
    batch = np.arange(8, dtype=np.float32).reshape(8, 1)
    assert (engine(batch) == batch + 1).all()


def test_jpegs_are_decoded_as_on_the_cpu(device: torch.device) -> None:
    values: dict[str, Any] = {"size": [64, 64], "crop": 0.875}
    config = ImageClassifier.Config.read(values)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    bodies = []
    for size in ((1280, 960), (90, 400), (33, 35)):
        buffer = io.BytesIO()
        PHOTO.resize(size).save(buffer, "JPEG", quality=92)
        bodies.append(buffer.getvalue())
    on_card = CardDecoder(config, device, torch.cuda.stream(stream)).decode([bodies])
    assert len(on_card) == 3
    for body in bodies:
        handler = ImageClassifier()
        handler.config = config
        handler.set_normalisation()
        expected = handler.prepare(open_picture(body, 1 << 24))
        assert np.abs(on_card[id(body)][1].cpu().numpy() - expected).mean() < 0.01


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    kit = copy_project(tmp_path_factory.mktemp("gpu"))
    path = kit.root / "archives.toml"
    serving = "[archives.digits.serving]\n"
    path.write_text(path.read_text().replace(serving, f'{serving}deviceType = "gpu"\n'))
    kit("build")
    return kit


def used(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def test_run_uses_the_card(on_gpu: Kit, device: torch.device) -> None:
    before = used(device)
    with Runtime(on_gpu.root / "model_store/digits.mar") as runtime:
        answer = runtime.predict(on_gpu.root / "samples/seven.png")
        assert used(device) - before > _CONTEXT
    assert (answer.status, answer.json()["label"]) == (200, "7")


def test_torchserve_uses_the_card(on_gpu: Kit, device: torch.device) -> None:
    before, port = used(device), free_ports(5)
    on_gpu("serve", "--background", "--port", port)
    try:
        (found,) = on_gpu.json(
            "predict", "digits", on_gpu.root / "samples/seven.png", "--port", port
        )
        assert used(device) - before > _CONTEXT
    finally:
        on_gpu("stop", "--port", port)
    assert found["answer"]["label"] == "7"
