"""How much memory a scan takes beside the image and its votes, in processes of their own."""

from __future__ import annotations

import multiprocessing
import runpy
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "scan_memory.py"

# As promised for any size and stride; a dozen megabytes more or less depend on the allocator.
MOST = 64_000_000


def used(*how: str | int) -> int:
    found: int = runpy.run_path(str(SCRIPT))["used"](*how)
    return found


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this is not Linux")
def test_memory_does_not_depend_on_the_image() -> None:
    runs = [("exact", 400, 1), ("float32", 400, 1), ("float32", 3000, 4)]
    context = multiprocessing.get_context("spawn")
    for how in runs:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            assert process.submit(used, *how).result() < MOST, how
