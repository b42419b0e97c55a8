"""Votes to a density, the fast way: section 2.3."""

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
from .vote_map import INTERPOLATIONS

__all__ = ["vote_density"]


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
        As for :func:`dvfast.vote_map`.
    sigma
        Standard deviation in pixels, at least 0.01.
    window
        Side of the Gaussian's support in pixels, odd, at most 255.

    Returns
    -------
    Tensor
        ``[B, height, width]``, the dtype of `votes`; votes per pixel. Void votes are dropped, as by
        :func:`dvfast.vote_map`. The same bits for any number of threads. Differentiable once: the
        gradient of a confidence is the filtered upstream gradient where the vote landed. Rounding
        has no derivative; with ``"nearest"`` the gradient of an offset is that of the Gaussian
        centred on the pixel the vote was rounded to (a straight-through estimate), with
        ``"bilinear"`` it is exact.

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
    >>> votes = torch.zeros(1, 3, 5, 5)
    >>> votes[0, :, 2, 1] = torch.tensor([1.0, 0.0, -1.0])  # from (2, 1) to (2, 2)
    >>> dvfast.vote_density(votes, (5, 5))[0, 2]
    tensor([0.0215, 0.0965, 0.1592, 0.0965, 0.0215])
    """
    check_votes(votes)
    check_size(size)
    check_stride(stride)
    check_gaussian(sigma, window)
    result, _ = ops.vote_density(
        votes,
        *size,
        sigma,
        window,
        stride,
        *pair(offset),
        limit("max_offset", max_offset),
        choice("interpolation", interpolation, INTERPOLATIONS),
    )
    return cast(Tensor, result)
