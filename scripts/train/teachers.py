"""Classical picture filters that the small image models learn from. Pictures are [N, 3, H, W]."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_GREY = (0.299, 0.587, 0.114)


def cartoon(images: Tensor) -> Tensor:
    """Return flat areas of few strong colours with dark outlines, 0…1 in and out.

    After Winnemöller, Olsen and Gooch, Real-Time Video Abstraction (SIGGRAPH 2006): edge-keeping
    smoothing, tones in steps, lines where a difference of Gaussians is dark.
    """
    flat = images
    for _ in range(4):
        flat = guided(flat, radius=4, tolerance=0.06)
    light = grey(flat)
    stepped = _steps(light, count=7, softness=0.035)
    colours = flat * (stepped / light.clamp(min=0.02)).clamp(0.5, 2)
    colours = stepped + (colours - grey(colours)) * 1.55
    lines = outlines(grey(guided(images, radius=2, tolerance=0.08)), sigma=1.4, strength=45.0)
    return (colours.clamp(0, 1) * (0.08 + 0.92 * lines)).clamp(0, 1)


def pencil(images: Tensor) -> Tensor:
    """Return a pencil drawing, grey on white in all three channels, 0…1 in and out.

    Lines after Winnemöller, Kyprianidis and Olsen, XDoG (Computers & Graphics 2012), over a trace
    of shading: the picture divided by its own blur, as retouchers make pencil sketches.
    """
    light = grey(guided(images, radius=2, tolerance=0.05))
    # Evening out the light first lets dark parts have lines too.
    around = gaussian(light, 12.0)
    even = light / (around + 0.12)
    lines = outlines(even, sigma=1.0, strength=14.0)
    shade = (light / gaussian(light, 6.0).clamp(min=0.02)).clamp(0, 1) ** 1.2
    drawn = lines * (0.72 + 0.28 * shade)
    return drawn.clamp(0, 1).expand(-1, 3, -1, -1)


def grey(images: Tensor) -> Tensor:
    """Return the luma [N, 1, H, W] of pictures (ITU-R BT.601)."""
    weights = torch.tensor(_GREY).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def guided(images: Tensor, radius: int, tolerance: float) -> Tensor:
    """Smooth what varies less than `tolerance` within `radius` pixels, and keep the edges.

    He, Sun and Tang, Guided Image Filtering (ECCV 2010), each channel guided by itself.
    """
    mean = _box(images, radius)
    variance = (_box(images * images, radius) - mean * mean).clamp(min=0)
    slope = variance / (variance + tolerance**2)
    return _box(slope, radius) * images + _box((1 - slope) * mean, radius)


def outlines(light: Tensor, sigma: float, strength: float) -> Tensor:
    """Return dark lines on 1 along the edges of [N, 1, H, W]; `sigma` in pixels."""
    difference = gaussian(light, sigma) - gaussian(light, 1.6 * sigma)
    return 1 + torch.tanh(strength * (difference + 0.006).clamp(max=0))


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of `sigma` pixels, cut off at three of them."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1)
    channels = images.shape[1]
    wide = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    blurred = functional.conv2d(wide, across, groups=channels)
    return functional.conv2d(blurred, across.transpose(2, 3), groups=channels)


def _box(images: Tensor, radius: int) -> Tensor:
    wide = functional.pad(images, (radius,) * 4, mode="replicate")
    return functional.avg_pool2d(wide, 2 * radius + 1, stride=1)


def _steps(light: Tensor, count: int, softness: float) -> Tensor:
    """Draw tones towards the middles of `count` steps; `softness` is the width of a step's edge."""
    scaled = light * count
    edge = scaled.round()
    return (edge + 0.5 * torch.tanh((scaled - edge) / (count * softness) * 2)) / count
