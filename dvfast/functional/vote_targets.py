"""What training asks of every pixel: eq. 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from .._arguments import (
    Offset,
    check_count,
    check_number,
    check_size,
    check_stride,
    pair,
    wrong_type,
)
from .._library import ops

__all__ = ["vote_targets"]


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
        k, at least 1. Nuclei come in the order of their distance, equal distances in that of their
        index. Where there are fewer than k nuclei, the missing votes are all zero.
    r1, r2, beta
        Pixels up to which a vote has full confidence, beyond which it has none, and the decay in
        between, per pixel; ``0 <= r1 <= r2`` and ``beta >= 0``. The defaults are the paper's, 39
        and 1.5 · 39 for patches of 39 pixels.
    stride, offset
        Targets are those of the pixels ``offset + stride * i``, one number or ``(y, x)`` for
        `offset`; the stride is at least 1, the offset may be negative and fractional.

    Returns
    -------
    Tensor
        ``[B, 3k, h, w]``, as many rows and columns as fit the image; of the dtype and on the device
        of `points`. Not differentiable.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.
    RuntimeError
        If `points` are of another dtype, or not on one device.

    Examples
    --------
    >>> import torch, dvfast
    >>> nuclei = torch.tensor([[1.0, 2.0]])
    >>> target = dvfast.vote_targets(nuclei, (3, 4), num_votes=1)
    >>> target[0, :, 0, 0]  # confidence, then pixel minus nucleus
    tensor([ 1., -1., -2.])
    """
    check_size(size)
    check_count("num_votes", num_votes)
    check_stride(stride)
    for name, value in (("r1", r1), ("r2", r2), ("beta", beta)):
        check_number(name, value)
    if not 0 <= r1 <= r2:
        raise ValueError(f"r1 and r2 must satisfy 0 <= r1 <= r2, got {r1} and {r2}")
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta must be at least 0 and finite, got {beta}")
    images = [points] if isinstance(points, Tensor) else points
    if not isinstance(images, (tuple, list)):
        raise _no_points(points)
    if not images:
        raise ValueError("points must hold at least one image, got an empty sequence")
    for i, image in enumerate(images):
        if not isinstance(image, Tensor):
            raise _no_points(points)
        if i and image.device != images[0].device:
            raise RuntimeError(
                f"points must be on one device, got {image.device} for image {i}, "
                f"{images[0].device} for image 0"
            )
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


def _no_points(points: object) -> TypeError:
    expected = "a tensor [n, 2], or a sequence of such tensors, one for each image"
    return wrong_type("points", points, expected, "; torch.as_tensor makes one of coordinates")
