"""A density to nuclei: section 2.2."""

from __future__ import annotations

import torch
from torch import Tensor

from .._arguments import check_count, check_flag, check_number, check_tensor
from .._library import ops

__all__ = ["find_first_peaks", "find_peaks", "first_points_and_scores", "points_and_scores"]


def find_peaks(
    density: Tensor,
    *,
    threshold: float = 0.2,
    relative: bool = True,
    min_distance: int = 1,
) -> tuple[Tensor, Tensor]:
    """Nuclei: the local maxima of what remains of a density above a threshold.

    Parameters
    ----------
    density
        ``[H, W]``, float32 or float64. NaN is never a peak and hides none.
    threshold
        ξ: lower values are removed. In units of the highest value if `relative`, else of `density`.
    relative
        Whether `threshold` is a fraction of the highest value.
    min_distance
        A peak has nothing higher within this many pixels along both axes, 1 or more; 1 is the 3×3
        window.

    Returns
    -------
    points : Tensor
        ``[n, 2]`` coordinates (y, x) in raster order, the dtype of `density`. A peak is positive.
        A plateau (pixels of equal value within `min_distance` of one another) counts once, at its
        first pixel in raster order, and only if nothing around it is higher.
    scores : Tensor
        ``[n]`` values of the density at the points; differentiable with respect to `density`.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.
    RuntimeError
        If `density` is of another dtype.

    Examples
    --------
    >>> import torch, dvfast
    >>> density = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.1, 0.6]])
    >>> dvfast.find_peaks(density)
    (tensor([[0., 1.],
            [2., 2.]]), tensor([1.0000, 0.6000]))
    """
    _check_density(density, threshold, relative, min_distance)
    index = ops.find_peaks(density.detach(), threshold, relative, min_distance)
    return points_and_scores(density, index)


def find_first_peaks(
    density: Tensor,
    capacity: int,
    *,
    threshold: float = 0.2,
    relative: bool = True,
    min_distance: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`find_peaks` with a shape that is known beforehand, and so without waiting for a GPU.

    A CUDA graph can capture it, and ``torch.compile`` needs no dynamic shapes.

    Parameters
    ----------
    density, threshold, relative, min_distance
        As for :func:`find_peaks`.
    capacity
        How many peaks there is room for; at least 0.

    Returns
    -------
    points : Tensor
        ``[capacity, 2]``: the first peaks in raster order; (-1, -1) where there is no other.
    scores : Tensor
        ``[capacity]`` values of the density at the points, 0 where there is none; differentiable.
    count : Tensor
        ``[1]``, int64: how many peaks there are. More than `capacity` means that some are missing.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.
    RuntimeError
        If `density` is of another dtype.

    Examples
    --------
    >>> import torch, dvfast
    >>> density = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.1, 0.6]])
    >>> dvfast.find_first_peaks(density, 3)
    (tensor([[ 0.,  1.],
            [ 2.,  2.],
            [-1., -1.]]), tensor([1.0000, 0.6000, 0.0000]), tensor([2]))
    """
    _check_density(density, threshold, relative, min_distance)
    check_count("capacity", capacity, least=0)
    index, count = ops.find_first_peaks(
        density.detach(), threshold, relative, min_distance, capacity
    )
    return *first_points_and_scores(density, index), count


def points_and_scores(density: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Of peaks at the pixels `index`, ``[n, 2]``, that a kernel found in a density ``[H, W]``."""
    return index.to(_dtype_of_points(density)), density[index[:, 0], index[:, 1]]


def first_points_and_scores(density: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The same where `index` may be (-1, -1), which scores 0; without waiting for a GPU."""
    scores = density.new_zeros(index.shape[0])
    if density.numel() > 0:
        y, x = index.clamp(min=0).unbind(1)
        scores = torch.where(index[:, 0] >= 0, density[y, x], scores)
    return index.to(_dtype_of_points(density)), scores


def _check_density(density: Tensor, threshold: float, relative: bool, min_distance: int) -> None:
    check_tensor("density", density)
    if density.dim() != 2:
        raise ValueError(f"density must be [H, W], got {list(density.shape)}")
    check_number("threshold", threshold)
    if threshold != threshold:  # torch.compile follows this, but no math.isnan
        raise ValueError("threshold must be a number, got NaN")
    check_flag("relative", relative)
    check_count("min_distance", min_distance)


def _dtype_of_points(density: Tensor) -> torch.dtype:
    # Autocast lets halves come this far; they cannot hold a coordinate beyond a few hundred.
    return torch.promote_types(density.dtype, torch.float32)
