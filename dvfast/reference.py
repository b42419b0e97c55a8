"""The paper in plain PyTorch, one function per equation, written to be read.

Every operator of :mod:`dvfast.functional` is tested against the function of the same name here, in
float64. Nothing in this module is fast, and nothing in the library calls it to do its work.

Conventions (they hold everywhere in dvfast): coordinates are ``(y, x)`` with pixel centres at the
integers; vote ``j`` owns the channels ``3j`` (confidence), ``3j + 1`` (offset y) and ``3j + 2``
(offset x); an offset is *pixel minus nucleus*, so a vote lands at ``voter - offset``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "find_peaks",
    "hybrid_activation",
    "parzen_density",
    "vote_density",
    "vote_map",
    "vote_targets",
    "voting_loss",
]


def hybrid_activation(logits: Tensor, dim: int = 1) -> Tensor:
    """Eq. 2: the sigmoid on confidence channels, the identity on offset channels."""
    channel = torch.arange(logits.shape[dim], device=logits.device) % 3
    shape = [1] * logits.dim()
    shape[dim] = -1
    return torch.where((channel == 0).reshape(shape), torch.sigmoid(logits), logits)


def voting_loss(
    logits: Tensor, target: Tensor, lam: float = 384.0, reduction: str = "mean"
) -> Tensor:
    """Eq. 4 for every patch, then eq. 3 over the patches: ``[N, 3k]`` or ``[B, 3k, H, W]``."""
    votes = hybrid_activation(logits)
    confidence, offset = _split(votes)
    target_confidence, target_offset = _split(target)
    distance = (offset - target_offset).square().sum(dim=2)
    vote_loss = 0.5 * (
        target_confidence * confidence * distance + lam * (confidence - target_confidence).square()
    )
    patch_loss = vote_loss.sum(dim=1)
    if reduction == "none":
        return patch_loss
    return patch_loss.mean() if reduction == "mean" else patch_loss.sum()


def vote_targets(
    points: Tensor | Sequence[Tensor],
    size: tuple[int, int],
    num_votes: int,
    *,
    r1: float = 39.0,
    r2: float = 58.5,
    beta: float = 0.5,
    stride: int = 1,
    offset: float | tuple[float, float] = 0,
) -> Tensor:
    """Eq. 1: confidence and offset of the k nuclei nearest to every pixel ``offset + stride * i``.

    Nuclei at equal distance come in the order of their index.
    """
    images = [points] if isinstance(points, Tensor) else list(points)
    offset_y, offset_x = offset if isinstance(offset, tuple) else (offset, offset)
    first = images[0]
    y = torch.arange(grid_length(size[0], stride, offset_y)).to(first) * stride + offset_y
    x = torch.arange(grid_length(size[1], stride, offset_x)).to(first) * stride + offset_x
    pixel = torch.stack(torch.meshgrid(y, x, indexing="ij"))  # [2, h, w]

    targets = []
    for nuclei in images:
        target = pixel.new_zeros(num_votes, 3, len(y), len(x))
        v = pixel - nuclei[:, :, None, None]  # [n, 2, h, w]
        distance = v.square().sum(dim=1)
        order = torch.argsort(distance, dim=0, stable=True)[:num_votes]
        for j, nearest in enumerate(order):
            v_j = torch.gather(v, 0, nearest.expand(1, 2, -1, -1))[0]
            length = v_j.square().sum(dim=0).sqrt()
            decayed = torch.where(length <= r2, 1 / (1 + beta * length), 0)
            target[j, 0] = torch.where(length <= r1, 1, decayed)
            target[j, 1:] = v_j
        targets.append(target.flatten(0, 1))
    return torch.stack(targets)


def vote_map(
    votes: Tensor,
    size: tuple[int, int],
    *,
    stride: int = 1,
    offset: float | tuple[float, float] = 0,
    max_offset: float | None = None,
    interpolation: str = "nearest",
) -> Tensor:
    """Section 2.3, first half: add every confidence to the pixel its vote lands on.

    ``"bilinear"`` shares it among the four pixels around the landing point instead.
    """
    confidence, landing = _landings(votes, stride, offset, max_offset)
    if interpolation == "nearest":
        return _accumulate(confidence, _nearest(landing), size)
    result = confidence.new_zeros(votes.shape[0], *size)
    corner = landing.detach().floor()
    fraction = landing - corner
    for step_y in (0, 1):
        for step_x in (0, 1):
            step = torch.tensor([step_y, step_x]).to(votes)[:, None, None]
            share = torch.where(step == 1, fraction, 1 - fraction).prod(dim=2)
            result = result + _accumulate(confidence * share, corner + step, size)
    return result


def vote_density(
    votes: Tensor,
    size: tuple[int, int],
    *,
    sigma: float = 1.0,
    window: int = 5,
    stride: int = 1,
    offset: float | tuple[float, float] = 0,
    max_offset: float | None = None,
    interpolation: str = "nearest",
) -> Tensor:
    """Section 2.3: the vote map, filtered with the Gaussian of eq. 6 truncated to ``window``.

    Rounding has no derivative. With ``"nearest"`` the gradient of the offsets is that of the
    Gaussian centred on the pixel the vote was rounded to (a straight-through estimate), written
    here as ``nearest(t) + t - t.detach()``.
    """
    if interpolation == "bilinear":
        vote_counts = vote_map(
            votes,
            size,
            stride=stride,
            offset=offset,
            max_offset=max_offset,
            interpolation=interpolation,
        )
        return _gaussian_filter(vote_counts, sigma, window)
    confidence, landing = _landings(votes, stride, offset, max_offset)
    nearest = _nearest(landing)
    # A vote that lands outside the image is lost, even where its Gaussian would reach inside.
    confidence = torch.where(_inside(nearest, size), confidence, 0)
    return _spread(confidence, nearest + landing - landing.detach(), nearest, size, sigma, window)


def parzen_density(
    votes: Tensor,
    size: tuple[int, int],
    *,
    sigma: float = 1.0,
    window: int = 5,
    stride: int = 1,
    offset: float | tuple[float, float] = 0,
    radius: float | None = None,
    area: str = "box",
) -> Tensor:
    """Eq. 6 and 7: a Gaussian at every landing point, not rounded, over the ``window`` around it.

    With a ``radius``, a vote counts at a pixel only if its voter lies within ``B(x)``: the box or
    the disc of that radius around the pixel.
    """
    confidence, landing = _landings(votes, stride, offset, None)
    voter = _voters(votes, stride, offset)
    return _spread(confidence, landing, _nearest(landing), size, sigma, window, voter, radius, area)


def find_peaks(
    density: Tensor, *, threshold: float = 0.2, relative: bool = True, min_distance: int = 1
) -> tuple[Tensor, Tensor]:
    """Local maxima of what remains above the threshold, in raster order, with their values.

    A plateau (pixels of equal value within ``min_distance`` of one another) counts once, at its
    first pixel in raster order, and only if no pixel within ``min_distance`` of any of its pixels
    is higher.
    """
    values = density.detach().double()
    height, width = values.shape
    level = max(values.nan_to_num(-math.inf).max().item(), 0.0) if values.numel() else 0.0
    lowest = threshold * level if relative else threshold

    def neighbours(y: int, x: int) -> list[tuple[int, int]]:
        return [
            (v, u)
            for v in range(max(y - min_distance, 0), min(y + min_distance + 1, height))
            for u in range(max(x - min_distance, 0), min(x + min_distance + 1, width))
            if (v, u) != (y, x)
        ]

    peaks: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    for y in range(height):
        for x in range(width):
            value = values[y, x].item()
            if (y, x) in seen or not (value > 0 and value >= lowest):
                continue
            plateau, queue, highest = {(y, x)}, [(y, x)], True
            while queue:
                for pixel in neighbours(*queue.pop()):
                    other = values[pixel].item()
                    highest &= not other > value
                    if other == value and pixel not in plateau:
                        plateau.add(pixel)
                        queue.append(pixel)
            seen |= plateau
            if highest:
                peaks.append((y, x))
    index = torch.tensor(peaks, dtype=torch.long, device=density.device).reshape(-1, 2)
    return index.to(density.dtype), density[index[:, 0], index[:, 1]]


def grid_length(size: int, stride: int, offset: float) -> int:
    """How many of the pixels ``offset + stride * i`` lie in an image of ``size`` pixels."""
    return max(0, math.floor((size - 1 - offset) / stride) + 1)


def _split(votes: Tensor) -> tuple[Tensor, Tensor]:
    """``[B, 3k, ...]`` -> confidences ``[B, k, ...]`` and offsets ``[B, k, 2, ...]``."""
    votes = votes.reshape(votes.shape[0], votes.shape[1] // 3, 3, *votes.shape[2:])
    return votes[:, :, 0], votes[:, :, 1:]


def _voters(votes: Tensor, stride: int, offset: float | tuple[float, float]) -> Tensor:
    """``[2, h, w]``: the positions the votes were cast from."""
    offset_y, offset_x = offset if isinstance(offset, tuple) else (offset, offset)
    y = torch.arange(votes.shape[2]).to(votes) * stride + offset_y
    x = torch.arange(votes.shape[3]).to(votes) * stride + offset_x
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))


def _landings(
    votes: Tensor, stride: int, offset: float | tuple[float, float], max_offset: float | None
) -> tuple[Tensor, Tensor]:
    """Confidences ``[B, k, h, w]``, 0 where a vote is void, and landings ``[B, k, 2, h, w]``."""
    confidence, d = _split(votes)
    valid = confidence.isfinite() & d.isfinite().all(dim=2)
    if max_offset is not None:
        valid &= d.square().sum(dim=2) <= max_offset**2
    landing = _voters(votes, stride, offset) - torch.where(valid[:, :, None], d, 0)
    return torch.where(valid, confidence, 0), landing


def _nearest(landing: Tensor) -> Tensor:
    """The nearest pixel; a tie goes to the greater coordinate, wherever the image is cut."""
    floor = landing.detach().floor()
    return floor + (landing.detach() - floor >= 0.5)


def _inside(pixel: Tensor, size: tuple[int, int]) -> Tensor:
    y, x = pixel.unbind(dim=2)
    return (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])


def _accumulate(value: Tensor, pixel: Tensor, size: tuple[int, int]) -> Tensor:
    """Add ``value [B, k, h, w]`` at ``pixel [B, k, 2, h, w]``; what lies outside is lost."""
    inside = _inside(pixel, size)
    y, x = torch.where(inside[:, :, None], pixel, 0).long().unbind(dim=2)
    image = torch.arange(value.shape[0], device=value.device)[:, None, None, None].expand_as(y)
    result = value.new_zeros(value.shape[0], *size)
    if result.numel() == 0:
        return result
    return result.index_put((image, y, x), torch.where(inside, value, 0), accumulate=True)


def _spread(
    confidence: Tensor,
    centre: Tensor,
    nearest: Tensor,
    size: tuple[int, int],
    sigma: float,
    window: int,
    voter: Tensor | None = None,
    radius: float | None = None,
    area: str = "box",
) -> Tensor:
    """Add ``confidence * gaussian(pixel - centre)`` to the window of pixels around ``nearest``."""
    result = confidence.new_zeros(confidence.shape[0], *size)
    reach = window // 2
    for step_y in range(-reach, reach + 1):
        for step_x in range(-reach, reach + 1):
            pixel = nearest + torch.tensor([step_y, step_x]).to(nearest)[:, None, None]
            value = confidence * _gaussian((pixel - centre).square().sum(dim=2), sigma)
            if voter is not None and radius is not None:
                away = (voter - pixel).abs()
                length = away.amax(dim=2) if area == "box" else away.square().sum(dim=2).sqrt()
                value = torch.where(length <= radius, value, 0)
            result = result + _accumulate(value, pixel, size)
    return result


def _gaussian(distance_squared: Tensor, sigma: float) -> Tensor:
    """The kernel of eq. 6; it is not renormalised after truncation."""
    return torch.exp(-distance_squared / (2 * sigma**2)) / (2 * math.pi * sigma**2)


def _gaussian_filter(image: Tensor, sigma: float, window: int) -> Tensor:
    reach = torch.arange(-(window // 2), window // 2 + 1).to(image)
    kernel = _gaussian(reach[:, None].square() + reach.square(), sigma)
    if image.numel() == 0:
        return image
    return torch.nn.functional.conv2d(image[:, None], kernel[None, None], padding=window // 2)[:, 0]
