"""What surrounds an image."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PADDINGS", "pad_image", "window"]

PADDINGS = ("reflect", "replicate", "circular", "constant")


def pad_image(image: Tensor, margin: int, mode: str = "reflect") -> Tensor:
    """Pad ``[..., H, W]`` on all sides, by any margin whatever the size of the image.

    Parameters
    ----------
    image
        At least one pixel high and wide.
    margin
        Pixels to add on every side; at least 0.
    mode
        ``"reflect"`` (the border pixel is not repeated; a small image is reflected again and
        again), ``"replicate"``, ``"circular"``, or ``"constant"`` (zeros).

    Examples
    --------
    >>> import torch
    >>> pad_image(torch.tensor([[1, 2, 3]]), 2)[2]
    tensor([3, 2, 1, 2, 3, 2, 1])
    """
    height, width = image.shape[-2:]
    return window(image, -margin, -margin, height + 2 * margin, width + 2 * margin, mode)


def window(image: Tensor, top: int, left: int, height: int, width: int, mode: str) -> Tensor:
    """Rows ``top`` to ``top + height`` and so many columns, padded where there is no image."""
    if mode not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(map(repr, PADDINGS))}, got {mode!r}")
    missing = []
    for dim, first, length in ((-2, top, height), (-1, left, width)):
        size = image.shape[dim]
        if first >= 0 and first + length <= size:
            image = image.narrow(dim, first, length)
            continue
        # What is copied along this dimension must not be all there is along the other. Its range is
        # worked out on the host, so that nothing waits for a device.
        needed = _nearest(torch.arange(first, first + length), size, mode)
        lowest, highest = int(needed.min()), int(needed.max())
        image = image.narrow(dim, lowest, highest + 1 - lowest)
        position = torch.arange(first, first + length, device=image.device)
        nearest = _nearest(position, size, mode)
        missing.append((dim, nearest - lowest, nearest == position))
    for dim, index, inside in missing:
        image = image.index_select(dim, index)
        if mode == "constant":
            image = torch.where(inside.reshape([-1, 1] if dim == -2 else [-1]), image, 0)
    return image


def _nearest(position: Tensor, size: int, mode: str) -> Tensor:
    """The pixel of the image that stands for one that may lie outside."""
    if mode == "circular":
        return position % size
    if mode == "reflect":
        period = max(2 * (size - 1), 1)
        return (position % period).clamp(max=period - position % period)
    return position.clamp(0, size - 1)
