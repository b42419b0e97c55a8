"""Additions at an index: how many a second the device does, by type, and what that means for votes.

Votes are summed as 64-bit integers (csrc/core/fixed_point.h). The rates say what another type would
cost or save, on addresses that are spread over a map and on those that gather where nuclei are.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import measure, same
from torch import Tensor

import dvfast

_CUDA = Path(__file__).resolve().parents[1] / "csrc" / "cuda"
SOURCES = (Path(__file__).with_name("reductions.cu"), _CUDA / "vote_map.cu")
_DTYPES = (torch.int32, torch.int64, torch.float32, torch.float64)


def load(path: Path) -> ctypes.CDLL:
    """The kernels of reductions.cu, compiled for a device or emulated."""
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for name in map(_name, _DTYPES):
        getattr(library, f"dvfast_add_{name}").argtypes = [pointer, pointer, number, pointer]
    votes = [pointer, number, number, number]
    library.dvfast_scatter_fixed.argtypes = [*votes, pointer, pointer, pointer]
    library.dvfast_scatter_floats.argtypes = [*votes, pointer, pointer]
    return library


def build(device: torch.device) -> ctypes.CDLL:
    major, minor = torch.cuda.get_device_capability(device)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "reductions.so"
        flags = ["-O3", "-std=c++17", "-fmad=false", "--expt-relaxed-constexpr", "-shared"]
        command = ["nvcc", f"-arch=sm_{major}{minor}", *flags, "-Xcompiler=-fPIC", *SOURCES]
        subprocess.run([*command, "-o", target], check=True)
        return load(target)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _stream(device: torch.device) -> int:
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def add_ones(library: ctypes.CDLL, sums: Tensor, index: Tensor) -> None:
    """One onto every pixel of `sums` that the int32 `index` names, as often as it does."""
    add = getattr(library, f"dvfast_add_{_name(sums.dtype)}")
    _check(add(sums.data_ptr(), index.data_ptr(), index.numel(), _stream(sums.device)))


def scatter_fixed(library: ctypes.CDLL, votes: Tensor, sums: Tensor, num_void: Tensor) -> None:
    """Votes ``[1, 3k, h, w]`` onto int64 `sums` ``[h, w]``, by the library's own kernel."""
    tail = (sums.data_ptr(), num_void.data_ptr(), _stream(votes.device))
    _check(library.dvfast_scatter_fixed(*_votes(votes), *tail))


def scatter_floats(library: ctypes.CDLL, votes: Tensor, sums: Tensor) -> None:
    """The same onto float32 `sums`, by atomic additions of floats."""
    tail = (sums.data_ptr(), _stream(votes.device))
    _check(library.dvfast_scatter_floats(*_votes(votes), *tail))


def _votes(votes: Tensor) -> tuple[int, int, int, int]:
    return votes.data_ptr(), votes.shape[1] // 3, votes.shape[2], votes.shape[3]


def _check(error: int) -> None:
    if error:
        raise RuntimeError(f"CUDA error {error}")


def rates(
    device: torch.device, library: ctypes.CDLL | None, side: int, count: int, clustered: bool
) -> dict[str, Any]:
    """Additions per second onto a map of `side` squared, by PyTorch and by our own kernel."""
    generator = torch.Generator().manual_seed(0)
    pixels = side * side
    if clustered:
        # Neighbours in the list vote for one nucleus, and miss it by a pixel.
        nuclei = torch.randint(pixels, (-(-count // 512),), generator=generator)
        y, x = (torch.randn(2, count, generator=generator)).round().long()
        index = (nuclei.repeat_interleave(512)[:count] + y * side + x) % pixels
    else:
        index = torch.randint(pixels, (count,), generator=generator)
    long = index.to(device)
    short = long.int()
    expected = torch.bincount(long, minlength=pixels)
    runs: dict[str, Callable[[], Any]] = {}
    for dtype in _DTYPES:
        sums = torch.zeros(pixels, dtype=dtype, device=device)
        ones = torch.ones(count, dtype=dtype, device=device)

        def index_add(sums: Tensor = sums, ones: Tensor = ones) -> None:
            sums.index_add_(0, long, ones)

        def own(sums: Tensor = sums) -> None:
            assert library is not None
            add_ones(library, sums, short)

        for name, run in {"index_add_": index_add, "kernel": own}.items():
            if name == "kernel" and library is None:
                continue
            sums.zero_()
            run()
            same(sums.long(), expected, 0, f"{name} of {_name(dtype)}")
            runs[f"{name} {_name(dtype)}"] = run
    seconds = measure(runs, device)
    return {
        "side": side,
        "additions": count,
        "clustered": clustered,
        "additions_per_second": {name: count / value for name, value in seconds.items()},
    }


def scatters(device: torch.device, library: ctypes.CDLL, votes: Tensor) -> dict[str, Any]:
    """Votes ``[1, 3k, h, w]`` to integers, as the library adds them, and to floats."""
    size = (votes.shape[2], votes.shape[3])
    fixed = torch.zeros(size, dtype=torch.int64, device=device)
    num_void = torch.zeros(1, dtype=torch.int64, device=device)
    floats = torch.zeros(size, device=device)
    expected = dvfast.vote_map(votes, size)[0]
    scatter_fixed(library, votes, fixed, num_void)
    same(fixed.double() * 2.0**-30, expected.double(), 1e-6, "votes as integers")
    first, second = (_floats(library, votes) for _ in range(2))
    same(first, expected, 1e-3, "votes as floats")
    seconds = measure(
        {
            "fixed point": lambda: scatter_fixed(library, votes, fixed, num_void),
            "floats": lambda: scatter_floats(library, votes, floats),
        },
        device,
    )
    return {
        "votes": votes.numel() // 3,
        "seconds": seconds,
        "fixed_point_over_floats": seconds["fixed point"] / seconds["floats"],
        "floats_repeat_their_bits": torch.equal(first, second),
    }


def _floats(library: ctypes.CDLL, votes: Tensor) -> Tensor:
    sums = votes.new_zeros(votes.shape[2:])
    scatter_floats(library, votes, sums)
    return sums


def all_reductions(
    device: torch.device, casts: dict[str, Tensor], *, small: bool = False
) -> dict[str, Any]:
    """Rates and scatters; without a GPU only what PyTorch itself can add."""
    library = build(device) if device.type == "cuda" else None
    sizes = ((32, 2**12),) if small else ((400, 2**26), (4096, 2**26))
    found: dict[str, Any] = {
        "rates": [
            rates(device, library, side, count, clustered)
            for side, count in sizes
            for clustered in (False, True)
        ]
    }
    if library is not None:
        found["scatters"] = {
            name: scatters(device, library, votes) for name, votes in casts.items()
        }
    return found
