"""The emulated kernels in a build that stops at the first access out of bounds or undefined
operation: a share of all cases, or one wrong kernel. Run by test_kernels.py, test_wrong_kernels.py.

Buffers are exactly as large as they must be, so that one element beyond is beyond the heap, or
beyond what a block has of shared memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from emulation import build, cases, matrices, network_cases


def run_cases(device: build.Device, share: int, shares: int) -> None:
    """One of so many shares of all cases."""
    assert device.extras is not None
    selected = [
        (kernel, dtype)
        for kernel, dtype in cases.EACH_CASE
        # Of the other types the code is that of float32 and bfloat16; only packets differ.
        if dtype not in ("float64", "float16") or kernel == "hybrid_activation"
    ]
    layers = [case for name, group in network_cases.EXACT.items() for case in group
              if name not in ("trunk, all geometries", "trunk, all widths")]  # fmt: skip
    trunks, heads = network_cases.MATRIX_TRUNKS, network_cases.MATRIX_HEADS
    every: list[Callable[[], object]] = [
        *(partial(run_kernel, device, kernel, dtype) for kernel, dtype in selected),
        *(
            partial(case.run, device.kernels, layout=network_cases.LAYOUTS[i % 3])
            for i, case in enumerate(layers)
        ),
    ]
    for precision, some in (("bfloat16", slice(None)), ("float32", slice(1)), ("tf32", slice(1))):
        every += [partial(matrices.run_trunk, device, x, precision) for x in trunks[some]]
        every += [partial(matrices.run_head, device, x, precision) for x in heads[:3][some]]
        every += [
            partial(matrices.run_head, device, x, precision, major=9, warpgroups=True)
            for x in network_cases.WARPGROUP_HEADS[:4][some]
        ]
    for seed, run in enumerate(every):
        if seed % shares == share:
            device.extras.set_order(seed=seed, most_blocks=1 + seed % 3)
            run()


def run_kernel(device: build.Device, kernel: str, dtype: str) -> None:
    run, _ = cases.CASES[kernel]
    for _ in run(device, dtype):
        pass


def run_wrong_kernel(device: build.Device, flaw: str, right: bool) -> None:
    assert device.extras is not None
    numbers = np.arange(1000, dtype=np.float32)
    device.extras.wrong_kernel(flaw, right, numbers, np.zeros_like(numbers))


if __name__ == "__main__":
    np.seterr(all="ignore")
    path, what, *how = sys.argv[1:]
    if what == "share":
        run_cases(build.load(Path(path)), *map(int, how))
    else:
        run_wrong_kernel(build.load(Path(path)), what, "right" in how)
