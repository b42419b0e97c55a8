"""What nvcc and its assembler said about every kernel when the library was built.

Beside that, one source as PTX, and the kernels of a benchmark, which make gpu-check compiles and
nothing before it; warnings are errors.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emulation.build import CUDA

ROOT = CUDA[0].parents[2]
BUILT = ROOT / "build" / "cuda"
BENCHMARK = ROOT / "benchmarks" / "reductions.cu"
BENCHMARK_ARCHITECTURES = ("sm_80", "sm_90")

_FLAGS = ["-O3", "-std=c++17", "-fmad=false", "--expt-relaxed-constexpr", "--resource-usage",
          "-Xcompiler", "-Wall,-Wextra", "--Werror", "all-warnings"]  # fmt: skip
_KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\S+)' for '(?P<architecture>\S+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stored>\d+) bytes spill stores, "
    r"(?P<loaded>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)


@dataclass(frozen=True)
class Kernel:
    name: str
    architecture: str
    registers: int
    in_memory: int  # bytes of what ought to be in registers


def kernels(report: str) -> list[Kernel]:
    return [
        Kernel(
            found["name"],
            found["architecture"],
            int(found["registers"]),
            sum(int(found[what]) for what in ("stack", "stored", "loaded")),
        )
        for found in _KERNEL.finditer(report)
    ]


def build(folder: Path) -> dict[str, Path]:
    """Reports on the benchmark, and the loss as PTX."""
    return dict(_reports(folder)) if shutil.which("nvcc") else {}


def _reports(folder: Path) -> Iterator[tuple[str, Path]]:
    for architecture in BENCHMARK_ARCHITECTURES:
        report = folder / f"{architecture}.txt"
        cubin = report.with_suffix(".cubin")
        report.write_text(_compiled(BENCHMARK, cubin, architecture, "-cubin"))
        yield f"benchmark {architecture}", report
    (loss,) = (source for source in CUDA if source.stem == "voting_loss")
    _compiled(loss, folder / "voting_loss.ptx", "sm_80", "-ptx")
    yield "ptx voting_loss", folder / "voting_loss.ptx"


def _compiled(source: Path, target: Path, architecture: str, how: str) -> str:
    command = ["nvcc", f"-arch={architecture}", *_FLAGS, how, source, "-o", target]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr
