"""Trunk and head in bfloat16 where the first misstep ends the process: run by test_bfloat16.py.

Every array ends, or begins, where the process may not read. Given the name of an argument, the last
number of it lies beyond.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from native import bfloat16, build, network
from native.kernels import Array

_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)
_fences: list[mmap.mmap] = []  # as long as the process lives


def fenced(values: Array, *, before: bool = False, missing: int = 0) -> Array:
    """A copy, strides and gaps included, of which so many numbers lie behind the fence."""
    if values.size == 0:
        return values
    buffer = network.buffer_of(values)
    held = (buffer.size - missing) * values.itemsize
    length = -(-held // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, length + 2 * mmap.PAGESIZE)
    _fences.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for page in (start, start + mmap.PAGESIZE + length):
        if _libc.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = mmap.PAGESIZE + (0 if before else length - held)
    ctypes.memmove(start + offset, np.ascontiguousarray(buffer).ctypes.data, held)
    copy = np.frombuffer(pages, np.uint8, held, offset).view(values.dtype)
    return np.lib.stride_tricks.as_strided(copy, values.shape, values.strides, writeable=True)


def overrun(module: ModuleType, argument: str) -> None:
    random = network.random_map
    features = bfloat16.to_bits(random((1, 5, 20, 32)))
    weight, bias = bfloat16.packed(network.random_layer(32, 32, 5, 0), 32)
    output = np.zeros((1, 1, 16, 32), np.uint16)
    arrays = {"features": features, "weight": weight, "bias": bias, "output": output}
    arrays = {name: fenced(x, missing=name == argument) for name, x in arrays.items()}
    module.bfloat16_trunk_layer(*arrays.values(), 5, 1, 0, 1, 0, 1)
    last = fenced(random((3, 32)), missing=argument == "last")
    votes = np.zeros((1, 3, 1, 16), np.float32)
    weights, biases = [arrays["weight"], last], [arrays["bias"], np.zeros(3, np.float32)]
    module.bfloat16_head(arrays["features"], weights, biases, votes, 5, 1, 1, 0, 1)


def main(path: Path, argument: str | None) -> None:
    module = build.load(path)
    module.has_matrix_unit()  # asks the system for it
    if argument:
        overrun(module, argument)
        return
    packed = bfloat16.packed

    def fenced_weights(layer: network.Layer, channels: int) -> tuple[Array, Array]:
        weight, bias = packed(layer, channels)
        return fenced(weight), fenced(bias)

    bfloat16.packed = fenced_weights
    for case in itertools.chain(bfloat16.EMPTY, *bfloat16.CASES.values()):
        case.run(module, layout=fenced)
        case.run(module, layout=lambda values: fenced(network.sliced(values)))
        case.run(module, layout=lambda values: fenced(values, before=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
