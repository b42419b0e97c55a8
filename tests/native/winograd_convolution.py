"""The convolution of a U-Net by Winograd's algorithm: its kernel, and what it may make of its maps.

A map is [B, h, w, C]; the channels of two maps follow one another, as of one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from native import network, winograd
from native.kernels import Array, Split, whole
from native.network import Layer
from native.network_cases import spoilt

KERNEL = 3  # as in csrc/core/winograd.h
OUTPUTS = winograd.num_outputs(KERNEL)


def winograd_convolution(
    module: ModuleType,
    maps: Sequence[Array],
    layer: Layer,
    *,
    around: tuple[int, int] = (0, 0),
    full: bool = True,
    pooled: bool = False,
    layout: Callable[[Array], Array] = np.asarray,
    split: Split = whole,
) -> list[Array]:
    """The output, and the maxima of every 2x2 pixels of it; of the two what is wanted.

    So many rows above and below are only seen by the others.
    """
    batch, rows, width, _ = maps[-1].shape
    channels = [x.shape[3] for x in maps]
    weight, bias = winograd.transformed(layer).packed(sum(channels))

    def empty(wanted: bool, factor: int) -> Array | None:
        shape = (batch, (rows - sum(around)) // factor, width // factor, len(bias))
        return layout(np.full(shape, np.nan, np.float32)) if wanted else None

    results = empty(full, 1), empty(pooled, 2)
    filled = [layout(_filled_up(x)) for x in maps]
    arguments = (filled, weight, bias, channels, around[0], *results)
    for part in split(module.winograd_convolution_tiles(*arguments)):
        module.winograd_convolution(*arguments, *part)
    return [result for result in results if result is not None]


def _filled_up(values: Array) -> Array:
    """With channels up to a whole block, in which nothing sensible stands."""
    missing = -values.shape[3] % network.CHANNEL_BLOCK
    return np.pad(values, ((0, 0), (0, 0), (0, 0), (0, missing)), constant_values=np.nan)


def joined(maps: Sequence[Array], around: tuple[int, int] = (0, 0)) -> Array:
    """Side by side, those of half the size enlarged, a pixel to 2x2."""
    _, rows, width, _ = maps[-1].shape
    parts = []
    for x in maps:
        if width and width != x.shape[2]:
            above = around[0] % 2  # of two rows that were one only the lower is seen
            x = x.repeat(2, axis=1).repeat(2, axis=2)[:, above : above + rows]
        parts.append(x)
    return np.concatenate(parts, axis=3)


def framed(values: Array) -> Array:
    """With zeros around."""
    return np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))


def maxima(output: Array) -> Array:
    """Of every 2x2 pixels."""
    corners = [output[:, top::2, left::2] for top in (0, 1) for left in (0, 1)]
    return functools.reduce(network.pool, corners)


def tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """The outputs of every tile."""
    return winograd.tiles(height, width, 1, KERNEL)


@dataclass(frozen=True)
class Convolution:
    """Of maps of so many channels to ``size`` pixels, pooled where both sides are even."""

    channels: tuple[int, ...]
    outputs: int
    size: tuple[int, int] = (6, 8)
    batch: int = 1
    enlarged: bool = False  # the first map
    around: tuple[int, int] = (0, 0)  # rows above and below
    special: bool = False

    @property
    def pooled(self) -> bool:
        return self.size[0] % 2 == 0 and self.size[1] % 2 == 0

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        (height, width), (above, below) = self.size, self.around
        factors = [2 if self.enlarged and m == 0 else 1 for m in range(len(self.channels))]
        return [
            (self.batch, height // n - (-above // n) - (-below // n), width // n, channels)
            for n, channels in zip(factors, self.channels, strict=True)
        ]

    @functools.cached_property
    def maps(self) -> list[Array]:
        maps = [network.random_map(shape, seed) for seed, shape in enumerate(self.shapes)]
        return [spoilt(x) for x in maps] if self.special else maps

    def seen(self, rows: slice, columns: slice) -> list[Array]:
        """Which pixels of each map the tile of these outputs sees; without rows above or below."""
        where = np.zeros(self.size, bool)
        reach = (slice(max(0, s.start - 1), s.start - 1 + winograd.INPUTS) for s in (rows, columns))
        where[tuple(reach)] = True
        blocks = [(h, self.size[0] // h, w, self.size[1] // w) for _, h, w, _ in self.shapes]
        return [where.reshape(block).any(axis=(1, 3)) for block in blocks]

    @functools.cached_property
    def layer(self) -> Layer:
        return network.random_layer(sum(self.channels), self.outputs, KERNEL, 7)

    def run(
        self,
        module: ModuleType,
        split: Split = whole,
        layout: Callable[[Array], Array] = np.asarray,
        *,
        full: bool = True,
        pooled: bool = True,
    ) -> list[Array]:
        return winograd_convolution(
            module, self.maps, self.layer, around=self.around, full=full,
            pooled=pooled and self.pooled, layout=layout, split=split,
        )  # fmt: skip

    def expected(self) -> tuple[Array, Array]:
        """The output exactly, and how far rounding may lead away from it."""
        above, _ = self.around
        there = framed(joined(self.maps, self.around))
        exact, _ = network.expected_trunk_layer(there, self.layer)
        # The first tile begins with the first row of the output.
        error = winograd.rounding_of_convolution(there[:, above:], self.layer, 1)
        height = self.size[0]
        return exact[:, above : above + height], np.moveaxis(error, 1, 3)[:, :height]


SIDES = range(1, 15)
CASES: dict[str, list[Convolution]] = {
    "rows and columns of all lengths": [
        Convolution((16,), 16, size)
        for side in SIDES
        for size in ((side, 2), (3, side), (side, side))
    ],
    # Tiles that end with the maps or before, some of them in the midst of others.
    "several tiles": [
        Convolution((16,), 16, (height, width))
        for height, width in itertools.product((12, 13, 14, 18, 19), repeat=2)
    ],
    # Channels fill vectors, outputs panels of 32.
    "all widths": [
        Convolution((channels,), outputs)
        for channels in (16, 32, 48)
        for outputs in (16, 20, 32, 48, 80)
    ],
    "two maps": [
        Convolution(channels, 16, size, 2, enlarged=enlarged)
        for channels, sides in (((16, 32), (2, 6, 14)), ((48, 16), (4, 8)))
        for side in sides
        for size, enlarged in (
            ((side, 12), True),
            ((10, side), True),
            ((side, 12), False),
            ((9, side - 1), False),
        )
    ],
    # Channels that only fill up a map are not there.
    "channels that fill no block": [
        Convolution(channels, 20, (9, 14), 2, around=(1, 1))
        for channels in ((1,), (7,), (24,), (33,), (5, 20))
    ]
    + [
        Convolution(channels, 16, size, enlarged=True)
        for channels in ((20, 24), (40, 3))
        for size in ((6, 8), (14, 20))
    ],
    # A group has 28 tiles, a run of the convolution up to 14.
    "all numbers of tiles": [
        Convolution((16,), 16, (1, 1), batch) for batch in (*range(2, 32), 55, 56, 57, 85)
    ],
    "batches": [Convolution((16,), 80, size, 3) for size in ((9, 14), (12, 8), (8, 13))],
    "rows above and below": [
        Convolution((16,), 32, size, 2, around=around)
        for size in ((6, 8), (8, 7), (11, 14), (12, 14), (1, 13))
        for around in ((1, 0), (0, 1), (1, 1), (6, 2), (7, 12))
    ]
    + [
        Convolution((16, 20), 32, size, 2, enlarged=enlarged, around=around)
        for size in ((6, 8), (12, 14), (2, 20))
        for around in ((1, 0), (0, 1), (1, 1), (3, 2))
        for enlarged in (False, True)
    ],
    "not finite": [
        Convolution((16,), 48, (9, 13), special=True),
        Convolution((32,), 16, (8, 14), 2, around=(2, 1), special=True),
        Convolution((16, 16), 32, (12, 8), 2, enlarged=True, special=True),
    ],
}
EMPTY = [
    Convolution((16,), 16, (0, 6)),
    Convolution((16,), 16, (3, 0)),
    Convolution((16,), 48, batch=0),
    Convolution((16,), 16, (0, 4), around=(1, 1)),
    Convolution((16, 32), 16, (0, 4), enlarged=True),
]
