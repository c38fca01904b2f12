"""The state_dict out of the checkpoints that people have."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from resnet_generator import ResnetGenerator

from marsmith.core.errors import WeightsError
from marsmith.weights.extract import extract
from tests.codes import coded
from tests.projects import run_marsmith
from tests.unit.conftest import SavedByTorch

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
    "a GAN in one, parallel": {
        **prefixed("module.generator."),
        "module.discriminator.conv.weight": torch.ones(1),
    },
    "two discriminators": {"G": STATE, "D_A": prefixed("d."), "D_B": prefixed("d.")},
    "Lightning, compiled": {"state_dict": prefixed("model._orig_mod.")},
    "compiled in parts": {
        "net": {name.replace("conv.", "conv._orig_mod."): value for name, value in STATE.items()}
    },
    "SWA": {"n_averaged": torch.tensor(4), **prefixed("module.")},
    "SWA of compiled": {"n_averaged": torch.tensor(4), **prefixed("module._orig_mod.")},
    "Lightning with criterion and metrics": {
        "state_dict": prefixed("model.")
        | {"criterion.weight": torch.ones(2), "val_acc.tp": torch.ones(1)}
    },
    "Lightning with a focal loss": {
        "state_dict": prefixed("model.") | {"focal_loss.alpha": torch.ones(2)}
    },
    "with objects": {"model": STATE, "args": Namespace(lr=0.1), "best": np.float64(0.5)},
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


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_the_state_of_an_optimizer_is_no_model(tmp_path: Path, optimizer: Any) -> None:
    layer = torch.nn.Linear(2, 2)
    made = optimizer(layer.parameters(), lr=0.1)
    layer(torch.rand(1, 2)).sum().backward()
    made.step()
    torch.save(made.state_dict(), tmp_path / "in.pth")
    with pytest.raises(WeightsError, check=coded("weights-no-state-dict")) as caught:
        extract(tmp_path / "in.pth", tmp_path / "out.pth")
    assert "optimizer" in caught.value.message


@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32])
@pytest.mark.parametrize("new_zipfile", [True, False])
def test_quantised_tensors_are_not_called_damaged(
    tmp_path: Path, dtype: torch.dtype, new_zipfile: bool
) -> None:
    made = torch.quantize_per_tensor(torch.rand(2, 2), 0.1, 0, dtype)
    state = {"layer.weight": made}
    torch.save(state, tmp_path / "in.pth", _use_new_zipfile_serialization=new_zipfile)
    with pytest.raises(WeightsError, check=coded("weights-special-tensor")):
        extract(tmp_path / "in.pth", tmp_path / "out.pth")


def test_of_several_one_must_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    torch.save({"params": prefixed("module."), "ema": {"params": STATE}, "netD_A": STATE}, path)
    with pytest.raises(WeightsError, check=coded("weights-ambiguous")) as caught:
        extract(path, tmp_path / "out.pth")
    assert caught.value.message.endswith(": params, ema.params")
    assert caught.value.hint.endswith(" --key params")
    assert extract(path, tmp_path / "out.pth", keys=("ema.params",)).kept == "ema.params"
    with pytest.raises(WeightsError, check=coded("weights-key")) as caught:
        extract(path, tmp_path / "other.pth", keys=("ema",))
    assert "ema.params" in caught.value.hint


def test_parts_of_one_model_are_joined_under_their_places(tmp_path: Path) -> None:
    path, out = tmp_path / "in.pth", tmp_path / "new" / "folder" / "out.pth"
    torch.save({"encoder": STATE, "decoder": prefixed("module."), "epoch": 3}, path)
    with pytest.raises(WeightsError, check=coded("weights-ambiguous")) as caught:
        extract(path, out)
    assert caught.value.hint.endswith("--key encoder --key decoder")
    result = extract(path, out, keys=("encoder", "decoder"))
    assert result.dropped == ("epoch",)
    back = torch.load(out, weights_only=True)
    assert len(back) == 2 * len(STATE)
    assert all(torch.equal(back[f"encoder.{name}"], one) for name, one in STATE.items())


def test_arrays_without_names_and_those_of_numpy_are_named(tmp_path: Path) -> None:
    torch.save(list(STATE.values()), tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="list of tensors") as caught:
        extract(tmp_path / "list.pth", tmp_path / "out.pth")
    assert caught.value.code == "weights-no-state-dict"
    np.savez(tmp_path / "in.npz", **{name: one.numpy() for name, one in STATE.items()})
    with pytest.raises(WeightsError, match="NumPy") as caught:
        extract(tmp_path / "in.npz", tmp_path / "out.pth")
    assert caught.value.code == "weights-format"
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        ("module_zip", "weights-module", "weights_only=False).state_dict()"),
        ("module_legacy", "weights-module", "weights_only=False).state_dict()"),
        ("torchscript", "weights-torchscript", "torch.jit.load("),
    ],
)
def test_code_is_refused_with_how_to_convert_it(
    tmp_path: Path, saved: SavedByTorch, name: str, code: str, hint: str
) -> None:
    (tmp_path / "in.pth").write_bytes(getattr(saved, name))
    with pytest.raises(WeightsError, check=coded(code)) as caught:
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
    with pytest.raises(WeightsError, check=coded("output-ending")):
        extract(path, tmp_path / "out.bin")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(WeightsError, check=coded("output-folder")):
        extract(path, tmp_path / "folder.pth", force=True)
    (tmp_path / "folder.pth").rmdir()
    with pytest.raises(WeightsError, check=coded("output-unwritable")):
        extract(path, path / "out.pth")
    out.write_text("mine")
    with pytest.raises(WeightsError, check=coded("output-exists")):
        extract(path, out)
    assert out.read_text() == "mine"
    extract(path, out, force=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.pth", "out.pth"]


KEPT_NAMES: dict[str, dict[str, Any]] = {
    "a sequence of its own": {"model.1.weight": 1, "model.10.conv_block.1.weight": 1},
    "a sequence, wrapped": {"model.model.1.weight": 1, "model.model.2.weight": 1},
    "a part of its own": {"net.conv.weight": 1, "net.conv.bias": 1},
    "not all": {"model.conv.weight": 1, "head.weight": 1},
    "a word that begins so": {"models.conv.weight": 1},
}


@pytest.mark.parametrize("state", KEPT_NAMES.values(), ids=KEPT_NAMES)
def test_a_models_own_names_are_kept(tmp_path: Path, state: dict[str, Any]) -> None:
    wrapped = "a" if any("model.model" in name for name in state) else ""
    torch.save({name: torch.ones(1) for name in state}, tmp_path / "in.pth")
    result = extract(tmp_path / "in.pth", tmp_path / "out.pth")
    assert list(result.tensors) == [n.removeprefix("model.") if wrapped else n for n in state]


@pytest.mark.parametrize(
    ("state", "prefix"),
    [
        (prefixed("net."), "net"),
        (prefixed("net.") | {"teacher.a": torch.ones(1)}, "net."),
        (prefixed("module.net."), "net"),
        (prefixed("module.net."), "module.net"),
        ({"state_dict": prefixed("encoder.backbone.")}, "encoder.backbone"),
    ],
)
def test_a_prefix_is_taken_off_as_asked(tmp_path: Path, state: dict[str, Any], prefix: str) -> None:
    torch.save(state, tmp_path / "in.pth")
    result = extract(tmp_path / "in.pth", tmp_path / "out.pth", prefix=prefix)
    back = torch.load(tmp_path / "out.pth", weights_only=True)
    assert back.keys() == STATE.keys()
    assert all(torch.equal(back[name], value) for name, value in STATE.items())
    assert "teacher.a" not in state or "teacher.a" in result.dropped


def test_a_prefix_is_put_before_all_names(tmp_path: Path) -> None:
    torch.save(prefixed("model."), tmp_path / "in.pth")
    out = tmp_path / "out.pth"
    result = extract(tmp_path / "in.pth", out, prefix="model", new_prefix="backbone")
    assert list(result.tensors) == [f"backbone.{name}" for name in STATE]


def test_a_prefix_that_no_name_has_is_refused(tmp_path: Path) -> None:
    torch.save(prefixed("network."), tmp_path / "in.pth")
    with pytest.raises(WeightsError, check=coded("weights-prefix")) as caught:
        extract(tmp_path / "in.pth", tmp_path / "out.pth", prefix="net")
    assert "'network'" in caught.value.hint
    assert not (tmp_path / "out.pth").exists()


def test_statistics_with_a_weight_beside_them_are_kept(tmp_path: Path) -> None:
    instance = torch.nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), instance)
    torch.save(network.state_dict(), tmp_path / "in.pth")
    result = extract(tmp_path / "in.pth", tmp_path / "out.pth")
    assert result.tensors.keys() == network.state_dict().keys()
    network.load_state_dict(torch.load(tmp_path / "out.pth"))


def test_of_two_generators_one_must_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    torch.save({name: prefixed("a.") for name in ("G_A", "G_B", "D_A", "D_B")}, path)
    with pytest.raises(WeightsError, match=r": G_A, G_B$", check=coded("weights-ambiguous")):
        extract(path, tmp_path / "out.pth")
    result = extract(path, tmp_path / "out.pth", keys=("D_A",))
    assert (result.kept, result.dropped) == ("D_A", ("G_A", "G_B", "D_B"))


def test_a_module_within_a_checkpoint_is_refused_with_how_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "in.pt"
    torch.save({"epoch": 3, "model": NETWORK, "optimizer": optimizer_state()}, path)
    with pytest.raises(WeightsError, check=coded("weights-module")) as caught:
        extract(path, tmp_path / "out.pth")
    assert "weights_only=False)['model'].state_dict()" in caught.value.hint
    line = caught.value.hint.partition("class, ")[2]
    code = f"import os, torch\nos.chdir({str(tmp_path)!r})\n{line}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    converted = torch.load(tmp_path / "state_dict.pth", weights_only=True)
    assert converted.keys() == NETWORK.state_dict().keys()


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_an_attack_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    torch.save({"model": STATE, "more": Attack(tmp_path / "executed")}, path)
    with pytest.raises(WeightsError, match=r"posix\.system", check=coded("weights-execute")):
        extract(path, tmp_path / "out.pth")
    assert [one.name for one in tmp_path.iterdir()] == ["in.pth"]


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(2).to_sparse(), torch.tensor([1 + 2j]).conj(), torch.tensor([1 + 2j]).conj().imag],
)
def test_no_tensor_is_lost_in_silence(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save(STATE | {"odd.weight": tensor}, tmp_path / "in.pth")
    with pytest.raises(WeightsError, match=r"'odd\.weight'", check=coded("weights-special-tensor")):
        extract(tmp_path / "in.pth", tmp_path / "out.pth")


def test_what_shares_values_without_end_is_refused(tmp_path: Path) -> None:
    values = torch.zeros(1 << 20)
    state = {f"part.{n}": values[n:] for n in range(300)}
    torch.save(state, tmp_path / "in.pth")
    with pytest.raises(WeightsError, check=coded("weights-repeated-values")):
        extract(tmp_path / "in.pth", tmp_path / "out.pth")


@pytest.mark.parametrize("ending", ["pth", "pt", "safetensors"])
def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    torch.save({"model": STATE}, tmp_path / "in.pth")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        extract(tmp_path / "in.pth", tmp_path / folder / f"out-{folder}.{ending}")
    one, other = (tmp_path / folder / f"out-{folder}.{ending}" for folder in "ab")
    assert one.read_bytes() == other.read_bytes()
    extract(one, tmp_path / f"again.{ending}")
    assert (tmp_path / f"again.{ending}").read_bytes() == one.read_bytes()


def test_a_checkpoint_can_be_replaced_by_its_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "in.pth"
    torch.save({"model": STATE, "epoch": 1}, path)
    extract(path, path, force=True)
    back = torch.load(path, weights_only=True)
    assert all(torch.equal(back[name], value) for name, value in STATE.items())


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    torch.save({"a.weight": torch.ones(100_000)}, tmp_path / "in.pth")
    out = tmp_path / f"out.{ending}"
    shell = 'ulimit -f 100; exec "$@"'  # kilobytes that a file may have
    command = [sys.executable, "-m", "marsmith", "weights", "extract", tmp_path / "in.pth"]
    result = subprocess.run(
        ["bash", "-c", shell, "bash", *map(str, command), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"error[output-unwritable]: {out} ")
    assert [one.name for one in tmp_path.iterdir()] == ["in.pth"]


def test_control_c_leaves_nothing(tmp_path: Path) -> None:
    """The signal comes from the command's own process, which is never done before it."""
    torch.save({"a.weight": torch.ones(40_000_000)}, tmp_path / "in.pth")
    code = (
        "import os, signal, sys, threading, time\n"
        "from marsmith.cli import main\n"
        "folder = sys.argv.pop()\n"
        "def interrupt():\n"
        "    while len(os.listdir(folder)) < 2: time.sleep(0.001)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "sys.argv += ['weights', 'extract', f'{folder}/in.pth', '--out', f'{folder}/out.pth']\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr.strip()) == (130, "")
    assert [one.name for one in tmp_path.iterdir()] == ["in.pth"]


@pytest.mark.parametrize("command", ["inspect", "extract"])
def test_names_cannot_act_on_the_terminal(tmp_path: Path, command: str) -> None:
    path = tmp_path / "in.pth"
    evil = "\x1b]0;owned\x07\n\x1b[2J"
    torch.save({f"{evil}1": STATE, f"{evil}2": STATE, f"{evil}3": evil}, path)
    more = ["--out", str(tmp_path / "out.pth")] if command == "extract" else []
    result = run_marsmith("weights", command, path, *more)
    assert "\x1b" not in result.stdout + result.stderr
    assert "\\x1b]0;owned" in result.stdout + result.stderr
