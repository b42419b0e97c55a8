"""Winograd's algorithm in a build that stops at the first misstep; prints a digest.

Every buffer is exactly as large as it must be. Given the names of a kernel and of an argument, the
last number of it is missing. Run by test_winograd.py.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from native import build, network, winograd, winograd_convolution, winograd_unet
from native.hostile_network import one_short
from native.network_cases import bits


def overrun_head(module: ModuleType, argument: str) -> None:
    layers = network.random_head(16, (32,), 1)
    (weight, last), (bias, last_bias) = network.packed_head(
        [winograd.transformed(layers[0]), layers[1]], 16
    )
    arrays = {
        "features": network.random_map((1, 8, 8, 16)),
        "weight": weight,
        "bias": bias,
        "last": last,
        "votes": np.zeros((1, 3, 4, 4), np.float32),
    }
    arrays[argument] = one_short(arrays[argument])
    features, weight, bias, last, votes = arrays.values()
    module.winograd_head(features, [weight, last], [bias, last_bias], votes, 1, 0, 1)


def overrun_convolution(module: ModuleType, argument: str) -> None:
    layer = network.random_layer(32, 32, winograd_convolution.KERNEL, 0)
    weight, bias = winograd.transformed(layer).packed(32)
    arrays = {
        "coarse": network.random_map((1, 4, 4, 16)),
        "fine": network.random_map((1, 8, 8, 16)),
        "weight": weight,
        "bias": bias,
        "output": np.zeros((1, 8, 8, 32), np.float32),
        "pooled": np.zeros((1, 4, 4, 32), np.float32),
    }
    arrays[argument] = one_short(arrays[argument])
    coarse, fine, weight, bias, output, pooled = arrays.values()
    module.winograd_convolution([coarse, fine], weight, bias, [16, 16], 0, output, pooled, 0, 4)


OVERRUNS = {
    "winograd_head": (overrun_head, ("features", "weight", "votes")),
    "winograd_convolution": (
        overrun_convolution,
        ("coarse", "fine", "weight", "bias", "output", "pooled"),
    ),
}


def digest(module: ModuleType) -> str:
    """Of all results; and all of the work."""
    results = hashlib.sha256()
    for i, head in enumerate(itertools.chain(winograd.EMPTY, *winograd.CASES.values())):
        # Pairs of cases are rows and columns of one length; the buffer of a part ends with it, too.
        layout = network.sliced if i // 2 % 2 else np.asarray
        results.update(bits(head.run(module, layout=layout)))
    convolutions = itertools.chain(winograd_convolution.EMPTY, *winograd_convolution.CASES.values())
    for i, convolution in enumerate(convolutions):
        layout = network.sliced if i % 2 else np.asarray
        for result in convolution.run(module, layout=layout):
            results.update(bits(result))
    for unet in winograd_unet.CASES:
        votes, _ = unet.run(module, threads=2)
        results.update(bits(votes))
    return results.hexdigest()


def main(path: Path, kernel: str = "", argument: str = "") -> None:
    module = build.load(path)
    if kernel:
        overrun, _ = OVERRUNS[kernel]
        overrun(module, argument)
    else:
        print(digest(module))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
