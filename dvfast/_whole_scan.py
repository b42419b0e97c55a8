"""Scanning by networks that are not made of patches: windows that overlap by all they reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._padding import window
from .functional import hybrid_activation
from .nn import VotingNetwork

__all__ = ["VotesOf", "fill_by_windows", "votes_by_torch"]

# Of pixels with the margin around them, and of a dense pass at that stride, the votes of some rows
# and columns.
VotesOf = Callable[[Tensor, int, slice, slice], Tensor]

# The side of a window, which bounds the memory. What overlaps is computed twice: for a network that
# reaches 52 pixels, a third of the whole.
_WINDOW = 640


def votes_by_torch(net: VotingNetwork) -> VotesOf:
    """By the network's own dense pass, through PyTorch."""

    def votes_of(pixels: Tensor, stride: int, rows: slice, columns: slice) -> Tensor:
        logits = net.dense(pixels.contiguous(memory_format=torch.channels_last), stride)
        return hybrid_activation(logits[:, :, rows, columns].to(pixels))

    return votes_of


def fill_by_windows(
    net: VotingNetwork,
    votes_of: VotesOf,
    images: Tensor,
    votes: Tensor,
    place: tuple[int, int, int],
    padding: str,
    progress: Callable[[float], object] | None,
) -> None:
    """Fill ``[B, 3k, h, w]`` with the votes of the pixels ``(top, left) + stride * i``.

    The image is continued by the network's margin and by zeros beyond, wherever a window ends: the
    votes do not depend on the windows but for rounding.
    """
    top, left, stride = place
    all_rows = _spans(net, top, votes.shape[2], images.shape[2], stride)
    all_columns = _spans(net, left, votes.shape[3], images.shape[3], stride)
    done = 0
    for b in range(len(images)):
        for rows in all_rows:
            for columns in all_columns:
                pixels = window(
                    images[b : b + 1],
                    rows.first,
                    columns.first,
                    rows.length,
                    columns.length,
                    padding,
                )
                target = votes[b : b + 1, :, rows.votes, columns.votes]
                target[:] = votes_of(pixels, rows.dense_stride, rows.wanted, columns.wanted)
                done += target[0, 0].numel()
                if progress is not None:
                    progress(done / votes[:, 0].numel())


@dataclass(frozen=True)
class _Span:
    """One side of a window: its pixels, which of its votes are wanted, and where they go."""

    first: int
    length: int
    dense_stride: int
    wanted: slice
    votes: slice


def _spans(net: VotingNetwork, first: int, count: int, size: int, stride: int) -> list[_Span]:
    """Windows over ``count`` voters from the pixel ``first`` on, of an image of ``size`` pixels."""
    most = max(1, (_WINDOW - 2 * net.reach) // stride)
    if size + 2 * net.margin <= _WINDOW:
        most = count
    parts = math.ceil(count / most)
    # A network with a grid answers on its own grid; of that, every so many votes are wanted.
    dense_stride = stride if net.grid == 1 else net.output_stride
    spans = []
    for part in range(parts):
        begin, end = part * count // parts, (part + 1) * count // parts
        nearest, farthest = first + begin * stride, first + (end - 1) * stride
        start = max(-net.margin, (nearest - net.reach) // net.grid * net.grid)
        stop = min(size + net.margin, farthest + net.reach + 1)
        skipped = (nearest - start - net.margin) // dense_stride
        step = stride // dense_stride
        wanted = slice(skipped, skipped + (end - begin - 1) * step + 1, step)
        spans.append(_Span(start, stop - start, dense_stride, wanted, slice(begin, end)))
    return spans
