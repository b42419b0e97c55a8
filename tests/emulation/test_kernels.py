"""The CUDA kernels, run on a CPU: the bits of csrc/cpu for any order of threads, and no races."""

from __future__ import annotations

import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation import cases
from emulation.build import Device
from emulation.cases import Array
from native import build, hostile, kernels

# Of threads and blocks; the seeds also decide how often a thread is preempted. Of float64 and
# float16 the code is that of float32 and bfloat16, but for packets: one order is enough for them.
ORDERS: list[dict[str, Any]] = [
    {"seed": 1, "most_blocks": 1},
    {"seed": 3, "preempt": True},
    {"seed": 10, "preempt": True, "most_blocks": 3},
]


def bits(values: Array, dtype: str) -> bytes:
    """To the bit, except that NaN is NaN: its sign and payload are nobody's promise."""
    if values.dtype == np.uint16:  # a half; its exponent is all ones from infinity on
        infinity = 0x7F80 if dtype == "bfloat16" else 0x7C00
        values = np.where((values & 0x7FFF) > infinity, np.uint16(0x7FFF), values)
    elif values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(math.nan), values)
    return np.ascontiguousarray(values).tobytes()


def assert_same(actual: list[Array], expected: list[Array], dtype: str, name: str) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype, name
        assert one.shape == other.shape, name
        assert bits(one, dtype) == bits(other, dtype), name


@pytest.mark.parametrize(("kernel", "dtype"), cases.EACH_CASE)
def test_cuda_kernels_give_the_bits_of_the_cpu_in_any_order(
    cpu: Device, emulated: Device, kernel: str, dtype: str
) -> None:
    run, _ = cases.CASES[kernel]
    with np.errstate(all="ignore"):
        expected = list(run(cpu, dtype))
        for order in ORDERS[-1:] if dtype in ("float64", "float16") else ORDERS:
            emulated.extras.set_order(**order)
            for (name, actual), (_, wanted) in zip(run(emulated, dtype), expected, strict=True):
                assert_same(actual, wanted, dtype, f"{name} in order {order}")


def test_a_loss_of_a_million_patches_is_summed_in_two_steps(cpu: Device, emulated: Device) -> None:
    emulated.extras.set_order(seed=5, find_races=False)
    logits = np.random.default_rng(0).normal(0, 2, (1, 3, 1, 1024 * 1024 + 7)).astype(np.float32)
    blocks = np.zeros(1025)
    emulated.kernels.voting_loss_float32_float32(
        logits, logits[:, ::-1], None, None, blocks, 384.0, 0, blocks.size
    )
    patch_loss = np.zeros(logits.shape[2:], np.float32)
    cpu.kernels.voting_loss_float32_float32(
        logits, logits[:, ::-1], None, patch_loss, blocks.copy(), 384.0, 0, blocks.size
    )
    assert blocks[0] == cases.sum_in_order(patch_loss)


def test_peaks_of_many_chunks_stay_in_raster_order(cpu: Device, emulated: Device) -> None:
    # More chunks than a block has threads.
    density = np.random.default_rng(0).integers(0, 9, (521, 511)).astype(np.float32)
    rules = {"threshold": 0.2, "relative": True, "min_distance": 2}
    emulated.extras.set_order(seed=5, find_races=False)
    points, count = cases.peaks(emulated, density, **rules)
    expected, expected_count = cases.peaks(cpu, density, **rules)
    assert count == expected_count > 1000
    assert np.array_equal(points, expected)


@pytest.mark.parametrize("dtype", cases.REAL)
def test_density_and_peaks_are_one_pass_where_a_tile_fits(emulated: Device, dtype: str) -> None:
    emulated.extras.set_order(seed=1, find_races=False)

    def one_pass(window: int, min_distance: int) -> bool:
        rules: dict[str, Any] = {"threshold": 0.2, "relative": True, "min_distance": min_distance}
        votes = np.ones((3, 3), dtype)
        return cases.density_and_peaks(emulated, votes, window, 1.0, 1.0, **rules)[2]

    assert all(
        one_pass(window, min_distance) for window, _, min_distance in cases.DENSITY_RULES[:4]
    )
    assert not any(
        one_pass(window, min_distance) for window, _, min_distance in cases.DENSITY_RULES[-2:]
    )
    assert one_pass(255, 4) == (dtype == "float32")


@pytest.mark.parametrize("scatter", [kernels.scatter, kernels.parzen_scatter])
def test_void_votes_are_counted_for_each_image(cpu: Device, emulated: Device, scatter: Any) -> None:
    emulated.extras.set_order(seed=1)
    cast = hostile.hostile_votes((4, 6, 5, 9), "float32", 0)
    cast[2] = 0
    scatter(emulated.kernels, cast, (5, 9))
    alone = [scatter(cpu.kernels, image[None], (5, 9))[1] for image in cast]
    assert emulated.extras.void_votes() == alone
    assert alone[2] == 0 < min(alone[:2])


def test_kernels_on_exactly_as_much_memory_as_they_need(emulated_modules: dict[str, Path]) -> None:
    def run(share: int) -> subprocess.CompletedProcess[str]:
        module = emulated_modules["sanitized"]
        return build.run_sanitized("emulation.sanitized", module, "share", share, 2)

    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(run, range(2)):
            assert result.returncode == 0, result.stderr
