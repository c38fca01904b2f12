"""The generator of CycleGAN: one picture into another of the same size."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class ResnetGenerator(nn.Module):
    """Pictures [N, 3, H, W] in -1…1 to pictures of the same shape in -1…1; H, W divisible by 4.

    Zhu et al., Unpaired Image-to-Image Translation (ICCV 2017). The state_dict has the keys of
    pytorch-CycleGAN-and-pix2pix, so its `latest_net_G.pth` loads unchanged. `ngf` is the number of
    filters of the first layer, `n_blocks` that of residual blocks; unless given, the weights in the
    archive around this file tell them, else they are the paper's 64 and 9.
    """

    class Residual(nn.Module):
        """Two 3x3 convolutions whose result is added to what they began with."""

        def __init__(self, width: int) -> None:
            super().__init__()
            half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            self.conv_block = nn.Sequential(*half, nn.ReLU(), *other)

        def forward(self, features: Tensor) -> Tensor:
            changed: Tensor = self.conv_block(features)
            return features + changed

    def __init__(self, ngf: int | None = None, n_blocks: int | None = None) -> None:
        super().__init__()
        if ngf is None or n_blocks is None:
            carried = _carried_size()
            ngf, n_blocks = ngf or carried[0], n_blocks or carried[1]
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            conv = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
            layers += [conv, nn.InstanceNorm2d(2 * width), nn.ReLU()]
        layers += [self.Residual(4 * ngf) for _ in range(n_blocks)]
        for width in (4 * ngf, 2 * ngf):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(width // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh())
        self.register_load_state_dict_pre_hook(_without_running_stats)  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Tensor:
        """Return the translated pictures."""
        translated: Tensor = self.model(images)
        return translated


def _carried_size() -> tuple[int, int]:
    """Return (ngf, n_blocks) of the weights that the archive around this file carries."""
    manifest = Path(__file__).parent / "MAR-INF" / "MANIFEST.json"
    if not manifest.exists():
        return 64, 9
    weights = manifest.parents[1] / json.loads(manifest.read_text())["model"]["serializedFile"]
    state_dict = _state_dict(weights)
    if "model.1.weight" not in state_dict:
        keys = f"{weights.name} has no 'model.1.weight', but {min(state_dict, default='nothing')!r}"
        raise ValueError(f"{keys}; marsmith weights extract takes prefixes off")
    blocks = sum(key.endswith("conv_block.1.weight") for key in state_dict)
    return len(state_dict["model.1.weight"]), blocks


def _state_dict(weights: Path) -> dict[str, Tensor]:
    if weights.suffix == ".safetensors":
        from safetensors.torch import load_file  # only those who have such weights need it

        return load_file(weights)
    mapped = zipfile.is_zipfile(weights)  # files from before PyTorch 1.6 are no zip
    state_dict: dict[str, Tensor] = torch.load(
        weights, map_location="cpu", weights_only=True, mmap=mapped
    )
    return state_dict


def _without_running_stats(_model: nn.Module, state_dict: dict[str, Any], *_: object) -> None:
    """Drop what PyTorch before 0.4 stored for instance norm and nobody uses."""
    for key in [key for key in state_dict if ".running_" in key or key.endswith("_tracked")]:
        del state_dict[key]
