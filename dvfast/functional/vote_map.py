"""Votes to a map of sums: section 2.3."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor

from .._arguments import (
    NO_LIMIT,
    Offset,
    check_size,
    check_stride,
    check_votes,
    choice,
    limit,
    pair,
)
from .._library import ops

__all__ = ["INTERPOLATIONS", "count_void_votes", "vote_map"]

INTERPOLATIONS = {"nearest": 0, "bilinear": 1}


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
        ``[B, 3k, h, w]`` votes (after :func:`dvfast.hybrid_activation`) of our network or any
        other; float32 or float64.
    size
        ``(height, width)`` of the map, in pixels; 0 or more.
    stride, offset
        Vote ``(i, j)`` was cast by the pixel ``offset + stride * (i, j)``; the stride is at least
        1, `offset` one number or ``(y, x)``, and may be negative and fractional.
    max_offset
        Votes longer than this many pixels, 0 or more, do not count; ``None``: all count.
    interpolation
        ``"nearest"`` adds a confidence to the pixel nearest to the landing point (a tie goes to the
        greater coordinate), ``"bilinear"`` shares it among the four around it. Only the latter has
        a gradient with respect to the offsets; the former's is zero.

    Returns
    -------
    Tensor
        ``[B, height, width]``, the dtype of `votes`. Votes that land outside are lost. Votes that
        are NaN or infinite, or whose confidence exceeds 2³³ divided by the number of votes of the
        image (never a confidence up to 1 where there are fewer than 2³³ votes), are void: dropped,
        and counted by :func:`count_void_votes`. Differentiable once.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.
    RuntimeError
        If `votes` are of another dtype.

    Examples
    --------
    >>> import torch, dvfast
    >>> votes = torch.zeros(1, 3, 2, 2)
    >>> votes[0, :, 0, 0] = torch.tensor([0.75, -1.0, -1.0])  # from pixel (0, 0) to (1, 1)
    >>> dvfast.vote_map(votes, (2, 2))
    tensor([[[0.0000, 0.0000],
             [0.0000, 0.7500]]])
    """
    check_votes(votes)
    check_size(size)
    check_stride(stride)
    result, _ = ops.vote_map(
        votes,
        *size,
        stride,
        *pair(offset),
        limit("max_offset", max_offset),
        choice("interpolation", interpolation, INTERPOLATIONS),
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

    Raises
    ------
    TypeError
        If `votes` are no tensor.
    ValueError
        If `votes` are of another shape.
    RuntimeError
        If `votes` are of another dtype.

    Examples
    --------
    >>> import torch, dvfast
    >>> dvfast.functional.count_void_votes(torch.tensor([1.0, 0.0, torch.nan]).reshape(1, 3, 1, 1))
    tensor([1])
    """
    check_votes(votes)
    _, num_void = ops.vote_map(votes.detach(), 0, 0, 1, 0.0, 0.0, NO_LIMIT, 0)
    return cast(Tensor, num_void)
