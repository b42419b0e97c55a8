"""What nvcc makes of the kernels: no warnings, and everything in registers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import ahead
import pytest
from emulation.build import CUDA
from resources.reports import BENCHMARK_ARCHITECTURES, BUILT, kernels

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc on PATH")

HOPPER_ALONE = "vote_head_warpgroups"


@pytest.fixture(scope="module")
def reports() -> dict[str, Path]:
    return ahead.begin("resources").result()


@pytest.mark.skipif(not BUILT.exists(), reason="no CUDA kernels were built in this folder")
@pytest.mark.parametrize("name", [source.stem for source in CUDA])
def test_no_kernel_spills_or_has_a_stack_frame(name: str) -> None:
    """On none of the architectures that the library holds code for."""
    asked = set(re.findall(r"code=(sm_\w+)", (BUILT / "flags").read_text()))
    report = (BUILT / f"{name}.report").read_text()
    found = kernels(report)
    if name == HOPPER_ALONE and "sm_90" in asked:
        asked = {"sm_90a"}
        # What warpgroups give and take adds up only with so many for each thread to begin with.
        assert {kernel.registers for kernel in found} == {168}
    assert {kernel.architecture for kernel in found} == asked
    assert [kernel for kernel in found if kernel.in_memory] == []
    # Matrix instructions that wait for one another, which the assembler says in so many words.
    assert "C75" not in report


@needs_nvcc
@pytest.mark.parametrize("architecture", BENCHMARK_ARCHITECTURES)
def test_the_kernels_of_the_benchmark_compile(reports: dict[str, Path], architecture: str) -> None:
    found = kernels(reports[f"benchmark {architecture}"].read_text())
    assert {kernel.in_memory for kernel in found} == {0}


@needs_nvcc
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
