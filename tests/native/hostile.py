"""Inputs at their worst, for a build that stops at the first misstep: run by test_kernels.py.

Every buffer is exactly as large as it must be, so that one element beyond it is beyond the heap.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from native import build, kernels
from native.kernels import Array, Axis

FAR = [math.nan, math.inf, -math.inf, 1e30, -1e30, 1e38, -1e38, 1e-45, 0.0, -0.0, 0.5, -0.5, 1e6,
       2.0**31, -(2.0**31), 2.0**40, 2.0**41, -(2.0**63), 2.0**63, 1e18, 3.4e38]  # fmt: skip
AXES: list[Axis] = [(1, 0, 0.0), (1, -7, 0.999), (5, 2**40, 0.5), (2**40, -(2**40), 0.0)]
SIZES = [(1, 1), (3, 2), (0, 4), (4, 0), (1, 9), (20, 1)]
LIMITS = (8589926400.0, 1.0, 0.0)


def hostile_votes(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    random = np.random.default_rng(seed)
    values = random.uniform(-3, 3, shape)
    bad = random.random(shape) < 0.3
    with np.errstate(over="ignore"):
        return np.where(bad, random.choice(FAR, shape), values).astype(dtype)


def strided(values: Array) -> Array:
    """Every second element of a buffer that ends with the last of them."""
    buffer = np.full(2 * values.size - 1 if values.size else 0, np.nan, values.dtype)
    view = buffer[::2].reshape(values.shape) if values.ndim == 1 else None
    if view is None:
        steps = [2 * step for step in np.empty(values.shape, values.dtype).strides]
        view = np.lib.stride_tricks.as_strided(buffer, values.shape, steps, writeable=True)
    view[...] = values
    return view


def vote(module: ModuleType, dtype: str) -> None:
    shapes = [(2, 3, 4, 5), (1, 21, 1, 1), (1, 6, 3, 1), (0, 3, 2, 2), (1, 3, 0, 3), (1, 3, 3, 0)]
    for seed, (shape, size) in enumerate(itertools.product(shapes, SIZES)):
        for cast in (hostile_votes(shape, dtype, seed), strided(hostile_votes(shape, dtype, seed))):
            grad = hostile_votes((shape[0], *size), dtype, seed)
            for axes, limit in itertools.product(zip(AXES, reversed(AXES), strict=True), LIMITS):
                for interpolation in (0, 1):
                    for shared, reach in ((False, math.inf), (True, 1e30), (False, 0.0)):
                        settings: dict[str, Any] = {"axes": axes, "limit": limit}
                        settings |= {"max_offset": reach, "interpolation": interpolation}
                        kernels.scatter(module, cast, size, shared=shared, **settings)
                        kernels.gather(module, cast, grad, (grad, strided(grad)), **settings)
                for window, sigma in ((1, 0.01), (5, 1.0), (255, 40.0)):
                    parzen: dict[str, Any] = {"axes": axes, "sigma": sigma, "window": window}
                    parzen |= {"limit": limit / (1 + 1 / sigma**2)}
                    for radius, area in ((math.inf, 0), (1e30, 1), (0.0, 0), (2.5, 1)):
                        parzen |= {"radius": radius, "area": area}
                        kernels.parzen_scatter(module, cast, size, **parzen)
                        kernels.parzen_gather(module, cast, grad, **parzen)


def smooth(module: ModuleType, dtype: str) -> None:
    for height, width in (*SIZES, (7, 300)):
        image = hostile_votes((2, height, width), dtype, height)
        for window, sigma in ((1, 0.01), (5, 1.0), (255, 1e30), (255, 20.0)):
            for input_ in (image, strided(image)):
                kernels.gaussian_filter(module, input_, sigma=sigma, window=window)


def aim(module: ModuleType, dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    far = [math.nan, math.inf, -math.inf, largest, -largest, largest / 2, 1e30, -1e18, 0.0, 3.5]
    random = np.random.default_rng(0)
    for count in (0, 1, 2, 7, 60):
        for spread in (0.0, 1e-3, 10.0, 1e9, 1e30):
            points = random.uniform(-spread, spread, (count, 2)).astype(dtype)
            spoilt = points.copy()
            spoilt.flat[::3] = random.choice(far, spoilt.flat[::3].shape).astype(dtype)
            line = np.stack([points[:, 0], 0 * points[:, 0]], axis=1)
            for nuclei in (points, spoilt, line, strided(points), points[:, ::-1]):
                for axes in zip(AXES, reversed(AXES), strict=True):
                    kernels.vote_targets(module, nuclei, (3, 4), 5, axes=axes)
                    kernels.vote_targets(module, nuclei, (1, 0), 1, axes=axes)


def climb(module: ModuleType, dtype: str) -> None:
    for height, width in (*SIZES, (17, 13)):
        random = np.random.default_rng(height)
        flat = np.ones((height, width), dtype)
        stairs = random.integers(-1, 4, (height, width)).astype(dtype)
        for density in (flat, stairs, hostile_votes((height, width), dtype, 0), strided(stairs)):
            for min_distance in (1, 2, 30):
                for threshold in (0.0, 0.2, -math.inf, 1e300):
                    kernels.find_peaks(
                        module, density, threshold=threshold, min_distance=min_distance
                    )


def activate(module: ModuleType) -> None:
    shapes = [
        (1, 3, 1, 1),
        (2, 6, 3, 5),
        (1, 3, 1, 2500),
        (0, 3, 1, 1),
        (1, 3, 0, 4),
        (5, 21, 1, 1),
    ]
    for shape, dtype in itertools.product(shapes, ("float32", "float64", "bfloat16", "float16")):

        def stored(kind: str, seed: int, shape: tuple[int, ...] = shape) -> Array:
            values = hostile_votes(shape, "float32" if kind != "float64" else kind, seed)
            if kind in ("bfloat16", "float16"):
                return getattr(module, f"{kind}_from_float")(values).reshape(shape)
            return values

        inputs = [stored(dtype, seed) for seed in range(3)]
        kernels.hybrid(module, dtype, inputs)
        for target in {dtype, dtype if dtype == "float64" else "float32"}:
            kernels.voting_loss(module, (dtype, target), inputs[0], stored(target, 3))


def main(path: Path, overrun: bool) -> None:
    module = build.load(path)
    if overrun:
        too_small = np.lib.stride_tricks.as_strided(
            np.zeros(74, np.float32), (1, 3, 5, 5), (300, 100, 20, 4)
        )
        kernels.scatter(module, too_small, (5, 5))
        return
    for dtype in ("float32", "float64"):
        for check in (vote, smooth, aim, climb):
            check(module, dtype)
    activate(module)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(Path(sys.argv[1]), "--overrun" in sys.argv)
