"""The convolution by Winograd's algorithm: near the exact result, and an output's bits its tile's.

test_winograd.py looks after its transforms and after every access to memory.
"""

from __future__ import annotations

import itertools
import math
from types import ModuleType

import numpy as np
import pytest
from native import network
from native.kernels import CUTS, Array, whole
from native.network_cases import assert_same_bits
from native.winograd_convolution import (
    CASES,
    EMPTY,
    KERNEL,
    OUTPUTS,
    Convolution,
    framed,
    joined,
    maxima,
    tiles,
    winograd_convolution,
)

each_group = pytest.mark.parametrize("group", CASES)

# See test_winograd.py; outputs of about 1 have been seen to be off by 6e-5.
LIKELY = 2e-4


def assert_all_same_bits(actual: list[Array], expected: list[Array], case: Convolution) -> None:
    assert len(actual) == len(expected) == 1 + case.pooled
    for x, y in zip(actual, expected, strict=True):
        assert_same_bits(x, y, case)


@each_group
def test_near_the_exact_result(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        if case.special:
            continue  # nothing is near NaN
        expected, tolerance = case.expected()
        output = case.run(native)[0]
        assert not output[..., case.outputs :].any()
        error = np.abs(output[..., : case.outputs] - expected)
        assert np.all(error <= np.minimum(tolerance, LIKELY)), case


@each_group
def test_every_instruction_set_gives_the_same_bits_for_any_cut_of_the_work(
    variant: ModuleType, native: ModuleType, group: str
) -> None:
    for case in CASES[group]:
        expected = case.run(native)
        assert_all_same_bits(case.run(variant), expected, case)
        for split in CUTS:
            assert_all_same_bits(case.run(native, split), expected, case)


@each_group
def test_maps_may_be_parts_of_larger_ones(native: ModuleType, group: str) -> None:
    for case in CASES[group]:
        results = case.run(native, layout=network.sliced)
        assert_all_same_bits(results, case.run(native), case)
        for result in results:
            network.assert_gaps_untouched(result)


def test_the_maxima_are_those_of_the_output(variant: ModuleType) -> None:
    for case in itertools.chain.from_iterable(CASES.values()):
        if not case.pooled:
            continue
        output, pooled = case.run(variant)
        assert_same_bits(pooled, maxima(output), case)
        # Either alone is the same.
        for alone, expected in (
            (case.run(variant, pooled=False), output),
            (case.run(variant, full=False), pooled),
        ):
            assert len(alone) == 1
            assert_same_bits(alone[0], expected, case)


def test_a_band_gives_the_rows_of_the_whole(native: ModuleType) -> None:
    case = Convolution((16,), 48, (28, 14), 2)
    (features,), height = case.maps, case.size[0]
    complete, exact = case.run(native)[0], case.expected()[0]
    for begin, end in itertools.combinations((0, 1, 5, 6, 12, 15, 18, 24, 27, height), 2):
        all_seen = (begin, height - end)
        neighbours = (min(1, begin), min(1, height - end))
        for around in (all_seen, neighbours):
            part = features[:, begin - around[0] : end + around[1]]
            rows = winograd_convolution(native, [part], case.layer, around=around)[0]
            if begin % OUTPUTS == 0 and (around == all_seen or end % OUTPUTS == 0):
                # Its tiles are those of the whole, and see the same.
                assert_same_bits(rows, complete[:, begin:end], (begin, end, around))
            else:
                assert np.all(np.abs(rows - exact[:, begin:end]) <= LIKELY), (begin, end, around)


def test_an_output_does_not_depend_on_where_its_tile_lies(native: ModuleType) -> None:
    case = Convolution((16, 16), 16, (36, 30), 2, enlarged=True)
    complete = case.run(native)[0]
    coarse, fine = case.maps
    for b, top, left in itertools.product((0, 1), (0, 6, 18), (0, 12)):
        parts = [coarse[b : b + 1, top // 2 :, left // 2 :], fine[b : b + 1, top:, left:]]
        there = winograd_convolution(native, parts, case.layer)[0]
        # But for the first tiles, which see zeros where the whole goes on.
        here = slice(OUTPUTS, None)
        expected = complete[b : b + 1, top:, left:]
        assert_same_bits(there[:, here, here], expected[:, here, here], case)


# One map, and two of which one is enlarged.
TILED = [Convolution((16,), 48, (14, 17)), Convolution((16, 32), 16, (20, 14), enlarged=True)]


def test_a_tile_does_not_see_beyond_its_inputs(native: ModuleType) -> None:
    for case in TILED:
        complete = case.run(native)[0]
        for rows, columns in tiles(*case.size):
            maps = [x.copy() for x in case.maps]
            for x, seen in zip(maps, case.seen(rows, columns), strict=True):
                x[:, ~seen] = np.nan
            output = winograd_convolution(native, maps, case.layer)[0]
            here = (slice(None), rows, columns)
            assert_same_bits(output[here], complete[here], case)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_within_its_tiles(variant: ModuleType, number: float) -> None:
    random = np.random.default_rng(0)
    for case, m, _ in itertools.product(TILED, (0, -1), range(5)):
        place = tuple(random.integers(0, case.shapes[m]))
        maps = [x.copy() for x in case.maps]
        maps[m][place] = number
        finite = case.run(variant)
        results = winograd_convolution(variant, maps, case.layer, pooled=case.pooled)
        spoilt = ~np.isfinite(joined(maps)).all(axis=3, keepdims=True)
        needed = network.windows_with(framed(spoilt)[..., 0], KERNEL)
        for rows, columns in tiles(*case.size):
            here = (slice(None), rows, columns)
            if not case.seen(rows, columns)[m][place[1:3]]:
                assert_same_bits(results[0][here], finite[0][here], case)
            elif math.isnan(number):
                assert np.isnan(results[0][here][needed[here]]).all()
            elif needed[here].any():
                assert not np.isfinite(results[0][here]).all()
        if case.pooled:
            assert_same_bits(results[1], maxima(results[0]), case)


def test_nothing_in_nothing_out(variant: ModuleType) -> None:
    for case in EMPTY:
        for split in (whole, lambda total: [(0, 0), (total, total)]):
            assert all(result.size == 0 for result in case.run(variant, split))
    for result in Convolution((16,), 16).run(variant, lambda total: [(total, total)]):
        assert np.isnan(result).all()
