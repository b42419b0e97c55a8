"""The operators of deep voting: fused, differentiable, the same bits for any number of threads.

=========================  ==========================================================  =============
:func:`vote_targets`       what training asks of every pixel                           eq. 1
:func:`hybrid_activation`  logits to votes                                             eq. 2
:func:`voting_loss`        loss, and its gradient in the same sweep                    eq. 3, 4, 5
:func:`parzen_density`     votes to a density, exactly                                 eq. 6, 7
:func:`vote_map`           votes to a map of sums                                      section 2.3
:func:`vote_density`       votes to a density, fast: the map, filtered                 section 2.3
:func:`find_peaks`         density to nuclei                                           section 2.2
=========================  ==========================================================  =============

Coordinates are ``(y, x)`` with pixel centres at the integers. Vote ``j`` owns the channels ``3j``
(confidence), ``3j + 1`` (offset y) and ``3j + 2`` (offset x). An offset is *pixel minus nucleus*:
a vote lands at ``voter - offset``. Voters stand on the pixels ``offset + stride * i``.

Contiguous, channels_last and sliced tensors are read as they are, without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor

from ._arguments import (
    Offset,
    check_capacity,
    check_gaussian,
    check_grid,
    check_min_distance,
    check_votes,
    choice,
    limit,
    pair,
)
from ._library import ops

__all__ = [
    "count_void_votes",
    "find_first_peaks",
    "find_peaks",
    "hybrid_activation",
    "parzen_density",
    "vote_density",
    "vote_map",
    "vote_targets",
    "voting_loss",
]

_INTERPOLATIONS = {"nearest": 0, "bilinear": 1}
_AREAS = {"box": 0, "disc": 1}
_REDUCTIONS = ("mean", "sum", "none")


def hybrid_activation(logits: Tensor, dim: int = 1) -> Tensor:
    r"""Turn logits into votes (eq. 2): a sigmoid on confidences, nothing on offsets.

    .. math:: w_j = \mathrm{sigm}(Iw_j), \qquad d_j = Id_j

    Parameters
    ----------
    logits
        ``[N, 3k]``, ``[B, 3k, H, W]``, or any tensor of up to 4 dimensions with ``3k`` channels in
        dimension `dim`; float32, float64, bfloat16 or float16 (halves are computed in float32).
    dim
        The dimension of the channels.

    Returns
    -------
    Tensor
        Votes, of the shape, dtype and memory format of `logits`. Differentiable twice.

    Raises
    ------
    ValueError
        If dimension `dim` does not hold a multiple of three channels.

    Examples
    --------
    >>> import torch, dvfast
    >>> dvfast.hybrid_activation(torch.tensor([[0.0, 3.0, -4.0]]))
    tensor([[ 0.5000,  3.0000, -4.0000]])
    """
    if not 1 <= logits.dim() <= 4:
        raise ValueError(f"logits must have 1 to 4 dimensions, got {list(logits.shape)}")
    if not -logits.dim() <= dim < logits.dim():
        raise ValueError(f"dim must be a dimension of logits {list(logits.shape)}, got {dim}")
    if logits.shape[dim] % 3:
        raise ValueError(
            f"logits must have 3k channels in dimension {dim}, got {list(logits.shape)}"
        )
    if logits.dim() == 1:
        return cast(Tensor, ops.hybrid_activation(logits.unsqueeze(0)).squeeze(0))
    if dim % logits.dim() == 1:
        return cast(Tensor, ops.hybrid_activation(logits))
    return cast(Tensor, ops.hybrid_activation(logits.movedim(dim, 1)).movedim(1, dim))


def voting_loss(
    logits: Tensor,
    target: Tensor,
    lam: float = 384.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    r"""Loss of the votes of every patch (eq. 3 and 4), with its gradient (eq. 5) in the same sweep.

    .. math:: l = \sum_j \tfrac12 \left( \alpha_j w_j \lVert d_j - v_j \rVert^2
                + \lambda (w_j - \alpha_j)^2 \right), \qquad w = \mathrm{sigm}(Iw)

    Parameters
    ----------
    logits
        ``[N, 3k]``, ``[B, 3k, L]`` or ``[B, 3k, H, W]``: the network's raw outputs, before the
        hybrid activation; float32, float64, bfloat16 or float16.
    target
        Of the shape of `logits`, as :func:`vote_targets` returns it; of the dtype of `logits`, or
        float32 beside half-precision logits. It is taken as constant.
    lam
        Weight of the confidence term.
    reduction
        ``"mean"`` over patches (not over votes), ``"sum"``, or ``"none"`` for the loss of each.

    Returns
    -------
    Tensor
        ``[]``, or ``[N]``, ``[B, L]``, ``[B, H, W]`` without reduction. In float32 for halves: a
        mean of three digits helps nobody. The same bits for any number of threads and any memory
        format. Differentiable once with respect to `logits`.

    Raises
    ------
    ValueError
        If `target` requires a gradient, or `reduction` is unknown.
    RuntimeError
        If shapes, dtypes or devices do not fit.

    Examples
    --------
    >>> import torch, dvfast
    >>> logits = torch.tensor([[0.0, 1.0, 1.0]])  # one patch, one vote
    >>> target = torch.tensor([[1.0, 0.0, 0.0]])
    >>> dvfast.voting_loss(logits, target)  # ½ (1 · ½ · 2 + 384 · ½²)
    tensor(48.5000)
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {_REDUCTIONS}, got {reduction!r}")
    if target.requires_grad:
        raise ValueError("target must not require a gradient: the loss takes it as constant")
    if target.device != logits.device:
        raise RuntimeError(
            f"target must be on the device of logits, {logits.device}, got {target.device}"
        )
    with_gradient = torch.is_grad_enabled() and logits.requires_grad
    loss: Tensor
    loss, _ = ops.voting_loss(logits, target, lam, reduction == "none", with_gradient)
    if reduction == "mean":
        patches = logits.numel() // logits.shape[1] if logits.shape[1] else 0
        return loss / patches if patches else loss * math.nan
    return loss


