"""Scanning by networks that are not made of patches: parts that overlap by all they reach."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ._padding import window
from ._unet_engine import UNetEngine
from .functional import hybrid_activation
from .nn import DeepVotingNet, VotingNetwork

__all__ = ["fill_by_strips", "fill_by_windows"]

# The side of a window, and rows and columns of a strip: they bound the memory. What overlaps is
# computed twice: for a network that reaches 52 pixels, a third of the whole in windows, a tenth in
# strips.
_WINDOW = 640
# The hidden layers of a DeepVotingNet are far wider than any other map: no more numbers of one.
_HIDDEN_NUMBERS = 6_000_000
_STRIP = (4096, 1536)


def fill_by_windows(
    net: VotingNetwork,
    images: Tensor,
    votes: Tensor,
    place: tuple[int, int, int],
    padding: str,
    progress: Callable[[float], object] | None,
) -> None:
    """Fill ``[B, 3k, h, w]`` with the votes of the pixels ``(top, left) + stride * i``.

    By the network's own dense pass, through PyTorch. The image is continued by the network's margin
    and by zeros beyond, wherever a window ends: the votes do not depend on the windows but for
    rounding.
    """
    report = _Report(votes, progress)
    side = _window_side(net, place[2])
    for b, rows, columns in _parts(net, images, votes, place, (side, side)):
        pixels = window(
            images[b : b + 1],
            rows.first,
            columns.first,
            rows.length,
            columns.length,
            padding,
        )
        logits = net.dense(pixels.contiguous(memory_format=torch.channels_last), rows.dense_stride)[
            :, :, rows.wanted, columns.wanted
        ]
        target = votes[b : b + 1, :, rows.votes, columns.votes]
        target[:] = hybrid_activation(logits.to(pixels))
        report.made(target)


def _window_side(net: VotingNetwork, stride: int) -> int:
    if not isinstance(net, DeepVotingNet):
        return _WINDOW
    votes = math.isqrt(_HIDDEN_NUMBERS // max(net.hidden, default=1))
    return min(_WINDOW, votes * stride + 2 * net.margin)


def fill_by_strips(
    net: VotingNetwork,
    engine: UNetEngine,
    precision: str,
    images: Tensor,
    votes: Tensor,
    place: tuple[int, int, int],
    padding: str,
    progress: Callable[[float], object] | None,
) -> None:
    """The same by an engine, which takes an image from top to bottom, in strips of its columns."""
    report = _Report(votes, progress)
    for b, rows, columns in _parts(net, images, votes, place, _STRIP):
        first = 0
        for made in engine.votes(
            images[b : b + 1],
            (rows.pixels, columns.pixels),
            columns.wanted,
            padding,
            precision,
        ):
            # Those of them that are wanted, and where they go.
            start, stop, step = rows.wanted.start, rows.wanted.stop, rows.wanted.step
            skipped = max((start - first) % step, start - first)
            there = made[:, :, skipped : stop - first : step]
            begin = rows.votes.start + (first + skipped - start) // step
            target = votes[b : b + 1, :, begin : begin + there.shape[2], columns.votes]
            target[:] = there
            report.made(target)
            first += made.shape[2]
            if first >= stop:
                break


class _Report:
    """Tells how much of the votes is there."""

    def __init__(self, votes: Tensor, progress: Callable[[float], object] | None) -> None:
        self._total = votes[:, 0].numel()
        self._progress = progress
        self._done = 0

    def made(self, votes: Tensor) -> None:
        self._done += votes[:, 0].numel()
        if self._progress is not None and votes.numel() > 0:
            self._progress(self._done / self._total)


@dataclass(frozen=True)
class _Span:
    """One side of a window: its pixels, which of its votes are wanted, and where they go."""

    first: int
    length: int
    dense_stride: int
    wanted: slice
    votes: slice

    @property
    def pixels(self) -> slice:
        return slice(self.first, self.first + self.length)


def _parts(
    net: VotingNetwork,
    images: Tensor,
    votes: Tensor,
    place: tuple[int, int, int],
    limits: tuple[int, int],
) -> Iterator[tuple[int, _Span, _Span]]:
    """Images, and rows and columns of each, no more pixels of either than the limits."""
    *first, stride = place
    rows, columns = (
        _spans(net, first[i], votes.shape[2 + i], images.shape[2 + i], stride, limits[i])
        for i in range(2)
    )
    return itertools.product(range(len(images)), rows, columns)


def _spans(
    net: VotingNetwork, first: int, count: int, size: int, stride: int, limit: int
) -> list[_Span]:
    """Parts over ``count`` voters from the pixel ``first`` on, of an image of ``size`` pixels."""
    in_one = size + 2 * net.margin <= limit
    reach = max(net.reach, net.margin)
    # At least as much again as overlaps, however far the network reaches.
    most = count if in_one else max(1, max(limit - 2 * reach, 2 * reach) // stride)
    parts = math.ceil(count / most)
    # The first vote is one of a part's own grid, and not of what the part reaches beside it: then
    # every so many of all votes are wanted.
    from_the_first = net.grid == 1 and reach == net.margin
    dense_stride = stride if from_the_first else net.output_stride
    grid = math.lcm(net.grid, dense_stride) if not from_the_first else 1
    spans = []
    for part in range(parts):
        begin, end = part * count // parts, (part + 1) * count // parts
        nearest, farthest = first + begin * stride, first + (end - 1) * stride
        start = max(0, (nearest - reach + net.margin) // grid * grid) - net.margin
        stop = min(size + net.margin, farthest + reach + 1)
        skipped = (nearest - start - net.margin) // dense_stride
        step = stride // dense_stride
        wanted = slice(skipped, skipped + (end - begin - 1) * step + 1, step)
        spans.append(_Span(start, stop - start, dense_stride, wanted, slice(begin, end)))
    return spans
