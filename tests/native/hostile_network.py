"""The layers of the network in a build that stops at the first misstep: run by test_network.py.

Every buffer is exactly as large as it must be. Given the name of an argument, the last number of it
is missing.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from native import build, network
from native.kernels import Array
from native.network_cases import CASES


def one_short(values: Array) -> Array:
    """An array that claims one number more than its memory has."""
    flat = np.ascontiguousarray(values).ravel()[:-1].copy()
    strides = np.empty(values.shape, values.dtype).strides
    return np.lib.stride_tricks.as_strided(flat, values.shape, strides)


def overrun(module: ModuleType, argument: str) -> None:
    features = network.random_map((1, 20, 20, 32))
    weight, bias = network.random_layer(32, 32, 5, 0).packed(32)
    output = np.zeros((1, 16, 16, 32), np.float32)
    arrays = {"features": features, "weight": weight, "bias": bias, "output": output}
    if argument in arrays:
        arrays[argument] = one_short(arrays[argument])
        module.trunk_layer(*arrays.values(), 5, 1, 0, 1, 0, 16)
        return
    weights, biases = network.packed_head(network.random_head(32, (32,), 2), 32)
    weights[-1] = one_short(weights[-1])
    module.vote_head(features, weights, biases, np.zeros((1, 6, 16, 16), np.float32), 5, 1, 1)


def main(path: Path, argument: str | None) -> None:
    module = build.load(path)
    if argument:
        overrun(module, argument)
        return
    for case in itertools.chain.from_iterable(CASES.values()):
        case.run(module)
        case.run(module, layout=network.sliced)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