def vote_targets(
    points: Tensor | Sequence[Tensor],
    size: tuple[int, int],
    num_votes: int,
    *,
    r1: float = 39.0,
    r2: float = 58.5,
    beta: float = 0.5,
    stride: int = 1,
    offset: Offset = 0,
) -> Tensor:
    r"""What training asks of every pixel (eq. 1): votes for its k nearest nuclei.

    .. math:: v = y - g, \qquad \alpha = \begin{cases} 1 & |v| \le r_1 \\
                1 / (1 + \beta |v|) & r_1 < |v| \le r_2 \\ 0 & \text{otherwise} \end{cases}

    Parameters
    ----------
    points
        Nucleus centres ``(y, x)`` in pixels: ``[n, 2]`` for one image, or a sequence of such
        tensors, of different lengths, for a batch; float32 or float64. Points that are NaN or
        infinite are left out.
    size
        ``(height, width)`` of the image, in pixels.
    num_votes
        k. Nuclei come in the order of their distance, equal distances in that of their index.
        Where there are fewer than k nuclei, the missing votes are all zero.
    r1, r2, beta
        Pixels up to which a vote has full confidence, beyond which it has none, and the decay in
        between. The defaults are the paper's, 39 and 1.5 · 39 for patches of 39 pixels.
    stride, offset
        Targets are those of the pixels ``offset + stride * i``, one number or ``(y, x)`` for
        `offset`; the offset may be fractional.

    Returns
    -------
    Tensor
        ``[B, 3k, h, w]``, as many rows and columns as fit the image. Not differentiable.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> nuclei = torch.tensor([[1.0, 2.0]])
    >>> target = dvfast.vote_targets(nuclei, (3, 4), num_votes=1)
    >>> target[0, :, 0, 0]  # confidence, then pixel minus nucleus
    tensor([ 1., -1., -2.])
    """
    check_grid(stride)
    if num_votes < 1:
        raise ValueError(f"num_votes must be at least 1, got {num_votes}")
    if not 0 <= r1 <= r2:
        raise ValueError(f"r1 and r2 must satisfy 0 <= r1 <= r2, got {r1} and {r2}")
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta must be at least 0, got {beta}")
    images = [points] if isinstance(points, Tensor) else list(points)
    if not images:
        raise ValueError("points must hold at least one image, got an empty sequence")
    for i, image in enumerate(images):
        if image.dim() != 2 or image.shape[1] != 2:
            raise ValueError(
                f"points must be [n, 2] coordinates (y, x), got {list(image.shape)} for image {i}"
            )
    together = images[0] if len(images) == 1 else torch.cat(images)
    ends = [0]
    for image in images:
        ends.append(ends[-1] + image.shape[0])
    splits = torch.tensor(ends, dtype=torch.int64, device=together.device)
    offset_y, offset_x = pair(offset)
    target = ops.vote_targets(
        together.detach(), splits, *size, num_votes, r1, r2, beta, stride, offset_y, offset_x
    )
    return cast(Tensor, target)


