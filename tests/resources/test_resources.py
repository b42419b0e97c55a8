"""What nvcc makes of the kernels: no warnings, and everything in registers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import ahead
import pytest
from emulation.build import CUDA
from resources.reports import BENCHMARK, OF_HOPPER, OF_THE_NETWORK

pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc on PATH")

FUNCTION = re.compile(
    r"Function properties for (\S+)\s+"
    r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
)


@pytest.fixture(scope="module")
def reports() -> dict[str, Path]:
    return ahead.begin("resources").result()


@pytest.mark.parametrize(
    ("architecture", "sources"),
    [
        ("sm_80", CUDA),
        ("sm_90", CUDA),
        ("sm_90a", OF_HOPPER),
        ("sm_120", OF_THE_NETWORK),
    ],
)
def test_no_kernel_spills_or_has_a_stack_frame(
    reports: dict[str, Path], architecture: str, sources: list[Path]
) -> None:
    assert len(OF_THE_NETWORK) == 4
    for source in sources:
        report = reports[f"{architecture} {source.stem}"].read_text()
        kernels = FUNCTION.findall(report)
        assert kernels, f"no kernels in {source.name}"
        assert [kernel for kernel in kernels if kernel[1:] != ("0", "0", "0")] == []
        # Matrix instructions that wait for one another, which the assembler says in so many words.
        assert "C75" not in report
        # What warpgroups give and take adds up only with so many for each thread to begin with.
        if architecture == "sm_90a":
            assert set(re.findall(r"Used (\d+) registers", report)) == {"168"}


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_kernels_of_the_benchmark_compile(reports: dict[str, Path], architecture: str) -> None:
    report = reports[f"{architecture} {BENCHMARK.stem}"].read_text()
    assert {kernel[1:] for kernel in FUNCTION.findall(report)} == {("0", "0", "0")}


@pytest.mark.parametrize("architecture", ["sm_75", "sm_120"])
def test_kernels_compile_for_the_oldest_and_the_newest(
    reports: dict[str, Path], architecture: str
) -> None:
    # With votes of the warp, 64-bit atomics, halves: what an architecture might lack.
    for name in ("find_peaks", "voting_loss"):
        assert FUNCTION.findall(reports[f"{architecture} {name}"].read_text())


def test_the_loss_moves_16_bytes_at_a_time(reports: dict[str, Path]) -> None:
    text = reports["ptx voting_loss"].read_text()
    kernels = dict(
        re.findall(r"^(?:\.visible )?\.entry (\w+)(.*?)^}", text, re.MULTILINE | re.DOTALL)
    )
    sweeps = {name: body for name, body in kernels.items() if "sum_planes" in name}
    staged = {name: body for name, body in kernels.items() if "sum_interleaved" in name}
    assert len(sweeps) == len(staged) == 12
    for name, body in sweeps.items():
        # A vote's logits and target, and its gradient where one is wanted; beside them only the sum
        # of a block.
        loads = re.findall(r"ld\.global\.(\S+)", body)
        assert len(loads) >= 6, name
        assert all(load.startswith(("v4.", "v2.f64", "v2.u64", "v2.b64")) for load in loads), name
        stores = [s for s in re.findall(r"st\.global\.(\S+)", body) if s != "f64"]
        assert len(stores) >= (4 if "sum_planesILb1" in name else 1), name
        assert set(stores) == {"v4.b32"}, name
    for name, body in staged.items():
        assert body.count("cp.async.cg.shared.global") >= 2, name
        assert "sum_interleavedILb0" in name or re.search(r"st\.global\.v[24]", body), name
