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
    flat = kuwahara(kuwahara(images, radius=4), radius=4)
    light = grey(flat)
    stepped = _steps(light, count=7, softness=0.02)
    colours = flat * (stepped / light.clamp(min=0.02)).clamp(0.5, 2)
    colours = stepped + (colours - grey(colours)) * 1.45
    smooth = kuwahara(images, radius=3)
    # Every channel is looked at, so that colours of one brightness are parted too.
    edge = (gaussian(smooth, 1.92) - gaussian(smooth, 1.2)).amax(dim=1, keepdim=True)
    lines = torch.tanh(45 * (edge - 0.013).clamp(min=0))
    # Specks of a texture have edges in all directions; only strong ones, such as eyes, are kept.
    kept = torch.maximum(_ramp(coherence(grey(smooth)), 0.3, 0.6), _ramp(edge, 0.04, 0.08))
    drawn = colours.clamp(0, 1) * (1 - 0.92 * lines * kept)
    return with_tones_of(images, drawn).clamp(0, 1)


def with_tones_of(images: Tensor, drawings: Tensor) -> Tensor:
    """Return drawings [N, 3, H, W] with the mean and spread that the images have in each channel.

    Reinhard et al., Color Transfer between Images (IEEE Computer Graphics and Applications 2001),
    in RGB. Instance norm takes just these numbers away, so a model with it cannot learn them.
    """
    spread, mean = torch.std_mean(images, dim=(2, 3), keepdim=True)
    own_spread, own_mean = torch.std_mean(drawings, dim=(2, 3), keepdim=True)
    return (drawings - own_mean) / (own_spread + 1e-3) * spread + mean


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


def kuwahara(images: Tensor, radius: int) -> Tensor:
    """Replace every pixel by the means of the sectors around it, most by those that vary least.

    Papari, Petkov and Campisi, Artistic Edge and Corner Enhancing Smoothing (IEEE Transactions on
    Image Processing 2007): eight sectors with soft borders, which reach `radius` pixels.
    """
    sectors = _sectors(radius)
    count, channels, height, width = images.shape
    wide = functional.pad(images, (radius,) * 4, mode="replicate")
    moments = torch.cat([wide, wide * wide]).flatten(0, 1).unsqueeze(1)
    mean, square = functional.conv2d(moments, sectors).chunk(2)
    mean = mean.view(count, channels, 8, height, width)
    square = square.view(count, channels, 8, height, width)
    variance = (square - mean * mean).clamp(min=0).sum(dim=1, keepdim=True)
    weights = (variance + 1e-4) ** -2
    return (mean * weights).sum(dim=2) / weights.sum(dim=2)


def coherence(light: Tensor) -> Tensor:
    """Return how far the edges around a pixel of [N, 1, H, W] run one way: 0 not at all, 1 all.

    From the eigenvalues of the structure tensor: Bigün and Granlund, Optimal Orientation
    Detection of Linear Symmetry (ICCV 1987).
    """
    wide = functional.pad(gaussian(light, 1.0), (1, 1, 1, 1), mode="replicate")
    across = wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]
    down = wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]
    products = torch.cat([across * across, down * down, across * down], dim=1)
    xx, yy, xy = gaussian(products, 2.5).unbind(dim=1)
    both = ((xx - yy) ** 2 + 4 * xy**2).sqrt()
    return (both / (xx + yy + 4e-6)).unsqueeze(1)


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


def _sectors(radius: int) -> Tensor:
    """Return eight overlapping parts of a disc, [8, 1, D, D] with D = 2 * radius + 1, sums 1."""
    offsets = torch.arange(-radius, radius + 1.0)
    down, across = torch.meshgrid(offsets, offsets, indexing="ij")
    disc = torch.exp(-0.5 * (across**2 + down**2) / (0.5 * radius) ** 2)
    middles = (torch.arange(8.0) * (math.pi / 4)).view(8, 1, 1)
    turn = torch.remainder(torch.atan2(down, across) - middles + math.pi, 2 * math.pi) - math.pi
    share = (1 - turn.abs() / (math.pi / 4)).clamp(min=0)
    share[:, radius, radius] = 1 / 8  # the middle has no direction
    sectors = (share * disc).unsqueeze(1)
    return sectors / sectors.sum(dim=(2, 3), keepdim=True)


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between."""
    part = ((values - low) / (high - low)).clamp(0, 1)
    return part * part * (3 - 2 * part)