def vote_map(
    votes: Tensor,
    size: tuple[int, int],
    *,
    stride: int = 1,
    offset: Offset = 0,
    max_offset: float | None = None,
    interpolation: Literal["nearest", "bilinear"] = "nearest",
) -> Tensor:
    r"""Sum the votes that land on each pixel (section 2.3).

    Confidences are added as 64-bit integers in units of 2⁻³⁰, so the map is the same to the bit for
    any order of the votes and any number of threads. A sum is exact to half a unit per vote.

    Parameters
    ----------
    votes
        ``[B, 3k, h, w]`` votes (after :func:`hybrid_activation`) of our network or any other;
        float32 or float64.
    size
        ``(height, width)`` of the map, in pixels.
    stride, offset
        Vote ``(i, j)`` was cast by the pixel ``offset + stride * (i, j)``; `offset` is one number
        or ``(y, x)``, and may be fractional.
    max_offset
        Votes longer than this many pixels do not count.
    interpolation
        ``"nearest"`` adds a confidence to the pixel nearest to the landing point (a tie goes to the
        greater coordinate), ``"bilinear"`` shares it among the four around it. Only the latter has
        a gradient with respect to the offsets; the former's is zero.

    Returns
    -------
    Tensor
        ``[B, height, width]``, the dtype of `votes`. Votes that land outside are lost. Votes that
        are NaN or infinite, or whose confidence exceeds 2³³ divided by the number of votes of the
        image (never a confidence up to 1), are void: dropped, and counted by
        :func:`count_void_votes`. Differentiable once.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> votes = torch.zeros(1, 3, 2, 2)
    >>> votes[0, :, 0, 0] = torch.tensor([0.75, -1.0, -1.0])  # from pixel (0, 0) to (1, 1)
    >>> dvfast.vote_map(votes, (2, 2))
    tensor([[[0.0000, 0.0000],
             [0.0000, 0.7500]]])
    """
    check_votes(votes, size)
    check_grid(stride)
    result, _ = ops.vote_map(
        votes,
        *size,
        stride,
        *pair(offset),
        limit("max_offset", max_offset),
        choice("interpolation", interpolation, _INTERPOLATIONS),
    )
    return cast(Tensor, result)


def count_void_votes(votes: Tensor) -> Tensor:
    """Count the votes that the density operators drop because they are void.

    Parameters
    ----------
    votes
        ``[B, 3k, h, w]``, float32 or float64.

    Returns
    -------
    Tensor
        ``[B]`` int64: votes that are NaN or infinite, or too confident; see :func:`vote_map`.

    Examples
    --------
    >>> import torch, dvfast
    >>> dvfast.functional.count_void_votes(torch.tensor([1.0, 0.0, torch.nan]).reshape(1, 3, 1, 1))
    tensor([1])
    """
    check_votes(votes, (0, 0))
    _, num_void = ops.vote_map(votes.detach(), 0, 0, 1, 0.0, 0.0, math.inf, 0)
    return cast(Tensor, num_void)


