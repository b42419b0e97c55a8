"""The formulas of csrc/core against float64, NumPy's float16 and torch's bfloat16."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ALL_HALVES = np.arange(2**16, dtype=np.uint16)


def floats_between(low: float, high: float, count: int) -> FloatArray:
    """Evenly spaced among the representable numbers of one sign: dense where numbers are."""
    bits = np.array([low, high], np.float32).view(np.int32).astype(np.int64)
    return np.linspace(*bits, count).astype(np.int32).view(np.float32)


def units_in_the_last_place(actual: FloatArray, exact: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    return np.abs(actual.astype(np.float64) - exact) / unit


def test_exponential(native: ModuleType) -> None:
    x = np.concatenate(
        [
            np.linspace(-110, 95, 1_000_001).astype(np.float32),
            floats_between(1e-45, 88.72, 200_000),
            -floats_between(1e-45, 103.97, 200_000),
            np.arange(-104, 89, dtype=np.float32),
            (np.arange(-150, 129) * np.log(2)).astype(np.float32),  # where the exponent steps
            (np.arange(-150, 129) * np.log(2) + np.log(2) / 2).astype(np.float32),
        ]
    )
    exact = np.exp(x.astype(np.float64))
    actual = native.exponential_float32(x)
    finite = exact < np.finfo(np.float32).max
    assert units_in_the_last_place(actual[finite], exact[finite]).max() < 2
    assert np.isinf(actual[~finite]).all()
    assert (actual[x < -104] == 0).all()


def test_exponential_of_extremes(native: ModuleType) -> None:
    huge = np.finfo(np.float32).max
    x = np.array([0, -0.0, 1e-45, -1e-45, huge, -huge, np.inf, -np.inf], np.float32)
    assert native.exponential_float32(x).tolist() == [1, 1, 1, 1, np.inf, 0, np.inf, 0]
    for nan in np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32):
        assert np.isnan(native.exponential_float32(nan.view(np.float32)))
    assert native.exponential_float64(1.0) == np.exp(1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid(native: ModuleType, dtype: str) -> None:
    x = np.linspace(-87, 120, 200_001).astype(dtype)
    wide = x.astype(np.longdouble)
    actual = getattr(native, f"sigmoid_{dtype}")(x)
    # The exponential's error, the addition's and the quotient's.
    np.testing.assert_allclose(actual, 1 / (1 + np.exp(-wide)), rtol=4 * np.finfo(dtype).eps)
    assert actual.min() >= 0
    assert actual.max() == 1
    assert getattr(native, f"sigmoid_{dtype}")(0) == 0.5


def test_bfloat16_to_float(native: ModuleType) -> None:
    actual = native.bfloat16_to_float(ALL_HALVES)
    expected = torch.from_numpy(ALL_HALVES.view(np.int16)).view(torch.bfloat16).float().numpy()
    assert np.array_equal(actual.view(np.uint32), expected.view(np.uint32))


def test_float16_to_float(native: ModuleType) -> None:
    actual = native.float16_to_float(ALL_HALVES)
    expected = ALL_HALVES.view(np.float16).astype(np.float32)
    assert np.array_equal(actual, expected, equal_nan=True)
    assert np.array_equal(np.signbit(actual), np.signbit(expected))


def numbers_around_all_halves(as_float: FloatArray) -> FloatArray:
    """Every half, the middle between it and the next, and the floats beside all of these."""
    finite = np.unique(as_float[np.isfinite(as_float)])
    exact = np.concatenate([finite, (finite[:-1] / 2 + finite[1:] / 2)])
    beside = [np.nextafter(exact, np.float32(side)) for side in (-np.inf, np.inf)]
    random = np.random.default_rng(0).integers(0, 2**32, 1_000_000, np.uint32).view(np.float32)
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, -1e-45], np.float32)
    largest = np.float32(np.abs(finite).max())
    return np.concatenate([exact, *beside, random, special, [largest * np.float32(1.002)]])


def test_bfloat16_from_float(native: ModuleType) -> None:
    x = numbers_around_all_halves(native.bfloat16_to_float(ALL_HALVES)).astype(np.float32)
    actual = native.bfloat16_from_float(x)
    expected = torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16)
    number = ~np.isnan(x)
    assert np.array_equal(actual[number], expected[number])
    assert np.isnan(native.bfloat16_to_float(actual[~number])).all()


def test_float16_from_float(native: ModuleType) -> None:
    x = numbers_around_all_halves(native.float16_to_float(ALL_HALVES)).astype(np.float32)
    actual = native.float16_from_float(x)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16).view(np.uint16)
    number = ~np.isnan(x)
    assert np.array_equal(actual[number], expected[number])
    assert np.isnan(native.float16_to_float(actual[~number])).all()


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_halves_there_and_back(native: ModuleType, kind: str) -> None:
    as_float = getattr(native, f"{kind}_to_float")(ALL_HALVES)
    back = getattr(native, f"{kind}_from_float")(as_float)
    number = ~np.isnan(as_float)
    assert np.array_equal(back[number], ALL_HALVES[number])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sigma", [0.01, 0.5, 1.0, 3.7, 100.0])
def test_gaussian(native: ModuleType, sigma: float, dtype: str) -> None:
    distance = np.linspace(-6 * sigma, 6 * sigma, 2001).astype(dtype)
    wide = distance.astype(np.float64)
    expected = np.exp(-(wide**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    # The argument of the exponential reaches 18: its rounding counts 18-fold.
    tolerance = 64 * np.finfo(dtype).eps
    actual = getattr(native, f"gaussian_{dtype}")(distance, sigma)
    np.testing.assert_allclose(actual, expected, rtol=tolerance)
    slope = getattr(native, f"gaussian_derivative_{dtype}")(distance, sigma)
    np.testing.assert_allclose(slope, expected * wide / sigma**2, rtol=tolerance)


def test_target_confidence(native: ModuleType) -> None:
    after = [np.nextafter(np.float32(r), np.float32(np.inf)) for r in (39, 58.5)]
    length = np.array([0, 39, after[0], 50, 58.5, after[1], 1e30, np.inf], np.float32)
    expected = [1, 1, 1 / 20.5, 1 / 26, 1 / 30.25, 0, 0, 0]
    actual = native.target_confidence_float32(length, 39, 58.5, 0.5)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert native.target_confidence_float64(7.0, 0, 10, 0) == 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_landing(native: ModuleType, dtype: str) -> None:
    random = np.random.default_rng(0)
    offset = np.concatenate(
        [random.uniform(-50, 50, 100_000), np.arange(-50, 50) / 2, np.arange(-50, 50) / 8]
    ).astype(dtype)
    offset = np.concatenate([offset, np.nextafter(offset, 99), np.nextafter(offset, -99)])
    fraction = random.choice([0.0, 0.0, 0.25, 0.5, 0.875], offset.shape).astype(dtype)
    whole = getattr(native, f"landing_whole_{dtype}")(fraction, offset)
    rest = getattr(native, f"landing_fraction_{dtype}")(fraction, offset)
    nearest = getattr(native, f"nearest_{dtype}")(fraction, offset)
    exact = fraction.astype(np.longdouble) - offset.astype(np.longdouble)
    assert rest.min() >= 0
    assert rest.max() <= 1
    assert np.abs(whole + rest.astype(np.longdouble) - exact).max() <= 50 * np.finfo(dtype).eps
    # On a pixel the difference is exact, and so is the choice of the nearest.
    on_pixel = fraction == 0
    assert np.array_equal(nearest[on_pixel], np.floor(exact[on_pixel] + 0.5))
    assert np.abs(nearest - exact).max() <= 0.5 + 50 * np.finfo(dtype).eps


def test_fixed_point(native: ModuleType) -> None:
    unit = 2.0**-30
    values = np.concatenate(
        [np.random.default_rng(0).uniform(-2, 2, 100_000), [0, 1, -1, unit, unit / 2, 1.5 * unit]]
    )
    for dtype in ("float32", "float64"):
        typed = values.astype(dtype)
        fixed = getattr(native, f"to_fixed_{dtype}")(typed)
        assert np.array_equal(fixed, np.rint(typed.astype(np.float64) / unit))  # ties to even
        back = getattr(native, f"from_fixed_{dtype}")(fixed)
        assert np.array_equal(back, (fixed * unit).astype(dtype))
        assert np.abs(back - typed.astype(np.float64)).max() <= unit / 2 + 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_confidence_limit_never_overflows(native: ModuleType, dtype: str) -> None:
    counts = [0, 1, 2, 3, 5, 7, 10, 1000, 399_999, 2**24 + 1, 10**9, 2**33, 2**40]
    for count in counts:
        for peak in (0.0, 0.159, 1.0, 1.0000001, 3.7, 15.9, 1591.5):
            limit = native.confidence_limit(count, peak)
            # As the kernels do: the limit is stored in the dtype, and so is the product.
            one = np.array(limit, dtype) * np.array(max(peak, 1.0), dtype)
            units = int(getattr(native, f"to_fixed_{dtype}")(one))
            assert 0 <= units * max(count, 1) < 2**63
            if count <= 10**6 and peak <= 1:
                assert limit > 8000  # sigmoids never come near
