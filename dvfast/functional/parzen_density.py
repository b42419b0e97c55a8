"""Votes to a density, exactly: eq. 6 and 7."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor

from .._arguments import (
    Offset,
    check_gaussian,
    check_size,
    check_stride,
    check_votes,
    choice,
    limit,
    pair,
)
from .._library import ops

__all__ = ["parzen_density"]

_AREAS = {"box": 0, "disc": 1}


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
        As for :func:`dvfast.vote_map`.
    sigma
        Standard deviation in pixels, at least 0.01.
    window
        A Gaussian reaches the `window` × `window` pixels around the one nearest to its centre; odd,
        at most 255.
    radius, area
        ``B(x)``: a vote counts at a pixel only if its voter lies within the ``"box"`` or ``"disc"``
        of this radius, in pixels, 0 or more, around it. ``None``: every voter counts.

    Returns
    -------
    Tensor
        ``[B, height, width]``, the dtype of `votes`; votes per pixel. Void votes are dropped, as by
        :func:`dvfast.vote_map`, and the sums are in fixed point as there: the same bits for any
        number of threads. Differentiable once.

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
    >>> votes = torch.tensor([1.0, 0.0, 0.4]).reshape(1, 3, 1, 1)
    >>> dvfast.parzen_density(votes, (1, 2))  # centred on x = -0.4
    tensor([[[0.1469, 0.0597]]])
    """
    check_votes(votes)
    check_size(size)
    check_stride(stride)
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
