"""The network's CUDA kernels, run on a CPU: the bits of csrc/cpu, or as near as they promise."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from emulation import matrices
from emulation.accuracy import default_head, deviations
from emulation.build import Device
from emulation.cases import offset
from emulation.network_cases import (
    EXACT,
    LAYOUTS,
    MATRIX_HEADS,
    MATRIX_TRUNKS,
    WARPGROUP_HEADS,
)
from native.kernels import Array
from native.network_cases import CASES, Case, Head, Trunk, bits

ORDERS: list[dict[str, Any]] = [
    {"seed": 1, "most_blocks": 1},
    {"seed": 3, "preempt": True},
    {"seed": 10, "preempt": True, "most_blocks": 3},
]


def window(values: Array) -> Array:
    """Of a larger one, between 16 bytes and the next."""
    larger = np.zeros([len(values), *(n + 8 for n in values.shape[1:])], values.dtype)
    inside = larger[:, 2:-6, 1:-7, :-8]
    inside[...] = values
    return inside


@pytest.mark.parametrize("name", EXACT)
def test_layers_have_the_bits_of_the_cpu_in_any_order(
    cpu: Device, emulated: Device, name: str
) -> None:
    assert emulated.extras is not None
    ways = itertools.cycle(itertools.product(ORDERS, LAYOUTS))
    with np.errstate(all="ignore"):
        for case in EXACT[name]:
            expected = case.run(cpu.kernels)
            for order, layout in itertools.islice(ways, 1 if name in CASES else 4):
                emulated.extras.set_order(**order)
                actual = case.run(emulated.kernels, layout=layout)
                assert actual.shape == expected.shape
                assert bits(actual) == bits(expected), f"{case} in order {order}"


@pytest.mark.parametrize("precision", matrices.PRECISIONS)
@pytest.mark.parametrize("case", [*MATRIX_TRUNKS, *MATRIX_HEADS], ids=str)
def test_layers_by_matrices_are_as_near_as_their_precision(
    emulated: Device, case: Case, precision: str
) -> None:
    assert emulated.extras is not None
    results = []
    for order, layout in zip(ORDERS[:2], (np.ascontiguousarray, window), strict=True):
        emulated.extras.set_order(**order)
        if isinstance(case, Trunk):
            actual = matrices.run_trunk(emulated, case, precision, layout)
            expected, tolerance = matrices.expected_trunk(case, precision)
        else:
            actual = matrices.run_head(emulated, case, precision, layout)
            expected, tolerance = matrices.expected_head(emulated, case, precision)
        assert actual is not None
        assert actual.shape == expected.shape
        assert np.all(np.abs(actual - expected) <= tolerance)
        results.append(bits(actual))
    assert results[0] == results[1]


@pytest.mark.parametrize("warpgroups", [False, True])
def test_float32_by_matrices_is_as_accurate_as_exact(emulated: Device, warpgroups: bool) -> None:
    found = deviations(emulated, default_head(64), warpgroups=warpgroups)
    assert found["float32"].root_mean_square < 1.5 * found["exact"].root_mean_square
    assert found["tf32"].root_mean_square > 100 * found["float32"].root_mean_square
    found = deviations(emulated, default_head(64, one_sign=True), warpgroups=warpgroups)
    assert found["float32"].largest < 2.0**-19


@pytest.mark.parametrize("precision", matrices.PRECISIONS)
@pytest.mark.parametrize("case", WARPGROUP_HEADS, ids=str)
def test_heads_by_warpgroups_are_as_near_as_their_precision(
    emulated: Device, case: Head, precision: str
) -> None:
    assert emulated.extras is not None
    expected, tolerance = matrices.expected_head(emulated, case, precision)
    results = []
    for order, layout in zip(ORDERS[:2], (np.ascontiguousarray, window), strict=True):
        emulated.extras.set_order(**order)
        actual = matrices.run_head(emulated, case, precision, layout, major=9, warpgroups=True)
        assert actual is not None
        assert actual.shape == expected.shape
        assert np.all(np.abs(actual - expected) <= tolerance)
        results.append(bits(actual))
    assert results[0] == results[1]


@pytest.mark.parametrize("precision", matrices.PRECISIONS)
def test_what_warpgroups_cannot_do_is_left_to_others(emulated: Device, precision: str) -> None:
    head = Head(16, (16,), size=(2, 2))

    def run(case: Head, layout: matrices.Layout = np.ascontiguousarray, major: int = 9) -> Any:
        return matrices.run_head(emulated, case, precision, layout, major, warpgroups=True)

    assert run(head) is not None
    assert run(head, major=8) is None
    assert run(head, offset) is None
    # Votes, a whole number of blocks of channels, voters everywhere, room for what they see.
    for changed in ({"num_votes": 6}, {"channels": 20}, {"geometry": (1, 2)}, {"channels": 272}):
        assert run(dataclasses.replace(head, **changed, kernel_size=5)) is None


@pytest.mark.parametrize("precision", matrices.PRECISIONS)
def test_what_matrices_cannot_do_is_left_to_others(emulated: Device, precision: str) -> None:
    head, trunk = Head(16, (16,), size=(2, 2)), Trunk(16, 16, 1)
    assert matrices.run_head(emulated, head, precision, major=7) is None
    assert matrices.run_trunk(emulated, trunk, precision, major=7) is None
    assert matrices.run_head(emulated, head, precision, offset) is None
    assert matrices.run_trunk(emulated, trunk, precision, offset) is None
    for changed in (dataclasses.replace(head, num_votes=6), dataclasses.replace(head, channels=20)):
        assert matrices.run_head(emulated, changed, precision) is None
    assert matrices.run_trunk(emulated, dataclasses.replace(trunk, channels=20), precision) is None