def vote_density(
    votes: Tensor,
    size: tuple[int, int],
    *,
    sigma: float = 1.0,
    window: int = 5,
    stride: int = 1,
    offset: Offset = 0,
    max_offset: float | None = None,
    interpolation: Literal["nearest", "bilinear"] = "nearest",
) -> Tensor:
    r"""The voting density the fast way (section 2.3): the vote map, filtered with a Gaussian.

    .. math:: V(x) = \sum_t M(t)\, \frac{1}{2\pi\sigma^2}
                \exp\left(-\frac{\lVert t - x \rVert^2}{2\sigma^2}\right)

    The sum runs over the `window` around ``x``; the Gaussian is not renormalised, and the map is
    zero outside the image.

    Parameters
    ----------
    votes, size, stride, offset, max_offset, interpolation
        As for :func:`vote_map`.
    sigma
        Standard deviation in pixels, at least 0.01.
    window
        Side of the Gaussian's support in pixels, odd, at most 255.

    Returns
    -------
    Tensor
        ``[B, height, width]``. The same bits for
        any number of threads. Differentiable once: the gradient of a confidence is the filtered
        upstream gradient where the vote landed. Rounding has no derivative; with ``"nearest"`` the
        gradient of an offset is that of the Gaussian centred on the pixel the vote was rounded to
        (a straight-through estimate), with ``"bilinear"`` it is exact.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> votes = torch.zeros(1, 3, 5, 5)
    >>> votes[0, :, 2, 1] = torch.tensor([1.0, 0.0, -1.0])  # from (2, 1) to (2, 2)
    >>> dvfast.vote_density(votes, (5, 5))[0, 2]
    tensor([0.0215, 0.0965, 0.1592, 0.0965, 0.0215])
    """
    check_votes(votes, size)
    check_grid(stride)
    check_gaussian(sigma, window)
    result, _ = ops.vote_density(
        votes,
        *size,
        sigma,
        window,
        stride,
        *pair(offset),
        limit("max_offset", max_offset),
        choice("interpolation", interpolation, _INTERPOLATIONS),
    )
    return cast(Tensor, result)


def parzen_density(
    votes: Tensor,
    size: tuple[int, int],
    *,
    sigma: float = 1.0,
    window: int = 5,
    stride: int = 1,
    offset: Offset = 0,
    radius: float | None = None,
    area: Literal["box", "disc"] = "box",
) -> Tensor:
    r"""The voting density exactly (eq. 6 and 7): a Gaussian at every landing point, not rounded.

    .. math:: V(x) = \sum_{y \in B(x)} \sum_j w_j(y)\, \frac{1}{2\pi\sigma^2}
                \exp\left(-\frac{\lVert (y - d_j(y)) - x \rVert^2}{2\sigma^2}\right)

    Parameters
    ----------
    votes, size, stride, offset
        As for :func:`vote_map`.
    sigma
        Standard deviation in pixels, at least 0.01.
    window
        A Gaussian reaches the `window` × `window` pixels around the one nearest to its centre; odd,
        at most 255.
    radius, area
        ``B(x)``: a vote counts at a pixel only if its voter lies within the ``"box"`` or ``"disc"``
        of this radius, in pixels, around it. ``None``: every voter counts.

    Returns
    -------
    Tensor
        ``[B, height, width]``. Summed in fixed
        point as in :func:`vote_map`: the same bits for any number of threads. Differentiable once.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> votes = torch.tensor([1.0, 0.0, 0.4]).reshape(1, 3, 1, 1)
    >>> dvfast.parzen_density(votes, (1, 2))  # centred on x = -0.4
    tensor([[[0.1469, 0.0597]]])
    """
    check_votes(votes, size)
    check_grid(stride)
    check_gaussian(sigma, window)
    result, _ = ops.parzen_density(
        votes,
        *size,
        sigma,
        window,
        stride,
        *pair(offset),
        limit("radius", radius),
        choice("area", area, _AREAS),
    )
    return cast(Tensor, result)


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
        A peak has nothing higher within this many pixels along both axes; 1 is the 3×3 window.

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
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> density = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.1, 0.6]])
    >>> dvfast.find_peaks(density)
    (tensor([[0., 1.],
            [2., 2.]]), tensor([1.0000, 0.6000]))
    """
    _check_density(density, threshold, min_distance)
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
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> density = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.1, 0.6]])
    >>> dvfast.find_first_peaks(density, 3)
    (tensor([[ 0.,  1.],
            [ 2.,  2.],
            [-1., -1.]]), tensor([1.0000, 0.6000, 0.0000]), tensor([2]))
    """
    _check_density(density, threshold, min_distance)
    check_capacity(capacity)
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


def _check_density(density: Tensor, threshold: float, min_distance: int) -> None:
    if density.dim() != 2:
        raise ValueError(f"density must be [H, W], got {list(density.shape)}")
    if threshold != threshold:  # torch.compile follows this, but no math.isnan
        raise ValueError("threshold must be a number, got NaN")
    check_min_distance(min_distance)


def _dtype_of_points(density: Tensor) -> torch.dtype:
    # Autocast lets halves come this far; they cannot hold a coordinate beyond a few hundred.
    return torch.promote_types(density.dtype, torch.float32)
