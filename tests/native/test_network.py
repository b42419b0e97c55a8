"""The layers of the network: one order of the sums, whatever the instruction set and the work."""

from __future__ import annotations

import functools
import itertools
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from native import build, network
from native.kernels import CUTS, Array
from native.network_cases import CASES, Case, Trunk, assert_same_bits, digest

each_group = pytest.mark.parametrize("group", CASES)


@functools.cache
def model(case: Case, module: ModuleType) -> Array:
    return case.model(module)


@each_group
def test_near_the_exact_result(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        if case.special:
            continue  # nothing is near NaN
        expected, tolerance = case.expected()
        actual = case.run(native)
        if isinstance(case, Trunk):
            assert not actual[..., case.outputs :].any()
            actual = actual[..., : case.outputs]
        assert actual.shape == expected.shape
        assert np.all(np.abs(actual - expected) <= tolerance), case


@each_group
def test_every_sum_is_in_the_one_order(variant: ModuleType, native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        assert_same_bits(case.run(variant), model(case, native), case)


@each_group
def test_work_may_be_cut_anywhere_and_done_in_any_order(
    variant: ModuleType, native: ModuleType, group: str
) -> None:
    for case, split in itertools.product(CASES[group], CUTS):
        assert_same_bits(case.run(variant, split), model(case, native), case)


@each_group
def test_maps_may_be_parts_of_larger_ones(
    variant: ModuleType, native: ModuleType, group: str
) -> None:
    for case in CASES[group]:
        result = case.run(variant, layout=network.sliced)
        assert_same_bits(result, model(case, native), case)
        network.assert_gaps_untouched(result)


@pytest.mark.parametrize("capability", build.CAPABILITIES)
def test_the_instruction_set_can_be_asked_for(
    modules: dict[str, Path], native: ModuleType, capability: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "native.network_cases", str(modules["shipped"])],
        env={
            **os.environ,
            "DVFAST_CPU_CAPABILITY": capability,
            "PYTHONPATH": str(build.NATIVE.parent),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(native)


def test_nan_comes_out_where_a_window_holds_it(variant: ModuleType) -> None:
    random = np.random.default_rng(0)
    layer = network.random_layer(3, 16, 3, 0)
    head = network.random_head(3, (32,), 2, 3)
    for seed in range(10):
        features = network.random_map((2, 20, 31, 3), seed)
        is_nan = np.zeros(features.shape[:3], bool)
        is_nan[tuple(random.integers(0, features.shape[:3], (3, 3)).T)] = True
        features[is_nan, random.integers(0, 3, is_nan.sum())] = np.nan

        for dilation, pool_stride, pool_dilation in ((1, 0, 1), (2, 0, 1), (1, 2, 1), (2, 1, 3)):
            output = network.trunk_layer(
                variant, features, layer, dilation=dilation, pool_stride=pool_stride,
                pool_dilation=pool_dilation,
            )  # fmt: skip
            expected = network.windows_with(is_nan, 3, dilation)
            if pool_stride:
                expected = network.windows_with(expected, 2, pool_dilation, pool_stride)
            assert np.array_equal(np.isnan(output), np.repeat(expected[..., None], 16, 3))
        votes = network.vote_head(variant, features, head, dilation=2, stride=3)
        expected = network.windows_with(is_nan, 3, 2, 3)
        assert np.array_equal(np.isnan(votes), np.repeat(expected[:, None], 6, 1))


def test_infinity_is_a_number(variant: ModuleType) -> None:
    layer = network.Layer(np.ones((16, 1, 1, 1), np.float32), np.zeros(16, np.float32))
    features = np.array([np.inf, -np.inf, 1, -1, 4, 0], np.float32).reshape(1, 2, 3, 1)
    output = network.trunk_layer(variant, features, layer)
    assert output[0, :, :, 5].tolist() == [[np.inf, 0, 1], [0, 4, 0]]
    pooled = network.trunk_layer(variant, features, layer, pool_stride=1)
    assert pooled[0, :, :, 5].tolist() == [[np.inf, 4]]


def test_the_model_rounds_once() -> None:
    random = np.random.default_rng(0)
    bit_patterns = random.integers(0, 2**32, (3, 4000), np.uint32)
    a, b, c = bit_patterns.view(np.float32)
    a[::2], b[::2] = network.random_map((2, 2000))
    with np.errstate(all="ignore"):
        c[::4] = -(a[::4] * b[::4])  # what is left is the product's own rounding
        c[1::4] = a[1::4] * b[1::4] * np.float32(2**24)  # halves of a unit in the last place
    result = network.fused_multiply_add(a, b, c)
    checked = 0
    for x, y, z, actual in zip(a, b, c, result, strict=True):
        if not np.isfinite([x, y, z]).all():
            continue
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        if not np.isfinite(actual):
            assert abs(exact) >= Fraction(2) ** 128 - Fraction(2) ** 103
            continue
        away = abs(exact - Fraction(float(actual)))
        for neighbour in (np.nextafter(actual, np.float32(side)) for side in (-np.inf, np.inf)):
            if not np.isfinite(neighbour):
                continue
            other = abs(exact - Fraction(float(neighbour)))
            assert away < other or (away == other and actual.view(np.int32) % 2 == 0)
        checked += 1
    assert checked > 3000


@pytest.mark.parametrize("capability", build.CAPABILITIES)
def test_every_access_is_in_bounds_and_defined(modules: dict[str, Path], capability: str) -> None:
    program, module = "native.hostile_network", modules["sanitized"]
    overruns = [(name,) for name in ("features", "weight", "bias", "output", "last")]
    result, *each = build.run_hostile_each(program, module, capability, [(), *overruns])
    assert result.returncode == 0, result.stderr
    # The sanitizers see what vectors load and store.
    for argument, caught in zip(overruns, each, strict=True):
        assert caught.returncode != 0, argument
        assert "ERROR: AddressSanitizer" in caught.stderr, argument
        assert re.search(rf"dvfast::({capability}|only)::", caught.stderr), argument
