"""What the machine is, what it can do at most, and how much memory a run took."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from .._library import arithmetic_peak, cpu_info, release_memory
from .contest import Unit

__all__ = ["describe", "limit", "peak_memory", "wait"]

# A tenth of a second or less of each, and enough to be out of the noise.
_VECTOR_ROUNDS = 8_000_000
_MATRIX_ROUNDS = 1_000_000
_LARGEST_COPY = 2**28


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def limit(unit: Unit, work: float, device: torch.device, threads: int) -> Callable[[], float]:
    """A function that measures, now, the seconds which the machine needs for so much work.

    Vector and matrix units: floating-point operations on numbers in registers, float32 and
    bfloat16 (on a GPU: products of large matrices by the vendor's library). Copies: bytes read and
    written, in a copy of the same size, be it in a cache or not.
    """
    if unit == "copy":
        count = max(1, min(int(work), _LARGEST_COPY) // 2)
        source = torch.randint(0, 255, (count,), dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        return lambda: work / (2 * count / _repeated(lambda: target.copy_(source), device))
    if device.type == "cuda":
        dtype = torch.bfloat16 if unit == "matrix" else torch.float32
        side = 8192
        a, b = torch.randn(2, side, side, device=device, dtype=dtype)
        return lambda: work / (2 * side**3 / _repeated(lambda: a @ b, device))
    rounds = _MATRIX_ROUNDS if unit == "matrix" else _VECTOR_ROUNDS
    if cpu_info()["instruction_set"] == "portable":
        rounds //= 100
    # ``unit`` is no longer "copy" here, which a closure does not know.
    name: Any = unit
    return lambda: work / arithmetic_peak(name, threads, rounds)


def _repeated(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run, over as many as take some milliseconds."""
    count, seconds = 1, 0.0
    while seconds < 5e-3:
        wait(device)
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait(device)
        seconds = time.perf_counter() - start
        count *= 2
    return seconds / (count / 2)


def peak_memory(run: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes by which memory grew at most while something ran; None where it cannot be told.

    The less of two runs: what an allocator keeps of one may be in the way of the other.
    """
    peaks = [_peak_of_one_run(run, device) for _ in range(2)]
    return min((peak for peak in peaks if peak is not None), default=None)


def _peak_of_one_run(run: Callable[[], Any], device: torch.device) -> int | None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        # What was used before is not there to be used again.
        release_memory()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _status("VmRSS")
        result = run()
        peak = _status("VmHWM") - before
    except (OSError, LookupError, AttributeError):  # not Linux, or not with glibc
        return None
    del result
    return max(0, peak)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def describe(device: torch.device, threads: int) -> dict[str, Any]:
    """What a record of figures must say about where they come from."""
    description = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        **cpu_info(),
        "threads": threads,
        "device": device.type,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dvfast": __version__,
        "commit": _commit(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        description |= {
            "gpu": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return description


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or sys.platform])[0]


def _commit() -> str | None:
    """Of the working copy that this package lies in, if it lies in one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None
