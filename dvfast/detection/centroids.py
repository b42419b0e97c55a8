"""Where a nucleus lies by all of its peak, and not by the highest pixel of it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__: list[str] = []

# Heights are shares of the peak's own in units of this: sums of integers have the same bits in
# whatever order a device adds them.
_ONE = 1 << 20
# A point moves by whole parts of a pixel, which it keeps to the bit in any tile of a slide.
_PARTS = 1 << 10
_NUMBERS_AT_A_TIME = 1 << 20


def centroids(density: Tensor, points: Tensor, radius: float) -> Tensor:
    """The centroids of a density ``[H, W]`` within a radius of its peaks ``[n, 2]``.

    What is higher than a peak, of a neighbour, counts as being as high. Points (-1, -1), which
    stand for none, stay. In float64, unless the radius is below 1 and all stay.
    """
    if radius < 1 or not density.numel():
        return points
    reach = torch.arange(-int(radius), int(radius) + 1, device=density.device)
    y, x = (offsets.flatten() for offsets in torch.meshgrid(reach, reach, indexing="ij"))
    within = y.square() + x.square() <= radius**2
    at_a_time = max(1, _NUMBERS_AT_A_TIME // len(y))
    some = torch.split(points.double(), at_a_time)
    parts = [_centroids(density, part, y, x, within) for part in some]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _centroids(density: Tensor, points: Tensor, y: Tensor, x: Tensor, within: Tensor) -> Tensor:
    pixels = points.long()
    rows, columns = pixels[:, :1] + y, pixels[:, 1:] + x
    last_row, last_column = (length - 1 for length in density.shape)
    inside = (rows >= 0) & (rows <= last_row) & (columns >= 0) & (columns <= last_column) & within
    heights = density[rows.clamp(0, last_row), columns.clamp(0, last_column)]
    peak = density[pixels[:, :1].clamp(min=0), pixels[:, 1:].clamp(min=0)]
    shares = (heights / peak).nan_to_num(0.0).clamp(0, 1)
    weights = torch.where(inside, (shares * _ONE).round().long(), 0)
    moments = torch.stack([(weights * y).sum(1), (weights * x).sum(1)], dim=1)
    moved = (moments * _PARTS / weights.sum(1, keepdim=True)).round() / _PARTS
    return torch.where(points >= 0, points + moved, points)
