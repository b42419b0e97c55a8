"""The torch-free kernels: the same bits from every instruction set and for any cut of the work."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from native import build, kernels
from native.kernels import Array, Split, whole
from numpy.typing import NDArray

REAL = ("float32", "float64")
HALF = ("bfloat16", "float16")
SHAPE = (2, 6, 37, 53)  # several blocks of patches, none of them full at the end


def numbers(seed: int, shape: tuple[int, ...], scale: float = 3.0) -> NDArray[np.float64]:
    return scale * np.random.default_rng(seed).standard_normal(shape)


def stored(module: ModuleType, dtype: str, values: NDArray[np.float64]) -> Array:
    if dtype in HALF:
        return getattr(module, f"{dtype}_from_float")(values.astype(np.float32))
    return values.astype(dtype)


def channels_last(values: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)


def votes(dtype: str) -> Array:
    values = np.abs(numbers(0, SHAPE, 0.4))
    for axis in (1, 2):
        values[:, axis::3] = numbers(axis, values[:, axis::3].shape, 6.0)
    values[0, 1, 3, 4], values[1, 0, 5, 6] = np.nan, np.inf
    return values.astype(dtype)


def run_hybrid(module: ModuleType, dtype: str, split: Split) -> list[Array]:
    inputs = [stored(module, dtype, numbers(seed, SHAPE)) for seed in range(3)]
    results = kernels.hybrid(module, dtype, inputs, split=split)
    return results + kernels.hybrid(module, dtype, [channels_last(x) for x in inputs], split=split)


def run_loss(module: ModuleType, dtype: str, split: Split) -> list[Array]:
    results = []
    for target_dtype in {dtype, "float32" if dtype in HALF else dtype}:
        logits = stored(module, dtype, numbers(0, SHAPE))
        target = stored(module, target_dtype, np.abs(numbers(1, SHAPE)))
        for layout in (np.ascontiguousarray, channels_last):
            results += kernels.voting_loss(
                module, (dtype, target_dtype), layout(logits), layout(target), split=split
            )
    return results


def run_voting(module: ModuleType, dtype: str, split: Split) -> list[Array]:
    results = []
    grad = numbers(5, (3, 2, 40, 50)).astype(dtype)
    value, slope_y, slope_x = grad
    for layout in (np.ascontiguousarray, channels_last):
        cast = layout(votes(dtype))
        for interpolation in (0, 1):
            sums, num_void = kernels.scatter(
                module, cast, (40, 50), interpolation=interpolation, split=split
            )
            atomic, _ = kernels.scatter(
                module, cast, (40, 50), interpolation=interpolation, shared=True, split=split
            )
            assert num_void == 2
            assert np.array_equal(sums, atomic)
            counts = np.empty(sums.shape, dtype)
            for part in split(sums.size):
                getattr(module, f"sums_to_map_{dtype}")(sums, counts, *part)
            results += [sums, counts]
            results.append(
                kernels.gather(module, cast, value, interpolation=interpolation, split=split)
            )
        results.append(kernels.gather(module, cast, value, (slope_y, slope_x), split=split))
    return results


def run_parzen(module: ModuleType, dtype: str, split: Split) -> list[Array]:
    results = []
    grad = numbers(5, (2, 40, 50)).astype(dtype)
    settings: list[dict[str, Any]] = [
        {},
        {"sigma": 2.3, "window": 11, "axes": ((2, -3, 0.25), (1, 4, 0.5))},
        {"radius": 4.2, "area": 1},
        {"radius": 4.2, "area": 0},
    ]
    for setting in settings:
        sums, num_void = kernels.parzen_scatter(
            module, votes(dtype), (40, 50), **setting, split=split
        )
        atomic, _ = kernels.parzen_scatter(
            module, votes(dtype), (40, 50), **setting, shared=True, split=split
        )
        assert num_void == 2
        assert np.array_equal(sums, atomic)
        results += [sums, kernels.parzen_gather(module, votes(dtype), grad, **setting, split=split)]
    return results


def run_filter(module: ModuleType, dtype: str, split: Split) -> list[Array]:
    image = numbers(0, (2, 37, 53)).astype(dtype)
    images = (image, np.swapaxes(np.ascontiguousarray(np.swapaxes(image, 1, 2)), 1, 2))
    return [
        kernels.gaussian_filter(module, x, sigma=sigma, window=window, split=split)
        for x in images
        for sigma, window in ((1.0, 5), (7.0, 31), (0.5, 1))
    ]


def run_points(module: ModuleType, dtype: str, split: Split) -> list[Array]:
    points = np.random.default_rng(0).uniform(-9, 60, (120, 2)).astype(dtype)
    density = np.random.default_rng(1).integers(0, 9, (61, 43)).astype(dtype)
    return [
        kernels.vote_targets(module, points, (40, 50), 3, split=split),
        *(kernels.find_peaks(module, density, min_distance=d, split=split) for d in (1, 3)),
    ]


CASES: dict[str, tuple[Callable[[ModuleType, str, Split], list[Array]], tuple[str, ...]]] = {
    "hybrid_activation": (run_hybrid, REAL + HALF),
    "voting_loss": (run_loss, REAL + HALF),
    "vote_map": (run_voting, REAL),
    "parzen_density": (run_parzen, REAL),
    "gaussian_filter": (run_filter, REAL),
    "points": (run_points, REAL),
}
EACH_CASE = [(name, dtype) for name, (_, dtypes) in CASES.items() for dtype in dtypes]


def assert_same_bits(actual: list[Array], expected: list[Array]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype
        assert np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize(("name", "dtype"), EACH_CASE)
def test_every_instruction_set_gives_the_same_bits(
    modules: dict[str, Path], native: ModuleType, name: str, dtype: str, variant: str
) -> None:
    if variant not in modules:
        pytest.skip(f"this CPU has no {variant}")
    run, _ = CASES[name]
    assert_same_bits(run(build.load(modules[variant]), dtype, whole), run(native, dtype, whole))


@pytest.mark.parametrize(("name", "dtype"), EACH_CASE)
def test_work_may_be_cut_anywhere_and_done_in_any_order(
    native: ModuleType, name: str, dtype: str
) -> None:
    run, _ = CASES[name]
    assert_same_bits(run(native, dtype, kernels.in_pieces), run(native, dtype, whole))


def test_hostile_inputs_are_in_bounds_and_defined(modules: dict[str, Path]) -> None:
    def hostile(*arguments: str) -> subprocess.CompletedProcess[str]:
        return build.run_sanitized("native.hostile", modules["sanitized"], *arguments)

    result = hostile()
    assert result.returncode == 0, result.stderr
    # The sanitizers are awake: an array that is too small for what it is said to hold is caught.
    caught = hostile("--overrun")
    assert caught.returncode != 0
    assert "heap-buffer-overflow" in caught.stderr
