"""Layers for the kernels' own tails: tests/native has those of the layers themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from emulation.cases import offset
from native import network
from native.kernels import Array
from native.network_cases import CASES, Case, Head, Trunk

LAYOUTS: list[Callable[[Array], Array]] = [np.ascontiguousarray, network.sliced, offset]

# A tile of the trunk is 256 places of the convolution, or a square of 16 by 16 of which 15 by 15
# come out of the pooling, by 32 outputs. One of the head is 128 voters by 128 hidden units, or 256
# voters by 32 outputs where nothing is hidden. The depth is taken in chunks of 16.
EXACT: dict[str, list[Case]] = {
    **{name: list(cases) for name, cases in CASES.items()},
    "trunk, tiles": [
        Trunk(16, 48, 1, size=(1, 300)),
        Trunk(3, 32, 3, size=(5, 18), batch=3),
        Trunk(20, 16, 2, (3, 0, 1), (8, 37)),
        Trunk(16, 32, 1, (1, 2, 1), (40, 41)),
        Trunk(3, 48, 2, (1, 3, 2), (19, 20)),
        Trunk(16, 32, 1, (1, 1, 1), (18, 33), 2),
        Trunk(3, 16, 3, (1, 1, 2), (18, 36)),
    ],
    "head, tiles": [
        Head(16, (160,), 3, 2, (4, 1), (5, 15), 2),
        Head(48, (33,), 6, size=(8, 30)),
        Head(20, (48,), 1, 2, (2, 2), (3, 5)),
        Head(16, (150, 16), 2, size=(3, 50)),
        Head(16, (), 2, 3, (2, 1), (16, 17)),
        Head(3, (), 13, 2, size=(1, 8)),
    ],
    "nothing": [
        Trunk(16, 16, 1, batch=0),
        Trunk(16, 16, 3, (1, 1, 1), size=(1, 1)),
        Trunk(16, 16, 3, size=(0, 5)),
        Head(16, (16,), batch=0),
        Head(16, (), batch=0),
        Head(16, (16,), 1, 2, size=(3, 0)),
    ],
}

# A tile is 256 places by 32 outputs, or 256 voters by 128 hidden units, in float32 64; the depth is
# taken 16 at a time, in bfloat16 32.
MATRIX_TRUNKS: list[Trunk] = [
    Trunk(16, 16, 1, size=(1, 1)),
    Trunk(48, 48, 2, (2, 0, 1), (7, 40), 2),
    Trunk(16, 29, 3, (1, 2, 1), (20, 31)),
    Trunk(32, 16, 2, (1, 3, 2), (13, 11)),
    Trunk(16, 48, 1, (1, 1, 1), (18, 33), 2),
    Trunk(32, 16, 2, (3, 1, 2), (5, 36)),
    Trunk(16, 16, 1, batch=0),
    Trunk(16, 16, 3, (1, 1, 1), size=(1, 1)),
]
MATRIX_HEADS: list[Head] = [
    Head(16, (16,), size=(1, 1)),
    Head(16, (29,), 2, size=(1, 300)),
    Head(16, (160,), 3, 2, (4, 1), (5, 15), 2),
    Head(32, (40,), 2, 3, (1, 3), (5, 4)),
    Head(48, (300,), 5, size=(8, 30)),
    Head(48, (16,), 2, 2, (2, 2), (9, 9), 4),
    Head(32, (33,), 1, 5, (4, 1), (2, 3)),
    Head(16, (16,), batch=0),
    Head(16, (16,), 1, 2, size=(3, 0)),
]
# A warpgroup has squares of 8 by 8 voters, two or in float32 one, and tiles of 128 hidden units.
# Voters of a square are a dilation apart unless that makes more squares, else next to one another.
WARPGROUP_HEADS: list[Head] = [
    Head(16, (16,), size=(1, 1)),
    Head(16, (29,), 2, size=(1, 100)),
    Head(16, (160,), 3, 2, (4, 1), (5, 15), 2),
    Head(32, (40,), 2, 3, (2, 1), (20, 19)),
    Head(48, (300,), 5, size=(8, 30)),
    Head(32, (33,), 1, 5, (4, 1), (2, 3)),
    Head(16, (16,), 1, 2, (4, 1), (32, 32)),
    Head(16, (16,), 1, 3, (4, 1), (32, 18)),
    Head(16, (16,), 1, 3, (3, 1), (9, 45), 2),
    Head(16, (16,), batch=0),
]
