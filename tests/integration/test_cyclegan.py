"""Somebody's own generator, as pytorch-CycleGAN-and-pix2pix saved it, in the cartoon's archive."""

from __future__ import annotations

from pathlib import Path

import torch
from resnet_generator import ResnetGenerator
from safetensors.torch import save_file

from tests.integration.kit import ROOT, Kit
from tests.projects import run_marsmith

SPEC = """
[archives.cartoon]
version = "1.0"
handler = "handlers/marsmith_handlers/image_to_image.py"
model_file = "model_defs/resnet_generator.py"
serialized_file = "weights/latest_net_G.pth"
[archives.cartoon.serving]
minWorkers = 1
maxWorkers = 4
[archives.cartoon.handler_config]
size = [256, 256]
mean = [0.5]
std = [0.5]
output_mean = 0.5
output_std = 0.5
"""


def test_a_generator_of_another_size_is_served_unchanged(kit: Kit, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = ResnetGenerator(16, 9).state_dict()
    for name in ("model.2", "model.5", "model.10.conv_block.2"):
        width = len(state[f"{name[:-1]}{int(name[-1]) - 1}.bias"])
        state[f"{name}.running_mean"] = torch.zeros(width)
        state[f"{name}.running_var"] = torch.ones(width)
    weights = kit.root / "weights" / "latest_net_G.pth"
    torch.save(state, weights, _use_new_zipfile_serialization=False)
    kit.write("archives.toml", SPEC)
    kit("build")
    kit("serve", "--background", "--port", "0")
    answers = kit.json(
        "predict", "cartoon", ROOT / "samples" / "cat.jpg", "--out", tmp_path / "out"
    )
    assert [answer["status"] for answer in answers] == [200]
    assert (tmp_path / "out" / "cat.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_weights_of_other_kinds_load_or_name_the_next_step(kit: Kit) -> None:
    torch.manual_seed(0)
    state = ResnetGenerator(16, 2).state_dict()
    save_file(state, kit.root / "weights" / "latest_net_G.safetensors")
    kit.write("archives.toml", SPEC.replace("latest_net_G.pth", "latest_net_G.safetensors"))
    kit("build")
    (row,) = kit.json("run", "cartoon", ROOT / "samples" / "cat.jpg")
    assert row["status"] == 200
    parallel = {f"module.{name}": value for name, value in state.items()}
    torch.save(parallel, kit.root / "weights" / "latest_net_G.pth")
    kit.write("archives.toml", SPEC)
    kit("build")
    # Not by the kit: it shows the traceback of the load that failed.
    cat = ROOT / "samples" / "cat.jpg"
    result = run_marsmith("--project", kit.root, "run", "cartoon", cat)
    assert "marsmith weights extract" in result.stderr
