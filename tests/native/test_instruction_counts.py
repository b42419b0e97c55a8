"""A kernel that takes more instructions than it did is slower, whatever the clock says.

Counts are the same from run to run, but another compiler gives others: hence the margin, within
which lies no kernel that does its work twice. After a change that is meant:

    DVFAST_RECORD_COUNTS=1 python -m pytest tests/native/test_instruction_counts.py
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import ahead
import pytest
from native import build, counted

RECORD = Path(__file__).with_name("instruction_counts.json")
MARGIN = 1.3

pytestmark = [
    pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind on PATH"),
    pytest.mark.skipif(not build.cpu_runs("avx2"), reason="this CPU has no AVX2"),
]


def grown(counts: dict[str, int], recorded: dict[str, int]) -> list[str]:
    """What takes more instructions than it may."""
    return [name for name, number in counts.items() if number > MARGIN * recorded[name]]


def test_no_kernel_takes_more_instructions_than_recorded() -> None:
    counts = ahead.begin("counts").result()
    if os.environ.get("DVFAST_RECORD_COUNTS") == "1":
        RECORD.write_text(json.dumps(counts, indent=2) + "\n")
    assert grown(counts, json.loads(RECORD.read_text())) == []


def test_a_kernel_made_slower_is_caught(modules: dict[str, Path], tmp_path: Path) -> None:
    """Peaks by a compiler that does not optimise: the same peaks, more instructions."""
    built = modules["shipped"].parents[1]
    slow = tmp_path / "find_peaks.o"
    build.run([build.COMPILER, *build.COMMON, "-O0", "-c", build.CSRC / "cpu/find_peaks.cpp",
               "-o", slow])  # fmt: skip
    objects = [*built.glob("binding_*.o"), *built.glob("shipped_*.o"), slow]
    objects.remove(built / "shipped_find_peaks.o")
    module = tmp_path / "dvfast_kernels.so"
    build.run([build.COMPILER, "-shared", *objects, "-o", module])
    counts = counted.count(module, ["find_peaks", "gaussian_filter"])
    assert grown(counts, json.loads(RECORD.read_text())) == ["find_peaks"]
