"""What the machine can do at most, and what a run took: peak arithmetic, peak memory."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

import dvfast
from dvfast._library import cpu_info


@cache
def _peak_library() -> ctypes.CDLL:
    source = Path(__file__).with_name("peak.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        flags = ["-O3", "-std=c++17", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        compiler = os.environ.get("CXX", "g++")
        subprocess.run([compiler, *flags, source, "-o", library, "-lpthread"], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.fma_peak.restype = ctypes.c_double
    loaded.fma_peak.argtypes = [ctypes.c_int, ctypes.c_int64]
    return loaded


def fma_peak(threads: int) -> float:
    """FLOP per second of float32 fused multiply-adds, over a tenth of a second."""
    peak: float = _peak_library().fma_peak(threads, 20_000_000)
    return peak


def peak_memory(run: Callable[[], Any]) -> int:
    """Bytes by which the memory of the process grew at most while something ran (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not there to be used again
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    result = run()
    peak = _status("VmHWM") - before
    del result
    return peak


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def describe() -> dict[str, Any]:
    """What a record of figures must say about where they come from."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return {
        "cpu": model,
        **cpu_info(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dvfast": dvfast.__version__,
        "commit": commit.stdout.strip() or None,
    }
