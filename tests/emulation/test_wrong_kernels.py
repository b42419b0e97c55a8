"""What the emulation would not miss: kernels with one flaw each are caught, and pass without it.

First small ones that are wrong by themselves, then those of csrc/cuda with a line of theirs spoilt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import ahead
import numpy as np
import pytest
from emulation import build as emulation
from emulation import cases, matrices
from emulation.build import Device
from emulation.cases import Array
from emulation.flaws import SPOILT, WARPGROUPS
from emulation.test_kernels import ORDERS, bits
from native import build
from native.network_cases import Head

SEEDS = range(10)
NUMBERS = np.arange(1, 1025, dtype=np.float32)  # of four blocks; no sum of them is rounded
REVERSED = NUMBERS.reshape(4, 256)[:, ::-1].ravel()
SOME = NUMBERS[:1000]
SUM = np.concatenate([[SOME.sum()], np.zeros(999, np.float32)])

EXPECTED: dict[str, tuple[Array, Array]] = {
    "barrier_left_out": (NUMBERS, REVERSED),
    "barrier_not_for_all": (NUMBERS, REVERSED),
    "buffer_used_again": (NUMBERS, REVERSED),
    "collective_not_for_all": (NUMBERS, REVERSED),
    "copy_not_waited_for": (NUMBERS, REVERSED),
    "copy_waited_for_by_one": (NUMBERS, REVERSED),
    "return_before_barrier": (SOME, SOME),
    "past_the_end": (SOME, SOME),
    "past_shared_memory": (SOME, SOME),
    "unaligned_packet": (SOME, SOME),
    "shared_memory_not_set": (SOME, SOME),
    "lost_update": (SOME, SUM),
    "lost_update_of_blocks": (SOME, SUM),
    "order_of_blocks": (SOME, SUM),
}


def run(device: Device, flaw: str, right: bool) -> Array:
    assert device.extras is not None
    numbers, _ = EXPECTED[flaw]
    result = np.zeros_like(numbers)
    device.extras.wrong_kernel(flaw, right, numbers, result)
    return result


def set_order(
    device: Device, flaw: str, seed: int, find_races: bool, preempt: bool = False
) -> None:
    # A buffer is used again only by a block that has more than one piece of work.
    most_blocks = 2 if flaw == "buffer_used_again" else 1024
    assert device.extras is not None
    device.extras.set_order(seed, preempt, most_blocks, find_races)


@pytest.fixture(params=[False, True], ids=["in turns", "preempted"])
def preempt(request: pytest.FixtureRequest) -> Iterator[bool]:
    return request.param


@pytest.mark.parametrize("flaw", EXPECTED)
def test_without_its_flaw_a_kernel_is_right(emulated: Device, flaw: str, preempt: bool) -> None:
    for seed in SEEDS:
        set_order(emulated, flaw, seed, True, preempt)
        assert np.array_equal(run(emulated, flaw, True), EXPECTED[flaw][1])


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("barrier_left_out", "data race in shared memory"),
        ("buffer_used_again", "data race in shared memory"),
        ("copy_waited_for_by_one", "data race in shared memory"),
        ("lost_update", "data race in global memory"),
        ("lost_update_of_blocks", "data race in global memory"),
        ("order_of_blocks", "data race in global memory"),
        ("collective_not_for_all", "not all of its threads reach"),
        ("return_before_barrier", "not all of its threads reach"),
        ("barrier_not_for_all", "data race in shared memory|not all of its threads reach"),
    ],
)
def test_races_and_barriers_that_are_not_met_fail_the_launch(
    emulated: Device, flaw: str, message: str, preempt: bool
) -> None:
    for seed in SEEDS:
        set_order(emulated, flaw, seed, True, preempt)
        with pytest.raises(RuntimeError, match=message):
            run(emulated, flaw, False)


@pytest.mark.parametrize("flaw", ["barrier_not_for_all", "collective_not_for_all"])
def test_a_barrier_that_is_not_met_fails_the_launch_by_itself(emulated: Device, flaw: str) -> None:
    for seed in SEEDS:
        set_order(emulated, flaw, seed, find_races=False)
        with pytest.raises(RuntimeError, match="not all of its threads reach"):
            run(emulated, flaw, False)


# What no rule catches shows in the result: orders are shuffled, threads stopped between reading and
# writing, shared memory starts as noise.
@pytest.mark.parametrize(
    "flaw",
    [
        "barrier_left_out",
        "buffer_used_again",
        "copy_not_waited_for",
        "copy_waited_for_by_one",
        "shared_memory_not_set",
        "lost_update",
        "lost_update_of_blocks",
        "order_of_blocks",
    ],
)
def test_a_flaw_shows_in_the_result(emulated: Device, flaw: str) -> None:
    results = []
    for seed in SEEDS:
        set_order(emulated, flaw, seed, False, preempt=True)
        results.append(run(emulated, flaw, False))
    assert not all(np.array_equal(result, EXPECTED[flaw][1]) for result in results)
    assert len({result.tobytes() for result in results}) > 1


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("past_the_end", "heap-buffer-overflow"),
        ("past_shared_memory", "use-after-poison"),
        ("unaligned_packet", "misaligned address"),
    ],
)
def test_sanitizers_see_into_the_fibres(
    emulated_modules: dict[str, Path], flaw: str, message: str
) -> None:
    module = emulated_modules["sanitized"]
    caught = build.run_sanitized("emulation.sanitized", module, flaw)
    assert caught.returncode != 0
    assert message in caught.stderr
    right = build.run_sanitized("emulation.sanitized", module, flaw, "right")
    assert right.returncode == 0, right.stderr


CASE_OF = {"find_peaks": "density_peaks"}  # else of the file's own name


@pytest.fixture(scope="module")
def spoilt_modules() -> dict[str, Path]:
    return ahead.begin("flawed").result()


@pytest.mark.parametrize("flaw", WARPGROUPS)
def test_a_spoilt_line_of_warpgroups_is_caught(
    emulated: Device, spoilt_modules: dict[str, Path], flaw: str
) -> None:
    # Two pieces of work for a block, and more chunks of the depth than the ring holds.
    head = Head(16, (130,), 1, 5, size=(20, 33))
    expected, tolerance = matrices.expected_head(emulated, head, "bfloat16")

    def right(device: Device, seed: int) -> bool:
        assert device.extras is not None
        device.extras.set_order(seed)
        actual = matrices.run_head(device, head, "bfloat16", major=9, warpgroups=True)
        assert actual is not None
        return bool(np.all(np.abs(actual - expected) <= tolerance))

    assert right(emulated, 0)
    spoilt = emulation.load(spoilt_modules[flaw])
    try:
        assert not all(right(spoilt, seed) for seed in SEEDS)
    except RuntimeError as error:
        told = "data race|not shown|nobody began|more arrivals"
        assert re.search(told, str(error))  # noqa: PT017 - either is fine


@pytest.mark.parametrize("flaw", [flaw for flaw in SPOILT if flaw not in WARPGROUPS])
def test_a_spoilt_line_is_caught(cpu: Device, spoilt_modules: dict[str, Path], flaw: str) -> None:
    device = emulation.load(spoilt_modules[flaw])
    assert device.extras is not None
    run, _ = cases.CASES[CASE_OF.get(SPOILT[flaw][0], SPOILT[flaw][0])]

    def same(order: dict[str, bool]) -> bool:
        device.extras.set_order(**order)
        pairs = zip(run(device, "float32"), run(cpu, "float32"), strict=True)
        return all(
            bits(one, "float32") == bits(other, "float32")
            for (_, ours), (_, theirs) in pairs
            for one, other in zip(ours, theirs, strict=True)
        )

    with np.errstate(all="ignore"):
        try:
            assert not all(same(order) for order in ORDERS)
        except RuntimeError as error:
            assert "data race" in str(error)  # noqa: PT017 - either is fine
