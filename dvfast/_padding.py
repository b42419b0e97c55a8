"""What surrounds an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PADDINGS", "check_padding", "pad_image", "positions", "window"]

PADDINGS = ("reflect", "replicate", "circular", "constant")


def check_padding(mode: str) -> None:
    if mode not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(map(repr, PADDINGS))}, got {mode!r}")


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
    check_padding(mode)
    rows, columns = _Span(top, height, image.shape[-2]), _Span(left, width, image.shape[-1])
    margins = (*columns.margins, *rows.margins)
    if not any(margins):
        return image[..., rows.inside, columns.inside]
    # PyTorch pads ten times as fast as it gathers, but no further than the image goes.
    shortest = min(rows.length_inside, columns.length_inside)
    if mode != "circular" and 3 <= image.dim() <= 4 and max(margins) < shortest:
        return F.pad(image[..., rows.inside, columns.inside], margins, mode=mode)
    for dim, span in ((-2, rows), (-1, columns)):
        there = positions(span.first, span.length, span.size, mode, image.device)
        image = image.index_select(dim, there.clamp(min=0))
        if mode == "constant":
            image = torch.where((there >= 0).reshape([-1, 1] if dim == -2 else [-1]), image, 0)
    return image


def positions(first: int, length: int, size: int, mode: str, device: torch.device) -> Tensor:
    """Which of ``size`` pixels stand at the places from ``first`` on; -1 where there are zeros."""
    place = torch.arange(first, first + length, device=device)
    if mode == "circular":
        return place % size
    if mode == "reflect":
        period = max(2 * (size - 1), 1)
        return (place % period).clamp(max=period - place % period)
    nearest = place.clamp(0, size - 1)
    return nearest if mode == "replicate" else torch.where(nearest == place, nearest, -1)


class _Span:
    """A range of rows or columns, some of which may lie outside an image of ``size`` of them."""

    def __init__(self, first: int, length: int, size: int) -> None:
        self.first, self.length, self.size = first, length, size
        begin, end = max(first, 0), min(first + length, size)
        self.inside = slice(begin, max(begin, end))
        self.length_inside = max(0, end - begin)
        self.margins = (begin - first, first + length - end)
