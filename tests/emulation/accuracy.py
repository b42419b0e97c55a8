"""How far from float64 the emulated kernels of the head are, precision by precision.

    python tests/emulation/accuracy.py

prints it for the default network, as shares of the root mean square of the offsets.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emulation import build, matrices
from native.kernels import Array
from native.network_cases import Head


@dataclass(frozen=True)
class Deviation:
    root_mean_square: float
    mean: float
    largest: float


def default_head(hidden: int, *, one_sign: bool = False) -> Head:
    """One tile of voters; with `one_sign` nothing that is cut off is made good by another term."""
    head = Head(32, (hidden,), 2, 5, (4, 1), (16, 16))
    if one_sign:
        for values in (head.features, *(layer.weight for layer in head.layers)):
            np.abs(values, out=values)
    return head


def offsets(votes: Array) -> Array:
    return votes[:, np.arange(votes.shape[1]) % 3 != 0].astype(np.float64)


def deviations(
    device: build.Device, head: Head, *, warpgroups: bool = False
) -> dict[str, Deviation]:
    """Of the offsets, as shares of their root mean square."""
    assert device.extras is not None
    device.extras.set_order(1)
    votes = {"exact": head.run(device.kernels)}
    for precision in matrices.PRECISIONS:
        by_matrices = matrices.run_head(device, head, precision, major=9, warpgroups=warpgroups)
        assert by_matrices is not None
        votes[precision] = by_matrices
    expected = offsets(head.expected()[0])
    size = np.sqrt(np.mean(expected**2))
    errors = {name: (offsets(values) - expected) / size for name, values in votes.items()}
    return {
        name: Deviation(float(np.sqrt(np.mean(e**2))), float(np.mean(e)), float(np.abs(e).max()))
        for name, e in errors.items()
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        emulated = build.load(build.build_all(Path(folder))["watched"])
        for sign, warpgroups in itertools.product((False, True), repeat=2):
            head = default_head(1024, one_sign=sign)
            print(f"terms of {'one sign' if sign else 'both signs'}, by", end=" ")
            print("warpgroups:" if warpgroups else "warps:")
            for name, deviation in deviations(emulated, head, warpgroups=warpgroups).items():
                print(
                    f"  {name:<9}{deviation.root_mean_square:.1e} (mean {deviation.mean:.1e}, "
                    f"largest {deviation.largest:.1e})"
                )
