"""The scan engine of :class:`dvfast.nn.VotingUNet`: its convolutions by native kernels.

``exact`` runs the direct kernel of ``csrc/core/network.h``, ``float32`` Winograd's algorithm of
``csrc/core/winograd.h``. Maps are ``[B, h, w, C]``, their channels filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._engines import PackedNetwork, kept, no_kernels, why_not_plain
from ._library import ops
from ._packing import CHANNEL_BLOCK, Convolution, pack_convolution, winograd_weight
from .nn import VotingUNet

__all__ = ["UNetEngine", "unet_engine_of", "why_not_unet"]

# Rows that are made at a time where a map is not kept, or copied: whole tiles of Winograd's
# algorithm, and few enough to stay in the cache.
_BAND_ROWS = 48


class UNetEngine(PackedNetwork):
    """A U-Net with its normalisation folded and its weights packed for the native kernels."""

    def __init__(self, net: VotingUNet) -> None:
        super().__init__(net)
        plain = net.folded()
        self.num_votes = net.num_votes
        self._grid = net.grid
        self._first_vote = net.margin // net.output_stride
        self._finest = net.output_stride.bit_length() - 1
        widths = net.channels
        # An image is taken as it is, which the direct kernel can do.
        self._first = _Block(plain.encoder[0], [net.in_channels], channel_block=1)
        self._encoder = [
            _Block(block, [width])
            for block, width in zip(list(plain.encoder)[1:], widths[:-1], strict=True)
        ]
        levels = range(len(widths) - 1, self._finest, -1)
        self._decoder = [
            _Block(block, [widths[level], widths[level - 1]])
            for block, level in zip(plain.decoder, levels, strict=True)
        ]
        self._head = pack_convolution(
            Convolution(plain.head), [widths[self._finest]], CHANNEL_BLOCK
        )

    def votes(self, image: Tensor, rows: slice, columns: slice, precision: str) -> Tensor:
        """Some of the votes of ``net.dense(image, net.output_stride)``, ``[B, 3k, h, w]``."""
        height, width = image.shape[2:]
        whole = F.pad(image, (0, -width % self._grid, 0, -height % self._grid))
        features = self._features(whole.permute(0, 2, 3, 1) - 0.5, precision == "exact")
        wanted = features[:, self._first_vote :, self._first_vote :][:, rows, columns]
        weight, bias, kernel_size = self._head
        votes: Tensor = ops.vote_head(wanted, [weight], [bias], self.num_votes, kernel_size, 1, 1)
        return votes

    def _features(self, image: Tensor, exact: bool) -> Tensor:
        """What the decoder makes of an image, pixel for pixel; see :class:`VotingUNet`."""
        fine, pooled = self._first_level(image, exact)
        skipped = [fine]
        for block in self._encoder:
            inner = block.first([pooled], exact).full
            deepest = block is self._encoder[-1]
            fine, pooled = block.second([inner], exact, pooled=not deepest)
            skipped.append(fine)
        features = skipped.pop()
        for block in self._decoder:
            inner = block.first([features, skipped.pop()], exact).full
            features = block.second([inner], exact).full
        return features

    def _first_level(self, image: Tensor, exact: bool) -> _Maps:
        """Its maps are the largest: they are made in bands, unless the decoder wants them again."""
        first, second = self._first.first, self._first.second
        height = image.shape[1]
        if self._finest == 0:
            return second([first.direct(_framed([image], 0, height))], exact, pooled=True)
        bands = []
        for begin in range(0, height, _BAND_ROWS):
            end = min(height, begin + _BAND_ROWS)
            above, below = min(1, begin), min(1, height - end)
            inner = first.direct(_framed([image], begin - above, end + below))
            bands.append(second([inner], exact, (above, below), full=False, pooled=True))
        return _Maps(bands[0].full, torch.cat([band.pooled for band in bands], dim=1))


class _Maps(NamedTuple):
    """The output of a convolution, and the maxima of every 2x2 pixels of it; or one of the two."""

    full: Tensor
    pooled: Tensor


class _Block:
    """Two convolutions, the first over maps of so many channels."""

    def __init__(
        self, block: nn.Module, widths: Sequence[int], channel_block: int = CHANNEL_BLOCK
    ) -> None:
        first, second = (m for m in block.modules() if isinstance(m, nn.Conv2d))
        self.first = _Layer(first, widths, channel_block)
        self.second = _Layer(second, [first.out_channels])


class _Layer:
    """A 3x3 convolution with zeros around its maps, and ReLU."""

    def __init__(
        self, layer: nn.Conv2d, widths: Sequence[int], channel_block: int = CHANNEL_BLOCK
    ) -> None:
        self._packed = pack_convolution(Convolution(layer), widths, channel_block)

    def __call__(
        self,
        maps: Sequence[Tensor],
        exact: bool,
        around: tuple[int, int] = (0, 0),
        *,
        full: bool = True,
        pooled: bool = False,
    ) -> _Maps:
        """Over maps side by side; one of half the size of the last is enlarged.

        The output begins so many rows below the first, and ends so many above the last.
        """
        above, below = around
        if not exact:
            weight, bias = self._transformed, self._packed.bias
            return _Maps(
                *ops.winograd_convolution(list(maps), weight, bias, above, below, full, pooled)
            )
        batch, rows, width, _ = maps[-1].shape
        height = rows - above - below

        def empty(wanted: bool, factor: int) -> Tensor:
            shape = (batch if wanted else 0, height // factor, width // factor)
            return maps[-1].new_empty(*shape, len(self._packed.bias))

        result = _Maps(empty(full, 1), empty(pooled, 2))
        for begin in range(0, height, _BAND_ROWS):
            end = min(height, begin + _BAND_ROWS)
            framed = _framed(maps, above + begin, above + end)
            if full:
                result.full[:, begin:end] = self.direct(framed)
            if pooled:
                maxima = (
                    _pooled(result.full[:, begin:end]) if full else self.direct(framed, pooled=True)
                )
                result.pooled[:, begin // 2 : end // 2] = maxima
        return result

    def direct(self, framed: Tensor, pooled: bool = False) -> Tensor:
        """In the order of sums of ``csrc/core/network.h``; what surrounds the map is part of it."""
        output: Tensor = ops.trunk_layer(framed, *self._packed, 1, 2 if pooled else 0, 1)
        return output

    @cached_property
    def _transformed(self) -> Tensor:
        return winograd_weight(self._packed.weight, self._packed.kernel_size)


def _framed(maps: Sequence[Tensor], begin: int, end: int) -> Tensor:
    """What the output rows `begin` to `end` see of maps side by side, and zeros around them."""
    height = maps[-1].shape[1]
    first, last = max(begin - 1, 0), min(end + 1, height)
    parts = []
    for x in maps:
        if x.shape[1] == height:
            parts.append(x[:, first:last])
        else:
            coarse = x[:, first // 2 : -(-last // 2)].repeat_interleave(2, dim=2)
            parts.append(coarse.repeat_interleave(2, dim=1)[:, first % 2 :][:, : last - first])
    return F.pad(torch.cat(parts, dim=3), (0, 0, 1, 1, first - begin + 1, end + 1 - last))


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
