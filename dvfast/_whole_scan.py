"""Scanning by networks that are not made of patches: overlapping windows through PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._padding import window
from .functional import hybrid_activation
from .nn import VotingNetwork

__all__ = ["fill_by_windows"]

# The side of a window, which bounds the memory. What overlaps is computed twice: for a network that
# reaches 52 pixels, a third of the whole.
_WINDOW = 640


def fill_by_windows(
    net: VotingNetwork,
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
                ).contiguous(memory_format=torch.channels_last)
                logits = net.dense(pixels, rows.dense_stride)
                wanted = logits[:, :, rows.wanted, columns.wanted].to(votes)
                target = votes[b : b + 1, :, rows.votes, columns.votes]
                target[:] = hybrid_activation(wanted)
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
