"""The emulated kernels in a build that stops at the first access out of bounds or undefined
operation: all cases, or one wrong kernel. Run by test_kernels.py and test_wrong_kernels.py.

Buffers are exactly as large as they must be, so that one element beyond is beyond the heap, or
beyond what a block has of shared memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from emulation import build, cases, matrices, network_cases


def main(path: Path, flaw: str | None, right: bool) -> None:
    device = build.load(path)
    assert device.extras is not None
    if flaw:
        numbers = np.arange(1000, dtype=np.float32)
        device.extras.wrong_kernel(flaw, right, numbers, np.zeros_like(numbers))
        return
    for seed, (kernel, dtype) in enumerate(cases.EACH_CASE):
        if dtype in ("float64", "float16") and kernel != "hybrid_activation":
            continue  # the code of float32 and bfloat16; only packets differ
        device.extras.set_order(seed=seed, most_blocks=1 + seed % 3)
        run, _ = cases.CASES[kernel]
        for _ in run(device, dtype):
            pass
    layers = [case for name, group in network_cases.EXACT.items() for case in group
              if name not in ("trunk, all geometries", "trunk, all widths")]  # fmt: skip
    for seed, case in enumerate(layers):
        device.extras.set_order(seed=seed, most_blocks=1 + seed % 3)
        case.run(device.kernels, layout=network_cases.LAYOUTS[seed % 3])
    trunks, heads = network_cases.MATRIX_TRUNKS, network_cases.MATRIX_HEADS
    for precision, some in (("bfloat16", slice(None)), ("float32", slice(1))):
        for trunk in trunks[some]:
            matrices.run_trunk(device, trunk, precision)
        for head in heads[:3][some]:
            matrices.run_head(device, head, precision)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None, "right" in sys.argv[3:])
