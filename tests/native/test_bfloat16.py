"""Trunk and head in bfloat16: as near as float32 sums come, and every output by itself."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from native import bfloat16, build, network
from native.bfloat16 import CASES, EMPTY, WIDTHS
from native.kernels import CUTS, Array

each_group = pytest.mark.parametrize("group", CASES)


@pytest.fixture(scope="module", autouse=True)
def _matrix_unit(native: ModuleType) -> None:
    if not native.has_matrix_unit():
        pytest.skip("this CPU has no matrix unit")


def assert_equal(actual: Array, expected: Array, case: object) -> None:
    np.testing.assert_array_equal(actual, expected, str(case), strict=True)


@each_group
def test_near_the_exact_result(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        expected, tolerance = case.expected()
        assert np.all(np.abs(case.values(case.run(native)) - expected) <= tolerance), case


@each_group
def test_work_may_be_cut_anywhere_and_done_in_any_order(
    variant: ModuleType, native: ModuleType, group: str
) -> None:
    variant.has_matrix_unit()  # asks the system for it
    for case in CASES[group]:
        expected = case.run(native)
        assert_equal(case.run(variant), expected, case)
        for split in CUTS:
            assert_equal(case.run(native, split), expected, case)


@each_group
def test_maps_may_be_parts_of_larger_ones(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        result = case.run(native, layout=network.sliced)
        assert_equal(result, case.run(native), case)
        network.assert_gaps_untouched(result)


def test_an_output_does_not_depend_on_where_it_lies(native: ModuleType) -> None:
    features = bfloat16.to_bits(network.random_map((2, 9, 60, 32)))
    layer = network.random_layer(32, 32, 3, 0)
    layers = network.random_head(32, (48,), 2, 3)
    output = bfloat16.trunk_layer(native, features, layer, pool_stride=1)
    votes = bfloat16.head(native, features, layers)
    for b, y, x, width in ((0, 0, 0, 19), (1, 2, 5, 30), (0, 3, 13, 47), (1, 5, 39, 20)):
        part = features[b : b + 1, y : y + 4, x : x + width]
        there = bfloat16.trunk_layer(native, part, layer, pool_stride=1)
        assert np.array_equal(there[0, 0], output[b, y, x : x + width - 3])
        there = bfloat16.head(native, part, layers)
        assert np.array_equal(there[0], votes[b, :, y : y + 2, x : x + width - 2])


def test_nan_comes_out_where_a_window_holds_it(native: ModuleType) -> None:
    random = np.random.default_rng(0)
    layer = network.random_layer(32, 32, 3, 0)
    layers = network.random_head(32, (32,), 1, 3)
    for width in WIDTHS:
        features = network.random_map((2, 12, width + 6, 32), width)
        is_nan = np.zeros(features.shape[:3], bool)
        is_nan[tuple(random.integers(0, is_nan.shape, (3, 3)).T)] = True
        features[is_nan, random.integers(0, 32, is_nan.sum())] = np.nan
        bits = bfloat16.to_bits(features)
        for dilation, pool_stride, pool_dilation in ((1, 0, 1), (2, 0, 1), (1, 2, 1), (2, 1, 3)):
            output = bfloat16.trunk_layer(
                native, bits, layer, dilation=dilation, pool_stride=pool_stride,
                pool_dilation=pool_dilation,
            )  # fmt: skip
            expected = network.windows_with(is_nan, 3, dilation)
            if pool_stride:
                expected = network.windows_with(expected, 2, pool_dilation, pool_stride)
            found = np.isnan(bfloat16.from_bits(output))
            assert np.array_equal(found, np.repeat(expected[..., None], 32, 3))
        votes = bfloat16.head(native, bits, layers, dilation=2)
        expected = network.windows_with(is_nan, 3, 2)
        assert np.array_equal(np.isnan(votes), np.repeat(expected[:, None], 3, 1))


def test_nothing_in_nothing_out(native: ModuleType) -> None:
    for case in EMPTY:
        assert case.run(native).size == 0
    for case in itertools.chain.from_iterable(CASES.values()):
        untouched = case.run(native, lambda total: [(total, total)])
        assert np.isnan(
            bfloat16.from_bits(untouched) if untouched.dtype == np.uint16 else untouched
        ).all()


def test_every_access_is_in_bounds_and_defined(modules: dict[str, Path]) -> None:
    program = "native.hostile_bfloat16"
    result = build.run_sanitized(program, modules["sanitized"])
    assert result.returncode == 0, result.stderr
    # What the unit loads, no sanitizer sees; the fence behind it does.
    for argument in ("features", "weight", "bias", "output", "last"):
        caught = build.run_sanitized(program, modules["sanitized"], argument)
        assert caught.returncode != 0, argument
        assert "AddressSanitizer: SEGV" in caught.stderr, argument
