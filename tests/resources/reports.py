"""What nvcc and its assembler say about every kernel; warnings are errors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from emulation.build import CUDA

FLAGS = ["-O3", "-std=c++17", "-fmad=false", "--expt-relaxed-constexpr",
         "-Xcompiler", "-Wall,-Wextra", "--Werror", "all-warnings"]  # fmt: skip

# Which make gpu-check compiles, and nothing before it.
BENCHMARK = CUDA[0].parents[2] / "benchmarks" / "reductions.cu"

# Where the kernels of the network have as few registers as any.
OF_THE_NETWORK = [
    s for s in CUDA if ("trunk" in s.stem or "head" in s.stem) and s.stem != "vote_head_warpgroups"
]
OF_HOPPER = [s for s in CUDA if s.stem == "vote_head_warpgroups"]
OF_ANY_AGE = [s for s in CUDA if s.stem in ("find_peaks", "voting_loss")]
COMPILED = {
    "sm_80": [*CUDA, BENCHMARK],
    "sm_90": [*CUDA, BENCHMARK],
    "sm_90a": OF_HOPPER,
    "sm_120": [*OF_THE_NETWORK, *OF_ANY_AGE],
    "sm_75": OF_ANY_AGE,
}


def build(folder: Path) -> dict[str, Path]:
    """A report for every architecture and source, and the loss as PTX."""
    return dict(_reports(folder)) if shutil.which("nvcc") else {}


def _reports(folder: Path) -> Iterator[tuple[str, Path]]:
    for architecture, sources in COMPILED.items():
        for source in sources:
            report = folder / f"{architecture}-{source.stem}.txt"
            how = ("-Xptxas", "-v", "-cubin")
            report.write_text(_compiled(source, report.with_suffix(".cubin"), architecture, *how))
            yield f"{architecture} {source.stem}", report
    (loss,) = (source for source in CUDA if source.stem == "voting_loss")
    _compiled(loss, folder / "voting_loss.ptx", "sm_80", "-ptx")
    yield "ptx voting_loss", folder / "voting_loss.ptx"


def _compiled(source: Path, target: Path, architecture: str, *how: str) -> str:
    command = ["nvcc", f"-arch={architecture}", *FLAGS, *how, source, "-o", target]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr
