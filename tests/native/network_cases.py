"""Layers of all shapes: what a build of the kernels makes of them, and what it has to make.

Run by itself, it prints a digest of a module's results: one process chooses one instruction set.
"""

from __future__ import annotations

import functools
import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from native import build, network
from native.kernels import Array, Split, whole


@dataclass(frozen=True)
class Trunk:
    """A layer over maps of ``size`` pixels after the convolution, before the pooling."""

    channels: int
    outputs: int
    kernel_size: int
    geometry: tuple[int, int, int] = (1, 0, 1)  # dilation, pool_stride, pool_dilation
    size: tuple[int, int] = (5, 7)
    batch: int = 1
    special: bool = False

    @property
    def settings(self) -> dict[str, int]:
        return dict(zip(("dilation", "pool_stride", "pool_dilation"), self.geometry, strict=True))

    @functools.cached_property
    def features(self) -> Array:
        reach = (self.kernel_size - 1) * self.geometry[0]
        shape = (self.batch, self.size[0] + reach, self.size[1] + reach, self.channels)
        return spoilt(network.random_map(shape)) if self.special else network.random_map(shape)

    @functools.cached_property
    def layer(self) -> network.Layer:
        return network.random_layer(self.channels, self.outputs, self.kernel_size, 1)

    def run(
        self,
        module: ModuleType,
        split: Split = whole,
        layout: Callable[[Array], Array] = np.asarray,
    ) -> Array:
        return network.trunk_layer(
            module, self.features, self.layer, **self.settings, layout=layout, split=split
        )

    def model(self, module: ModuleType) -> Array:
        return network.model_of_trunk_layer(self.features, self.layer, **self.settings)

    def expected(self) -> tuple[Array, Array]:
        return network.expected_trunk_layer(self.features, self.layer, **self.settings)


@dataclass(frozen=True)
class Head:
    """A head that votes at ``size`` places."""

    channels: int
    hidden: tuple[int, ...]
    num_votes: int = 1
    kernel_size: int = 1
    geometry: tuple[int, int] = (1, 1)  # dilation, stride
    size: tuple[int, int] = (3, 5)
    batch: int = 1
    special: bool = False

    @property
    def settings(self) -> dict[str, int]:
        return dict(zip(("dilation", "stride"), self.geometry, strict=True))

    @functools.cached_property
    def features(self) -> Array:
        dilation, stride = self.geometry
        reach = (self.kernel_size - 1) * dilation
        sides = [(n - 1) * stride + 1 + reach for n in self.size]
        shape = (self.batch, *sides, self.channels)
        return spoilt(network.random_map(shape)) if self.special else network.random_map(shape)

    @functools.cached_property
    def layers(self) -> list[network.Layer]:
        return network.random_head(self.channels, self.hidden, self.num_votes, self.kernel_size)

    def run(
        self,
        module: ModuleType,
        split: Split = whole,
        layout: Callable[[Array], Array] = np.asarray,
    ) -> Array:
        return network.vote_head(
            module, self.features, self.layers, **self.settings, layout=layout, split=split
        )

    def model(self, module: ModuleType) -> Array:
        return network.model_of_vote_head(module, self.features, self.layers, **self.settings)

    def expected(self) -> tuple[Array, Array]:
        return network.expected_vote_head(self.features, self.layers, **self.settings)


def spoilt(values: Array) -> Array:
    """Here and there NaN, infinities, zeros of both signs, and the ends of the range."""
    random = np.random.default_rng(0)
    extremes = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, -1e-40, 3e38, -3e38]
    chosen = random.choice(np.array(extremes, np.float32), values.shape)
    return np.where(random.random(values.shape) < 0.02, chosen, values)


# What nn.trunk_geometry asks for, and what it does not.
POOLS = [(1, 1, 1), (1, 2, 1), (2, 1, 2), (2, 2, 2), (1, 3, 1), (1, 1, 3), (3, 5, 2)]

Case = Trunk | Head
CASES: dict[str, Sequence[Case]] = {
    "trunk, rows of all lengths": [
        *(Trunk(1, 16, 2, size=(2, width)) for width in range(1, 31)),
        *(Trunk(3, 32, 3, (1, 2, 1), size=(4, width)) for width in (2, 3, 12, 13, 14, 25, 26, 27)),
    ],
    "trunk, all geometries": [Trunk(16, 48, 4, geometry, (9, 14), 2) for geometry in POOLS],
    "trunk, all widths": [
        Trunk(1, 80, 6),
        Trunk(3, 32, 6, (1, 2, 1)),
        Trunk(3, 16, 6, (1, 1, 1)),
        Trunk(16, 16, 3, (4, 0, 1)),
        Trunk(32, 32, 3, (4, 0, 1)),
        Trunk(32, 80, 4, (2, 1, 2)),
        Trunk(48, 48, 6),
        Trunk(48, 16, 4, (2, 2, 2)),
        Trunk(272, 32, 1),
        Trunk(16, 20, 2),
    ],
    "trunk, not finite": [
        Trunk(3, 32, 3, (1, 1, 1), (7, 9), 2, special=True),
        Trunk(16, 48, 3, (2, 0, 1), (6, 13), special=True),
        Trunk(16, 16, 1, (1, 2, 1), (6, 13), special=True),
    ],
    "head, rows of all lengths": [Head(3, (16,), 1, 2, size=(2, width)) for width in range(1, 31)],
    "head, patches": [Head(3, (16,), 2, 2, size=(1, 1), batch=batch) for batch in range(1, 31)],
    "head, all numbers of votes": [
        *(Head(3, (16,), num_votes, size=(2, 7)) for num_votes in range(1, 6)),
        *(Head(16, (), num_votes, 2, size=(2, 13)) for num_votes in (1, 2, 5, 6, 11)),
    ],
    "head, all geometries": [
        Head(16, (48,), 2, 3, geometry, (3, 4), 2)
        for geometry in ((1, 1), (1, 2), (2, 1), (4, 3), (3, 1))
    ],
    "head, all widths": [
        Head(1, (272,), 1, 5),
        Head(3, (1040,), 2, 5, (4, 1)),
        Head(16, (272,), 3, 5, (2, 1)),
        Head(16, (32, 48), 4, 5, (1, 2)),
        Head(32, (20,), 5, 5, (4, 1)),
        Head(32, (272, 16), 2, 3),
        Head(48, (1040,), 1),
        Head(48, (16, 32, 48, 16), 2, 2),
        Head(16, (16,) * 7, 1),
    ],
    # More than partial sums are kept of at a time, in rows and as single votes.
    "head, many votes": [
        Head(3, (272,), 5, size=(25, 25)),
        Head(1, (16, 32), 5, size=(1, 1), batch=601),
    ],
    "head, not finite": [
        Head(16, (272,), 2, 3, (2, 1), (6, 13), special=True),
        Head(16, (32, 48), 2, 3, size=(6, 13), special=True),
        Head(3, (), 2, 3, size=(6, 13), special=True),
    ],
}


def bits(values: Array) -> bytes:
    """All of them, except that NaN is NaN: its sign and payload are nobody's promise."""
    return np.where(np.isnan(values), np.float32(math.nan), values).tobytes()


def assert_same_bits(actual: Array, expected: Array, case: object) -> None:
    assert actual.shape == expected.shape
    if bits(actual) != bits(expected):
        np.testing.assert_array_equal(actual, expected, str(case))
        raise AssertionError(f"zeros differ in their sign: {case}")


def digest(module: ModuleType) -> str:
    results = (bits(case.run(module)) for cases in CASES.values() for case in cases)
    return hashlib.sha256(b"".join(results)).hexdigest()


if __name__ == "__main__":
    print(digest(build.load(Path(sys.argv[1]))))
