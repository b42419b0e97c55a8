"""The head by Winograd's algorithm: as near as float32 comes, and a vote's bits are its tile's."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from native import build, hostile_winograd, network, winograd, winograd_convolution
from native.kernels import CUTS
from native.network_cases import assert_same_bits
from native.winograd import CASES, DILATIONS, EMPTY, Winograd

each_group = pytest.mark.parametrize("group", CASES)

# The bound is what roundings lead to that all agree, which they hardly do: offsets of about 1 have
# been seen to be off by 3e-5.
LIKELY = 1e-4


@each_group
def test_near_the_exact_result(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        if case.special:
            continue  # nothing is near NaN
        expected, tolerance = case.expected()
        error = np.abs(case.run(native) - expected)
        assert np.all(error <= np.minimum(tolerance, LIKELY)), case


@each_group
def test_every_instruction_set_gives_the_same_bits_for_any_cut_of_the_work(
    variant: ModuleType, native: ModuleType, group: str
) -> None:
    for case in CASES[group]:
        expected = case.run(native)
        assert_same_bits(case.run(variant), expected, case)
        for split in CUTS:
            assert_same_bits(case.run(native, split), expected, case)


@each_group
def test_maps_may_be_parts_of_larger_ones(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        result = case.run(native, layout=network.sliced)
        assert_same_bits(result, case.run(native), case)
        network.assert_gaps_untouched(result)


def test_a_tile_does_not_see_beyond_its_inputs(native: ModuleType) -> None:
    for dilation in DILATIONS:
        case = Winograd(16, (48,), 2, geometry=(dilation, 1), size=(15, 18))
        whole = case.run(native)
        reach = (winograd.INPUTS - 1) * dilation + 1
        for rows, columns in winograd.tiles(*case.size, dilation):
            seen = (slice(None), slice(rows.start, rows.start + reach, dilation),
                    slice(columns.start, columns.start + reach, dilation))  # fmt: skip
            others = np.full_like(case.features, np.nan)
            others[seen] = case.features[seen]
            votes = winograd.winograd_head(native, others, case.layers, dilation=dilation)
            here = (..., rows, columns)
            assert_same_bits(votes[here], whole[here], case)
            # Alone, and without dilation, it is the same.
            alone = winograd.winograd_head(native, case.features[seen].copy(), case.layers)
            assert_same_bits(alone, whole[here], case)


def test_nan_stays_within_its_tiles(variant: ModuleType) -> None:
    random = np.random.default_rng(0)
    size = (14, 17)
    for dilation, seed in itertools.product(DILATIONS, range(5)):
        reach = (winograd.KERNEL - 1) * dilation
        features = network.random_map((1, size[0] + reach, size[1] + reach, 16), seed)
        is_nan = np.zeros(features.shape[:3], bool)
        is_nan[tuple(random.integers(0, is_nan.shape, (2, 3)).T)] = True
        features[is_nan, random.integers(0, 16, is_nan.sum())] = np.nan
        layers = network.random_head(16, (16,), 1)
        votes = winograd.winograd_head(variant, features, layers, dilation=dilation)
        found = np.isnan(votes)
        assert not (found.any(axis=1) ^ found.all(axis=1)).any()
        needed = network.windows_with(is_nan, winograd.KERNEL, dilation)
        for rows, columns in winograd.tiles(*size, dilation):
            here = (0, rows, columns)
            assert np.all(found[:, 0][here] >= needed[here])
            span = (winograd.INPUTS - 1) * dilation + 1
            inputs = is_nan[0, rows.start :, columns.start :][:span:dilation, :span:dilation]
            assert not found[:, 0][here].any() or inputs.any()


def test_nothing_in_nothing_out(variant: ModuleType) -> None:
    for case in EMPTY:
        assert case.run(variant).size == 0
        assert case.run(variant, lambda total: [(0, 0), (total, total)]).size == 0
    votes = Winograd(16, (16,)).run(variant, lambda total: [(total, total)])
    assert np.isnan(votes).all()


@pytest.mark.parametrize("capability", build.CAPABILITIES)
def test_every_access_is_in_bounds_and_defined(
    modules: dict[str, Path], native: ModuleType, capability: str
) -> None:
    program, module = "native.hostile_winograd", modules["sanitized"]
    overruns = [
        (kernel, argument)
        for kernel, (_, arguments) in hostile_winograd.OVERRUNS.items()
        for argument in arguments
    ]
    result, *each = build.run_hostile_each(program, module, capability, [(), *overruns])
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == hostile_winograd.digest(native)
    # The sanitizers see what vectors load and store.
    for overrun, caught in zip(overruns, each, strict=True):
        assert caught.returncode != 0, overrun
        assert "ERROR: AddressSanitizer" in caught.stderr, overrun
        assert re.search(rf"dvfast::({capability}|only)::", caught.stderr), overrun


@pytest.mark.parametrize("kernel_size", [winograd.KERNEL, winograd_convolution.KERNEL])
def test_the_transforms_are_those_of_an_exact_convolution(kernel_size: int) -> None:
    outputs, kernels, inputs = winograd.transforms(kernel_size)

    # Of every input and every tap alone: one where they meet, else nothing.
    products = np.einsum("yi,it,ix->yxt", outputs, kernels, inputs)
    y, x, t = np.ogrid[: len(outputs), : winograd.INPUTS, :kernel_size]
    assert len(outputs) == winograd.INPUTS - kernel_size + 1
    np.testing.assert_allclose(products, x == y + t, atol=1e-14)
