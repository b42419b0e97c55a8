"""Winograd's algorithm: its transforms, how far it may round; the head, and what it may make of it.

The convolution of a U-Net has a module of its own, winograd_convolution.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType

import numpy as np
from native import network
from native.kernels import Array, Split, whole
from native.network import ROUNDING, Layer
from native.network_cases import Head

INPUTS, KERNEL = 8, 5  # as in csrc/core/winograd.h; the kernel is the head's
POINTS = [Fraction(n, 2) for n in (0, 2, -2, 4, -4, 1, -1)]  # one more is infinity

# Roundings on the way to one output of a convolution, without those of the sum over channels: the
# weight, up to three of the inputs' and four of the outputs' transform on either axis, the bias.
ROUNDINGS = 1 + 2 * 3 + 2 * 4 + 1


def num_outputs(kernel_size: int) -> int:
    """Along either axis of a tile."""
    return INPUTS - kernel_size + 1


@functools.cache
def transforms(kernel_size: int) -> tuple[Array, Array, Array]:
    """Of outputs ``[m, 8]``, kernels ``[8, k]`` and inputs ``[8, 8]``; m + k - 1 is 8.

    Multiplying polynomials is exact wherever their product is known at so many points. The filter
    is that product transposed: so the outputs' transform evaluates at the points, as the kernels'
    does, and the inputs' is the inverse of evaluating at them, transposed.
    """

    def powers(count: int) -> list[list[Fraction]]:
        at_infinity = [Fraction(i == count - 1) for i in range(count)]
        return [*([point**i for i in range(count)] for point in POINTS), at_infinity]

    def as_floats(rows: list[list[Fraction]]) -> Array:
        return np.array([[float(x) for x in row] for row in rows])

    # Factors may be moved from the inputs to the kernels: those that are moved leave multiples of a
    # quarter.
    others = [np.prod([float(p - q) for q in POINTS if q != p]) for p in POINTS]
    scale = np.array([*others, 1.0])[:, None]
    inputs = np.round(4 * scale * np.linalg.inv(as_floats(powers(INPUTS))).T) / 4
    outputs = as_floats(powers(num_outputs(kernel_size))).T
    return outputs, as_floats(powers(kernel_size)) / scale, inputs


def transformed(layer: Layer) -> Layer:
    """As one with kernels of 8 x 8, which packs as the kernel takes it; rounded once."""
    _, kernels, _ = transforms(layer.kernel_size)
    weight = np.einsum("iy,jx,ocyx->ocij", kernels, kernels, layer.weight.astype(np.float64))
    return Layer(weight.astype(np.float32), layer.bias)


def winograd_head(
    module: ModuleType,
    features: Array,
    layers: Sequence[Layer],
    *,
    dilation: int = 1,
    layout: Callable[[Array], Array] = np.asarray,
    split: Split = whole,
) -> Array:
    first, last = layers
    votes = network.empty_votes(features, layers, dilation, 1, layout)
    packed = network.packed_head([transformed(first), last], features.shape[3])
    arguments = (layout(features), *packed, votes, dilation)
    for part in split(module.winograd_head_tiles(*arguments)):
        module.winograd_head(*arguments, *part)
    return votes


def tiles(
    height: int, width: int, dilation: int, kernel_size: int = KERNEL
) -> list[tuple[slice, slice]]:
    """The outputs of every tile."""

    def along(size: int) -> list[slice]:
        block = num_outputs(kernel_size) * dilation
        return [
            slice(first + phase, min(size, first + block), dilation)
            for first in range(0, size, block)
            for phase in range(dilation)
            if first + phase < size
        ]

    return [(rows, columns) for rows in along(height) for columns in along(width)]


def rounding_of_convolution(features: Array, layer: Layer, dilation: int) -> Array:
    """How far rounding may lead away from a convolution's exact result, ``[B, O, h, w]``.

    Every sum of the algorithm replaced by the sum of magnitudes: no rounding is larger than its
    share of that.
    """
    size = layer.kernel_size
    outputs, kernels, inputs = (np.abs(transform) for transform in transforms(size))
    weight = np.einsum("iy,jx,ocyx->ocij", kernels, kernels, np.abs(layer.weight))
    batch, height, width, channels = features.shape
    height, width = (network.num_windows(n, size, dilation) for n in (height, width))
    reach = (INPUTS - 1) * dilation
    beyond = np.pad(np.abs(features), ((0, 0), (0, reach), (0, reach), (0, 0)))
    result = np.zeros((batch, len(layer.bias), height, width))
    for rows, columns in tiles(height, width, dilation, size):
        there = beyond[
            :,
            rows.start : rows.start + reach + 1 : dilation,
            columns.start : columns.start + reach + 1 : dilation,
        ]
        factors = np.einsum("iy,jx,byxc->bcij", inputs, inputs, there)
        products = np.einsum("bcij,ocij->boij", factors, weight)
        sums = np.einsum("yi,xj,boij->boyx", outputs, outputs, products)
        target = result[:, :, rows, columns]
        target[:] = sums[:, :, : target.shape[2], : target.shape[3]]
    return (result + np.abs(layer.bias)[:, None, None]) * (channels + ROUNDINGS) * ROUNDING


@dataclass(frozen=True)
class Winograd(Head):
    """A head of one hidden layer."""

    kernel_size: int = KERNEL

    def run(
        self,
        module: ModuleType,
        split: Split = whole,
        layout: Callable[[Array], Array] = np.asarray,
    ) -> Array:
        dilation, _ = self.geometry
        return winograd_head(
            module, self.features, self.layers, dilation=dilation, layout=layout, split=split
        )

    def expected(self) -> tuple[Array, Array]:
        """What it is exactly, and how far rounding may lead away from it."""
        exact, tolerance = super().expected()
        first, last = self.layers
        error = rounding_of_convolution(self.features, first, self.geometry[0])
        weight = np.abs(last.weight[:, :, 0, 0]).astype(np.float64)
        return exact, tolerance + np.einsum("oh,bhyx->boyx", weight, error)


SIDES = range(1, 41)
DILATIONS = (1, 2, 4)
CASES: dict[str, list[Winograd]] = {
    **{
        f"rows and columns of all lengths, dilation {dilation}": [
            Winograd(16, (16,), geometry=(dilation, 1), size=size)
            for side in SIDES
            for size in ((side, 2), (3, side))
        ]
        for dilation in DILATIONS
    },
    # Channels fill vectors, hidden units panels of 32 and passes of 128.
    "all widths": [
        Winograd(channels, (hidden,), 2, size=(5, 9))
        for channels in (16, 32, 48)
        for hidden in (16, 32, 48, 128, 144, 272)
    ],
    # A band has 56 tiles, a group 28, a run of the convolution up to 14.
    "all numbers of tiles": [
        Winograd(16, (16,), size=(1, 1), batch=batch) for batch in (*range(2, 32), 55, 56, 57, 113)
    ],
    "batches": [
        Winograd(16, (48,), 5, geometry=(dilation, 1), size=(9, 14), batch=3)
        for dilation in DILATIONS
    ],
    "not finite": [
        Winograd(16, (144,), 2, geometry=(2, 1), size=(6, 13), special=True),
        Winograd(32, (16,), 1, size=(9, 9), batch=2, special=True),
    ],
}
EMPTY = [
    Winograd(16, (16,), size=(0, 5)),
    Winograd(16, (16,), size=(3, 0), geometry=(4, 1)),
    Winograd(16, (16,), batch=0),
]
