"""Trunk and head in bfloat16: their weights, their kernels, and what they may make of them.

Maps of halves travel as uint16.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from native import network
from native.kernels import Array, Split, whole
from native.network import PANEL_WIDTH, Layer
from native.network_cases import Head, Trunk

ROUNDING = 2.0**-8  # the relative error of one rounding to bfloat16


def to_bits(values: Array) -> Array:
    """To the nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    halves = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(network.BFLOAT16_NAN), halves)


def from_bits(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(layer: Layer) -> Layer:
    return Layer(from_bits(to_bits(layer.weight)), layer.bias)


def packed(layer: Layer, channels: int) -> tuple[Array, Array]:
    """As the matrix unit takes it: see csrc/core/bfloat16_network.h."""
    weight, bias = layer.packed(channels)
    bias = np.pad(bias, (0, -len(bias) % PANEL_WIDTH))
    # panel, step of 16 pairs of inputs, pair, of the pair, half of the panel, output
    parts = weight.reshape(len(weight), -1, 16, 2, 2, 16).transpose(0, 1, 4, 2, 5, 3)
    return to_bits(parts.reshape(weight.shape)), bias


def packed_head(layers: Sequence[Layer], channels: int) -> tuple[list[Array], list[Array]]:
    first, last = layers
    weight, bias = packed(first, channels)
    last_weight, last_bias = last.packed_as_last(len(bias))
    return [weight, last_weight], [bias, last_bias]


def trunk_layer(
    module: ModuleType,
    features: Array,
    layer: Layer,
    *,
    dilation: int = 1,
    pool_stride: int = 0,
    pool_dilation: int = 1,
    layout: Callable[[Array], Array] = np.asarray,
    split: Split = whole,
) -> Array:
    weight, bias = packed(layer, features.shape[3])
    geometry = (layer.kernel_size, dilation, pool_stride, pool_dilation)
    shape = network.shape_of_trunk(features, *geometry)
    output = layout(np.full((*shape, len(bias)), network.BFLOAT16_NAN, np.uint16))
    for part in split(shape[0] * shape[1]):
        module.bfloat16_trunk_layer(layout(features), weight, bias, output, *geometry, *part)
    return output


def head(
    module: ModuleType,
    features: Array,
    layers: Sequence[Layer],
    *,
    dilation: int = 1,
    stride: int = 1,
    layout: Callable[[Array], Array] = np.asarray,
    split: Split = whole,
) -> Array:
    votes = network.empty_votes(features, layers, dilation, stride, layout)
    geometry = (layers[0].kernel_size, dilation, stride)
    arguments = (layout(features), *packed_head(layers, features.shape[3]), votes, *geometry)
    for part in split(module.bfloat16_head_groups(*arguments)):
        module.bfloat16_head(*arguments, *part)
    return votes


@dataclass(frozen=True)
class HalfTrunk(Trunk):
    """Its features are rounded; what it gives is, too."""

    @functools.cached_property
    def bits(self) -> Array:
        return to_bits(self.features)

    def run(
        self,
        module: ModuleType,
        split: Split = whole,
        layout: Callable[[Array], Array] = np.asarray,
    ) -> Array:
        return trunk_layer(
            module, self.bits, self.layer, **self.settings, layout=layout, split=split
        )

    def values(self, output: Array) -> Array:
        assert not output[..., self.outputs :].any()
        return from_bits(output[..., : self.outputs])

    def expected(self) -> tuple[Array, Array]:
        """Of the rounded factors, whose products are exact, and how far rounding may lead away."""
        exact, tolerance = network.expected_trunk_layer(
            from_bits(self.bits), rounded(self.layer), **self.settings
        )
        tolerance = 2 * tolerance  # the sums of a pair may be rounded before they are added
        return exact, tolerance + (exact + tolerance) * ROUNDING


@dataclass(frozen=True)
class HalfHead(Head):
    """A head of one hidden layer; its features and the weights of that layer are rounded."""

    @functools.cached_property
    def bits(self) -> Array:
        return to_bits(self.features)

    def run(
        self,
        module: ModuleType,
        split: Split = whole,
        layout: Callable[[Array], Array] = np.asarray,
    ) -> Array:
        return head(module, self.bits, self.layers, **self.settings, layout=layout, split=split)

    def values(self, output: Array) -> Array:
        return output

    def expected(self) -> tuple[Array, Array]:
        first, last = self.layers
        exact, tolerance = network.expected_vote_head(
            from_bits(self.bits), [rounded(first), last], **self.settings
        )
        return exact, 2 * tolerance


# Rows are covered by groups of 16 pixels, two at a time; the last reaches back.
WIDTHS = (16, 17, 31, 32, 33, 47)
POOLS = [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 2), (4, 0, 1), (1, 3, 1), (3, 5, 2)]

HalfCase = HalfTrunk | HalfHead
CASES: dict[str, list[HalfCase]] = {
    "trunk, rows of all lengths": [
        HalfTrunk(32, 32, kernel_size, (1, 0, 1), (3, width), 2)
        for width in WIDTHS
        for kernel_size in (1, 3)
    ],
    "trunk, all geometries": [
        HalfTrunk(32, 64, kernel_size, geometry, (8, width))
        for kernel_size in (3, 1)
        for geometry in POOLS
        for width in WIDTHS
    ],
    "trunk, all widths": [
        HalfTrunk(channels, outputs, 4, (1, 1, 1), (4, 18))
        for channels in (32, 64, 96)
        for outputs in (20, 32, 64, 96)
    ],
    "head, rows of all lengths": [
        HalfHead(32, (32,), 2, 3, (dilation, stride), (3, width), 2)
        for width in WIDTHS
        for dilation, stride in ((1, 1), (2, 3), (4, 1))
    ],
    # A pass has 256 hidden units.
    "head, all widths": [
        HalfHead(channels, (hidden,), num_votes, 5, size=(2, 21))
        for channels, num_votes in ((32, 1), (64, 2), (96, 5))
        for hidden in (20, 32, 256, 288, 544)
    ],
    # More than partial sums are kept of at a time.
    "head, many votes": [HalfHead(32, (32,), 5, 1, size=(75, 16))],
}
EMPTY: list[HalfCase] = [
    HalfTrunk(32, 32, 3, size=(0, 20)),
    HalfTrunk(32, 32, 3, batch=0, size=(2, 20)),
    HalfHead(32, (32,), size=(0, 16)),
    HalfHead(32, (32,), batch=0, size=(2, 16)),
]
