"""Kernels by name: what one call of each computes, over ranges of its work cut as one likes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Axis = tuple[int, int, float]
Ranges = Iterable[tuple[int, int]]
Split = Callable[[int], Ranges]

AT_PIXELS: Axis = (1, 0, 0.0)  # stride, base, fraction of the voters' grid
NO_LIMIT = 1e6


def whole(total: int) -> Ranges:
    return [(0, total)]


def in_pieces(total: int) -> Ranges:
    random = np.random.default_rng(total)
    cuts = sorted({0, total, *random.integers(0, total + 1, 7).tolist()})
    return random.permutation([*itertools.pairwise(cuts), (total, total)]).tolist()


def one_by_one(total: int) -> Ranges:
    return [(i, i + 1) for i in reversed(range(total))]


CUTS: tuple[Split, ...] = (in_pieces, one_by_one)


def function(module: ModuleType, name: str, array: Array) -> Callable[..., Any]:
    return getattr(module, f"{name}_{array.dtype.name}")


def scatter(
    module: ModuleType,
    votes: Array,
    size: tuple[int, int],
    *,
    axes: tuple[Axis, Axis] = (AT_PIXELS, AT_PIXELS),
    max_offset: float = math.inf,
    limit: float = NO_LIMIT,
    interpolation: int = 0,
    shared: bool = False,
    split: Split = whole,
) -> tuple[Array, int]:
    """Sums ``[B, H, W]`` in fixed point and the number of void votes."""
    sums = np.zeros((votes.shape[0], *size), np.int64)
    kernel = function(module, "scatter_votes", votes)
    num_void = sum(
        kernel(votes, sums, *axes, max_offset, limit, interpolation, shared, *part)
        for part in split(votes.shape[0] * votes.shape[2])
    )
    return sums, num_void


def gather(
    module: ModuleType,
    votes: Array,
    value: Array,
    slopes: tuple[Array | None, Array | None] = (None, None),
    *,
    axes: tuple[Axis, Axis] = (AT_PIXELS, AT_PIXELS),
    max_offset: float = math.inf,
    limit: float = NO_LIMIT,
    interpolation: int = 0,
    split: Split = whole,
) -> Array:
    result = np.full(votes.shape, np.nan, votes.dtype)
    kernel = function(module, "gather_votes", votes)
    for part in split(votes.shape[0] * votes.shape[2]):
        kernel(votes, result, value, *slopes, *axes, max_offset, limit, interpolation, *part)
    return result


def parzen_scatter(
    module: ModuleType,
    votes: Array,
    size: tuple[int, int],
    *,
    sigma: float = 1.0,
    window: int = 5,
    axes: tuple[Axis, Axis] = (AT_PIXELS, AT_PIXELS),
    limit: float = NO_LIMIT,
    radius: float = math.inf,
    area: int = 0,
    shared: bool = False,
    split: Split = whole,
) -> tuple[Array, int]:
    sums = np.zeros((votes.shape[0], *size), np.int64)
    kernel = function(module, "parzen_scatter", votes)
    num_void = sum(
        kernel(votes, sums, sigma, window, *axes, limit, radius, area, shared, *part)
        for part in split(votes.shape[0] * votes.shape[2])
    )
    return sums, num_void


def parzen_gather(
    module: ModuleType,
    votes: Array,
    grad: Array,
    *,
    sigma: float = 1.0,
    window: int = 5,
    axes: tuple[Axis, Axis] = (AT_PIXELS, AT_PIXELS),
    limit: float = NO_LIMIT,
    radius: float = math.inf,
    area: int = 0,
    split: Split = whole,
) -> Array:
    result = np.full(votes.shape, np.nan, votes.dtype)
    kernel = function(module, "parzen_gather", votes)
    for part in split(votes.shape[0] * votes.shape[2]):
        kernel(votes, result, grad, sigma, window, *axes, limit, radius, area, *part)
    return result


def gaussian_filter(
    module: ModuleType, image: Array, *, sigma: float = 1.0, window: int = 5, split: Split = whole
) -> Array:
    """The derivative along x of the filtered image: another row of taps on each axis."""
    make_taps = function(module, "gaussian_taps", image)
    taps = [np.array(make_taps(sigma, window, slope), image.dtype) for slope in (False, True)]
    result = np.full(image.shape, np.nan, image.dtype)
    kernel = function(module, "gaussian_filter", image)
    for part in split(image.shape[0] * image.shape[1]):
        kernel(image, result, *taps, *part)
    return result


def vote_targets(
    module: ModuleType,
    points: Array,
    size: tuple[int, int],
    num_votes: int,
    *,
    axes: tuple[Axis, Axis] = (AT_PIXELS, AT_PIXELS),
    split: Split = whole,
) -> Array:
    target = np.full((1, 3 * num_votes, *size), np.nan, points.dtype)
    kernel = function(module, "vote_targets", points)
    for part in split(size[0]):
        kernel(points, target, *axes, 3.0, 9.0, 0.5, *part)
    return target


def find_peaks(
    module: ModuleType,
    density: Array,
    *,
    threshold: float = 0.2,
    relative: bool = True,
    min_distance: int = 1,
    split: Split = whole,
) -> Array:
    """``[n, 2]`` for a density ``[H, W]``, as the operator puts the kernels together."""
    one = density[None]
    highest = max(
        (function(module, "highest_value", density)(one, *p) for p in split(len(density))),
        default=0,
    )
    lowest = threshold * highest if relative and threshold else threshold
    found = []
    for part in split(len(density)):
        find = function(module, "find_peaks", density)
        found.append((part, find(one, lowest, min_distance, *part)))
    in_raster_order = [peak for _, peaks in sorted(found) for peak in peaks]
    kept = function(module, "merge_plateaus", density)(one, min_distance, in_raster_order)
    return np.array(kept, np.int64).reshape(-1, 2)


def hybrid(
    module: ModuleType, dtype: str, inputs: list[Array], *, split: Split = whole
) -> list[Array]:
    """Votes, gradient and second derivative; `inputs` are logits, upstream and outer gradient."""
    logits, upstream, outer = inputs
    votes, first, second = (np.zeros_like(logits) for _ in range(3))
    patches = logits.shape[0] * logits.shape[2] * logits.shape[3]
    for arguments, suffix in (
        ((logits, votes), ""),
        ((upstream, votes, first), "_backward"),
        ((outer, upstream, votes, second), "_double_backward"),
    ):
        for part in split(module.num_blocks(patches)):
            getattr(module, f"hybrid_activation{suffix}_{dtype}")(*arguments, *part)
    return [votes, first, second]


def voting_loss(
    module: ModuleType,
    dtypes: tuple[str, str],
    logits: Array,
    target: Array,
    *,
    split: Split = whole,
) -> list[Array]:
    """Losses of patches and of blocks, the gradient, and the gradient scaled by those losses."""
    compute = np.float64 if dtypes[0] == "float64" else np.float32
    shape = (logits.shape[0], *logits.shape[2:])
    blocks = module.num_blocks(math.prod(shape))
    gradient, scaled = np.zeros_like(logits, compute), np.zeros_like(logits, compute)
    patch_loss, block_loss = np.zeros(shape, compute), np.zeros(blocks)
    sweep = getattr(module, f"voting_loss_{dtypes[0]}_{dtypes[1]}")
    for part in split(blocks):
        sweep(logits, target, gradient, patch_loss, block_loss, 384.0, *part)
    backward = getattr(module, f"voting_loss_backward_{gradient.dtype.name}")
    for part in split(blocks):
        backward(gradient, scaled, patch_loss, *part)
    return [patch_loss, block_loss, gradient, scaled]
