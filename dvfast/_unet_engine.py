"""The scan engine of :class:`dvfast.nn.VotingUNet`: its convolutions by native kernels.

``exact`` runs the direct kernel of ``csrc/core/network.h``, layer by layer; ``float32`` Winograd's
algorithm of ``csrc/core/winograd.h``, in one operator. Maps are ``[B, h, w, C]``, their channels
filled up with zeros.

Both take an image through all layers from top to bottom, a few rows at a time: what one layer makes
the next one takes while it is in the cache, no row is computed twice, and of no map more rows are
kept than are needed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._engines import PackedNetwork, kept, no_kernels, why_not_plain
from ._library import ops
from ._packing import CHANNEL_BLOCK, Convolution, pack_convolution, winograd_weight
from ._padding import positions, window
from ._rows import Rows
from .nn import VotingUNet

__all__ = ["UNetEngine", "unet_engine_of", "why_not_unet"]

# Pixels of the image that go in at a time, in `exact`: on a CPU for every thread, few enough for
# what they make to stay in the cache.
_PIXELS_AT_A_TIME = {"cpu": 24_000, "cuda": 400_000}


class UNetEngine(PackedNetwork):
    """A U-Net with its normalisation folded and its weights packed for the native kernels."""

    def __init__(self, net: VotingUNet) -> None:
        super().__init__(net)
        # On the CPU, wherever it will run: the reciprocal roots of a GPU round otherwise.
        plain = copy.deepcopy(net).cpu().folded().to(net.head.weight.device)
        self.num_votes = net.num_votes
        self._grid = net.grid
        self._finest = net.output_stride.bit_length() - 1
        self._widths = widths = list(net.channels)
        self._encoder = [
            _Block(block, [width])
            for block, width in zip(plain.encoder, [net.in_channels, *widths[:-1]], strict=True)
        ]
        levels = range(len(widths) - 1, self._finest, -1)
        self._decoder = [
            _Block(block, [widths[level], widths[level - 1]])
            for block, level in zip(plain.decoder, levels, strict=True)
        ]
        self._head = pack_convolution(
            Convolution(plain.head), [widths[self._finest]], CHANNEL_BLOCK
        )

    def votes(
        self,
        image: Tensor,
        place: tuple[slice, slice],
        columns: slice,
        padding: str,
        precision: str,
    ) -> Iterator[Tensor]:
        """Votes of ``net.dense`` at its own stride, over a window of an image, from top to bottom.

        Parameters
        ----------
        image
            ``[1, C, H, W]``.
        place
            Rows and columns of the window, which may lie outside; `padding` says what is there.
        columns
            Which columns of votes are wanted.
        precision
            ``"exact"`` or ``"float32"``.

        Yields
        ------
        Tensor
            ``[1, 3k, h, w]``, the next rows of votes.
        """
        margin = self._grid >> self._finest
        wanted = slice(columns.start + margin, columns.stop + margin, columns.step)
        if precision == "exact":
            first = margin
            for features in self._features(image, place, padding):
                yield self._votes_of(features[:, first:, wanted])
                first = max(0, first - features.shape[1])
        else:
            yield self._votes_by_winograd(image, place, padding)[:, :, margin:, wanted]

    def _votes_by_winograd(self, image: Tensor, place: tuple[slice, slice], padding: str) -> Tensor:
        pixels = image.permute(0, 2, 3, 1)
        places = []
        for span, size in zip(place, image.shape[2:], strict=True):
            there = positions(span.start, span.stop - span.start, size, padding, image.device)
            places.append(F.pad(there, (0, -len(there) % self._grid), value=-1))
        votes: Tensor = ops.winograd_unet(
            pixels, *places, *self._transformed, self._widths, self._finest, self.num_votes
        )
        return votes

    @cached_property
    def _transformed(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases as ``csrc/core/winograd.h`` has them."""
        first, *inner = (
            layer
            for block in [*self._encoder, *self._decoder]
            for layer in (block.first.packed, block.second.packed)
        )
        transformed = [winograd_weight(layer.weight, layer.kernel_size) for layer in inner]
        weights = [first.weight, *transformed, self._head.weight]
        return weights, [layer.bias for layer in (first, *inner, self._head)]

    def _votes_of(self, features: Tensor) -> Tensor:
        weight, bias, kernel_size = self._head
        votes: Tensor = ops.vote_head(features, [weight], [bias], self.num_votes, kernel_size, 1, 1)
        return votes

    def _features(
        self, image: Tensor, place: tuple[slice, slice], padding: str
    ) -> Iterator[Tensor]:
        """What the decoder makes of a window, row by row: its maps never exist as a whole."""
        (top, bottom), (left, right) = ((span.start, span.stop) for span in place)
        height, width = (-(-(span.stop - span.start) // self._grid) * self._grid for span in place)
        seen, features, layers = self._layers(height)
        threads = torch.get_num_threads() if image.is_cpu else 1
        rows = max(2, threads * _PIXELS_AT_A_TIME[image.device.type] // width)
        for begin in range(top, top + height, rows):
            end = min(begin + rows, top + height)
            count = max(0, min(end, bottom) - begin)
            there = window(image, min(begin, bottom), left, count, right - left, padding)
            beyond = (0, left + width - right, 0, end - begin - count)
            seen.append(F.pad(there, beyond).permute(0, 2, 3, 1) - 0.5)
            for layer in layers:
                layer.go_on()
            yield from features.between(0, features.end)
            features.let_go(features.end)

    def _layers(self, height: int) -> tuple[Rows, Rows, list[_Layer]]:
        """The maps at either end, and all convolutions in between; see :class:`VotingUNet`."""
        layers: list[_Layer] = []

        def after(
            block: _Block, maps: Sequence[Rows], level: int, *, full: bool, pooled: bool
        ) -> tuple[Rows, Rows]:
            inner, output = Rows(height >> level), Rows(height >> level)
            maxima = Rows(height >> level + 1)
            layers.append(_Layer(block.first, maps, inner, None))
            layers.append(
                _Layer(block.second, [inner], output if full else None, maxima if pooled else None)
            )
            return output, maxima

        image = pooled = Rows(height)
        deepest = len(self._encoder) - 1
        skipped = []
        for level, block in enumerate(self._encoder):
            # Levels that the decoder does not come back to are only pooled.
            features, pooled = after(
                block, [pooled], level, full=level >= self._finest, pooled=level < deepest
            )
            skipped.append(features)
        for block, level in zip(
            self._decoder, range(deepest - 1, self._finest - 1, -1), strict=True
        ):
            features, _ = after(block, [features, skipped[level]], level, full=True, pooled=False)
        return image, features, layers


class _Block:
    """The weights of two convolutions, the first over maps of so many channels."""

    def __init__(self, block: nn.Module, widths: Sequence[int]) -> None:
        first, second = (m for m in block.modules() if isinstance(m, nn.Conv2d))
        self.first = _Weights(first, widths)
        self.second = _Weights(second, [first.out_channels])


class _Weights:
    """Of a 3x3 convolution over maps of so many channels that follow one another."""

    def __init__(self, layer: nn.Conv2d, widths: Sequence[int]) -> None:
        self.widths = list(widths)
        self.packed = pack_convolution(Convolution(layer), widths, 1)


class _Layer:
    """A 3x3 convolution with zeros around its maps, and ReLU, which follows them row by row.

    One map of half the size is enlarged. The output goes to `full`, the maxima of every 2x2 pixels
    of it to `pooled`.
    """

    def __init__(
        self,
        weights: _Weights,
        maps: Sequence[Rows],
        full: Rows | None,
        pooled: Rows | None,
    ) -> None:
        self._weights = weights
        self._height = maps[-1].height
        # Rows of the output for a row of the map.
        self._maps = [(x, self._height // x.height) for x in maps]
        self._full, self._pooled = full, pooled
        self._made = 0

    def go_on(self) -> None:
        """Make the rows that can be made."""
        begin, end = self._made, min(factor * x.with_neighbours for x, factor in self._maps)
        if end < self._height:
            end = end // 2 * 2  # an even number, for pooling and enlarging
        if begin == end:
            return
        above, below = min(1, begin), min(1, self._height - end)
        maps = [
            x.between(begin // factor - above, end // factor + below) for x, factor in self._maps
        ]
        self._make(self._framed(maps, above, below))
        for x, factor in self._maps:
            x.let_go(end // factor - 1)
        self._made = end

    def _framed(self, maps: Sequence[list[Tensor]], above: int, below: int) -> Tensor:
        """Bands side by side, and zeros where there is neither a row above nor one below."""
        parts = []
        for bands, (_, factor), width in zip(maps, self._maps, self._weights.widths, strict=True):
            part = torch.cat(bands, dim=1)[..., :width]
            if factor > 1:
                part = part.repeat_interleave(2, dim=2).repeat_interleave(2, dim=1)
                part = part[:, above : part.shape[1] - below]
            parts.append(part)
        return F.pad(torch.cat(parts, dim=3), (0, 0, 1, 1, 1 - above, 1 - below))

    def _make(self, framed: Tensor) -> None:
        """In the order of sums of ``csrc/core/network.h``."""
        pool_stride = 2 if self._full is None else 0
        output: Tensor = ops.trunk_layer(framed, *self._weights.packed, 1, pool_stride, 1)
        if self._full is not None:
            self._full.append(output)
        if self._pooled is not None:
            self._pooled.append(output if pool_stride else _pooled(output))


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def unet_engine_of(net: VotingUNet) -> UNetEngine:
    """The engine of a network, packed anew only if its weights have changed."""
    return kept(net, UNetEngine)


def why_not_unet(net: nn.Module) -> str | None:
    """What keeps the engine from running a network; ``None`` if nothing does."""
    if type(net) is not VotingUNet:
        return f"it is a {type(net).__name__}, not a VotingUNet itself"
    if "dense" in vars(net):
        return "its dense was replaced"
    plain = _modules(
        net.num_votes, net.in_channels, net.channels, net.output_stride, net.normalized
    )
    modules = dict(net.named_modules())
    if differing := plain.keys() ^ modules.keys():
        return f"its {min(differing)} is not that of its architecture"
    for name, module in modules.items():
        what = name or "it"
        kind, details = plain[name]
        if type(module) is not kind:
            return f"{what} is a {type(module).__name__}"
        if module.extra_repr() != details:
            return f"{what} is {module}"
        if reason := why_not_plain(module):
            return f"{what} {reason}"
    for name, tensor in net.named_parameters():
        if tensor.dtype != torch.float32:
            return f"{name} is {tensor.dtype}, not torch.float32"
    return no_kernels("vote_head", net.head.weight.device.type)


@lru_cache(maxsize=8)
def _modules(*architecture: Any) -> dict[str, tuple[type[nn.Module], str]]:
    """The modules of a network as it is meant; kept, as building one takes milliseconds."""
    with torch.device("meta"):
        net = VotingUNet(*architecture)
    return {name: (type(module), module.extra_repr()) for name, module in net.named_modules()}
