"""The state_dict out of the checkpoints that people have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from resnet_generator import ResnetGenerator

from marsmith.errors import WeightsError
from marsmith.extracting import extract

from .conftest import SavedByTorch

NETWORK = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
STATE: dict[str, Any] = {
    "conv.weight": torch.ones(2, 2),
    "conv.bias": torch.zeros(2),
    "norm.weight": torch.ones(2),
    "norm.running_mean": torch.zeros(2),
    "norm.num_batches_tracked": torch.tensor(3),
}


def prefixed(prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in STATE.items()}


def optimizer_state() -> dict[str, Any]:
    optimizer = torch.optim.Adam(NETWORK.parameters())
    NETWORK(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


CHECKPOINTS: dict[str, Any] = {
    "a state_dict": STATE,
    "DataParallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled and parallel": prefixed("_orig_mod.module."),
    "Lightning": {
        "epoch": 1,
        "state_dict": prefixed("model."),
        "optimizer_states": [optimizer_state()],
        "lr_schedulers": [],
    },
    "training": {"epoch": 9, "model": STATE, "optimizer": optimizer_state(), "loss": torch.ones(1)},
    "training, parallel": {"model_state_dict": prefixed("module."), "optimizer_state_dict": {}},
    "a GAN": {"netG": STATE, "netD": prefixed("d."), "optimizer_G": optimizer_state()},
    "a GAN, other names": {"generator": prefixed("module."), "discriminator": STATE, "step": 1},
    "a GAN in one": {**prefixed("netG."), "netD.conv.weight": torch.ones(1)},
    "nested": {"checkpoint": {"weights": STATE, "rng_state": torch.ones(3)}},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_the_models_own_state_dict_is_left(tmp_path: Path, checkpoint: Any, legacy: bool) -> None:
    path = tmp_path / "in.pth.tar"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    result = extract(path, tmp_path / "out.pth")
    back = torch.load(tmp_path / "out.pth", weights_only=True)
    assert back.keys() == STATE.keys() == result.tensors.keys()
    assert all(torch.equal(back[name], value) for name, value in STATE.items())


def test_a_cyclegan_keeps_its_names_and_loses_its_leftovers(tmp_path: Path) -> None:
    generator = ResnetGenerator(8, 2)
    state = {f"module.{name}": value for name, value in generator.state_dict().items()}
    for stats in ("running_mean", "running_var"):
        state[f"module.model.2.{stats}"] = torch.zeros(8)
        state[f"module.model.10.conv_block.2.{stats}"] = torch.zeros(32)
    torch.save(state, tmp_path / "latest_net_G.pth", _use_new_zipfile_serialization=False)
    result = extract(tmp_path / "latest_net_G.pth", tmp_path / "out.pth")
    assert result.prefixes == ("module.",)
    assert len(result.dropped) == 4
    generator.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True))


def test_of_several_one_must_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    torch.save({"params": prefixed("module."), "ema": {"params": STATE}, "netD_A": STATE}, path)
    with pytest.raises(WeightsError) as caught:
        extract(path, tmp_path / "out.pth")
    assert caught.value.message.endswith("several state_dicts: params, ema.params")
    assert caught.value.hint == "choose one: --key params"
    assert extract(path, tmp_path / "out.pth", key="ema.params").kept == "ema.params"
    with pytest.raises(WeightsError, match="no state_dict at 'ema'") as caught:
        extract(path, tmp_path / "other.pth", key="ema")
    assert "'ema.params'" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("module_zip", "weights_only=False).state_dict()"),
        ("module_legacy", "weights_only=False).state_dict()"),
        ("torchscript", "torch.jit.load("),
    ],
)
def test_code_is_refused_with_how_to_convert_it(
    tmp_path: Path, saved: SavedByTorch, name: str, hint: str
) -> None:
    (tmp_path / "in.pth").write_bytes(getattr(saved, name))
    with pytest.raises(WeightsError) as caught:
        extract(tmp_path / "in.pth", tmp_path / "out.pth")
    assert hint in caught.value.hint
    assert not (tmp_path / "out.pth").exists()


def test_nothing_is_written_where_something_is_wrong(tmp_path: Path) -> None:
    path, out = tmp_path / "in.pth", tmp_path / "out.pth"
    torch.save({"epoch": 1}, path)
    for wrong in (path, tmp_path / "missing.pth", tmp_path):
        with pytest.raises(WeightsError) as caught:
            extract(wrong, out)
        assert caught.value.hint
    torch.save(STATE, path)
    with pytest.raises(WeightsError, match="none of the endings"):
        extract(path, tmp_path / "out.bin")
    with pytest.raises(WeightsError, match="cannot be written"):
        extract(path, tmp_path / "missing" / "out.pth")
    out.write_text("mine")
    with pytest.raises(WeightsError, match="exists"):
        extract(path, out)
    assert out.read_text() == "mine"
    extract(path, out, force=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.pth", "out.pth"]
