"""Every kernel on what its tails and borders are made of, for the CPU's and the emulated ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from emulation.build import Device
from native import hostile, kernels
from native.kernels import Array

REAL = ("float32", "float64")
HALF = ("bfloat16", "float16")

# What a kernel gave, under the name of what it was given.
Results = Iterator[tuple[str, list[Array]]]


def offset(values: Array) -> Array:
    """One element past an address that a packet could be loaded from, and a buffer to the end."""
    buffer = np.empty(values.size + 1, values.dtype)[1:].reshape(values.shape)
    buffer[...] = values
    return buffer


def channels_last(values: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": np.ascontiguousarray,
    "channels_last": channels_last,
    "offset": offset,
    "strided": hostile.strided,
}
# Of what a kernel reads and of what it writes.
PAIRS = [(name, name) for name in LAYOUTS] + [
    ("contiguous", "channels_last"),
    ("channels_last", "contiguous"),
    ("contiguous", "offset"),
    ("strided", "contiguous"),
]


def stored(
    device: Device, dtype: str, shape: tuple[int, ...], seed: int, calm: bool = False
) -> Array:
    compute = "float64" if dtype == "float64" else "float32"
    values = hostile.hostile_votes(shape, compute, seed)
    if calm:
        values = np.random.default_rng(seed).normal(0, 2, shape).astype(compute)
    if dtype in HALF:
        return getattr(device.kernels, f"{dtype}_from_float")(values).reshape(shape)
    return values.astype(dtype)


# Planes of one pixel, planes that packets straddle, more than a block of threads, nothing; as the
# operators hand them over, with the axes merged that can be, and as they cannot be.
POINTWISE_SHAPES = [
    (1, 3, 1, 1), (5, 27, 1, 1), (1, 3, 1, 7), (3, 6, 1, 53), (1, 9, 1, 1500), (2, 6, 5, 7),
    (0, 3, 1, 1), (1, 3, 0, 4), (1, 0, 1, 4),
]  # fmt: skip


def hybrid_activation(device: Device, dtype: str) -> Results:
    for shape, (read, written) in itertools.product(POINTWISE_SHAPES, PAIRS):
        votes, upstream, outer = (
            LAYOUTS[read](stored(device, dtype, shape, seed)) for seed in range(3)
        )
        results = []
        for inputs, suffix in (
            ((votes,), ""),
            ((upstream, votes), "_backward"),
            ((outer, upstream, votes), "_double_backward"),
        ):
            result = LAYOUTS[written](np.full_like(votes, 77))
            kernel = getattr(device.kernels, f"hybrid_activation{suffix}_{dtype}")
            kernel(*inputs, result, 0, device.kernels.num_blocks(math.prod(shape)))
            results.append(result)
        yield f"{shape} {read} to {written}", results


def sum_in_order(values: Array) -> float:
    """The sum of core/reduction.h: the upper half of every 1024 onto the lower."""
    while True:
        tree = np.zeros((max(1, -(-values.size // 1024)), 1024))
        tree.flat[: values.size] = values.ravel()
        while tree.shape[1] > 1:
            tree = tree[:, : tree.shape[1] // 2] + tree[:, tree.shape[1] // 2 :]
        values = tree[:, 0]
        if values.size == 1:
            return float(values[0])


# Planes that are whole packets, several to a block of sums and the other way round; planes that are
# not; channels side by side, as many as fit into shared memory at once, fewer, and too many.
LOSS_SHAPES = [
    (1, 3, 1, 1), (2, 15, 1, 3), (1, 3, 1, 1023), (1, 3, 2, 512), (1, 6, 1, 1025), (3, 3, 20, 40),
    (2, 6, 1, 1032), (130, 9, 1, 8), (270, 21, 1, 1), (40, 183, 1, 1),
    (0, 3, 1, 1), (1, 3, 0, 4), (2, 0, 1, 4),
]  # fmt: skip


def loss(device: Device, dtypes: tuple[str, str], logits: Array, target: Array) -> list[Array]:
    """The loss of each patch and of all of them, the gradient, and the gradient scaled."""
    patch_loss, block_loss, *gradients = kernels.voting_loss(device.kernels, dtypes, logits, target)
    compute = patch_loss.dtype
    if not device.extras:
        return [patch_loss, np.array(sum_in_order(patch_loss), compute), *gradients]
    # The CPU leaves the last steps to the operator, where the emulated kernels have taken them.
    add_up = getattr(device.extras, f"total_loss_{compute.name}")
    total = np.array(add_up(block_loss), compute)
    # What is not wanted is not written, and what is left is the same.
    sweep = getattr(device.kernels, f"voting_loss_{dtypes[0]}_{dtypes[1]}")
    sweep(logits, target, None, None, block_loss, 384.0, 0, block_loss.size)
    assert np.array_equal(total, np.array(add_up(block_loss), compute), equal_nan=True)
    return [patch_loss, total, *gradients]


def voting_loss(device: Device, dtype: str) -> Results:
    for target_dtype in sorted({dtype, "float32" if dtype in HALF else dtype}):
        for shape, (read, wanted) in itertools.product(LOSS_SHAPES, PAIRS):
            # A single NaN would be all that is left of a sum.
            for calm in (True, False) if read == wanted == "contiguous" else (True,):
                logits = LAYOUTS[read](stored(device, dtype, shape, 0, calm))
                target = LAYOUTS[wanted](stored(device, target_dtype, shape, 1, calm))
                name = f"{shape} {read} with {target_dtype} {wanted}, calm: {calm}"
                yield name, loss(device, (dtype, target_dtype), logits, target)


def uniform_upstream(device: Device, dtype: str) -> Results:
    """One upstream gradient for all patches, by strides of zero."""
    for shape in LOSS_SHAPES:
        gradient = stored(device, dtype, shape, 0)
        result = np.zeros_like(gradient)
        factor = np.broadcast_to(np.array(0.3, dtype), (shape[0], *shape[2:]))
        kernel = getattr(device.kernels, f"voting_loss_backward_{dtype}")
        kernel(gradient, result, factor, 0, device.kernels.num_blocks(math.prod(shape)))
        yield f"{shape}", [result]


VOTES_SHAPES = [(1, 3, 1, 1), (3, 6, 7, 13), (2, 3, 1, 300), (0, 3, 2, 2), (1, 3, 0, 3)]
SIZES = [(1, 1), (9, 17), (0, 4)]


def casts(dtype: str) -> Iterator[tuple[str, Array]]:
    for seed, (shape, layout) in enumerate(itertools.product(VOTES_SHAPES, LAYOUTS)):
        yield f"{shape} {layout}", LAYOUTS[layout](hostile.hostile_votes(shape, dtype, seed))
    # All on one spot.
    crowd = np.zeros((1, 6, 8, 40), dtype)
    crowd[:, ::3] = 0.5
    crowd[:, 1::3] = np.arange(8).reshape(-1, 1) - 3.3
    crowd[:, 2::3] = np.arange(40) - 5.6
    yield "crowd", crowd


def vote_map(device: Device, dtype: str) -> Results:
    for (name, cast), size in itertools.product(casts(dtype), SIZES):
        grad = hostile.hostile_votes((cast.shape[0], *size), dtype, 5)
        for axes, (interpolation, reach) in zip(
            hostile.AXES, itertools.cycle([(0, math.inf), (1, 3.0), (1, math.inf)]), strict=False
        ):
            settings: dict[str, Any] = {"axes": (axes, hostile.AXES[0]), "max_offset": reach}
            settings |= {"interpolation": interpolation}
            sums, num_void = kernels.scatter(device.kernels, cast, size, **settings)
            counts = np.empty(sums.shape, dtype)
            getattr(device.kernels, f"sums_to_map_{dtype}")(sums, counts, 0, sums.size)
            slopes = (grad, None) if reach == 3.0 else (hostile.strided(grad), grad)
            gradient = kernels.gather(device.kernels, cast, grad, slopes, **settings)
            label = f"{name} onto {size} {axes} {interpolation}"
            yield label, [sums, np.array(num_void), counts, gradient]


def parzen_density(device: Device, dtype: str) -> Results:
    for (name, cast), size in itertools.product(casts(dtype), SIZES):
        grad = hostile.strided(hostile.hostile_votes((cast.shape[0], *size), dtype, 5))
        for axes, (window, sigma, radius, area) in zip(
            hostile.AXES,
            [(1, 0.01, math.inf, 0), (5, 1.0, 2.5, 1), (21, 4.0, 3.0, 0), (3, 0.7, 0.0, 1)],
            strict=True,
        ):
            settings: dict[str, Any] = {"axes": (axes, hostile.AXES[0]), "sigma": sigma}
            settings |= {"window": window, "radius": radius, "area": area}
            sums, num_void = kernels.parzen_scatter(device.kernels, cast, size, **settings)
            gradient = kernels.parzen_gather(device.kernels, cast, grad, **settings)
            yield f"{name} onto {size} {settings}", [sums, np.array(num_void), gradient]


# Tiles are 8 rows by 128 columns.
FILTER_SHAPES = [
    (1, 1, 1), (2, 8, 128), (2, 9, 129), (1, 3, 300), (1, 40, 2), (0, 3, 3), (1, 0, 3),
]  # fmt: skip


def gaussian_filter(device: Device, dtype: str) -> Results:
    for number, shape in enumerate(FILTER_SHAPES):
        image = hostile.hostile_votes(shape, dtype, 0)
        smooth = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        for window, sigma in ((1, 0.01), (3, 0.5), (5, 1.0), (21, 4.0), (255, 40.0)):
            layouts = [smooth, hostile.strided(image), np.swapaxes(offset(image), 1, 2)]
            if window == 255:  # nine tenths of the work: one after the other
                layouts = [layouts[number % 3]]
            results = [
                kernels.gaussian_filter(device.kernels, x, sigma=sigma, window=window)
                for x in layouts
            ]
            yield f"{shape} {window}", results


def nuclei(dtype: str) -> Iterator[tuple[str, Array]]:
    random = np.random.default_rng(0)
    spread = random.uniform(-9, 40, (40, 2)).astype(dtype)
    grid = np.stack(np.meshgrid(np.arange(0.0, 8, 2), np.arange(0.0, 8, 2)), -1).reshape(-1, 2)
    spoilt = spread.copy()
    spoilt.flat[::7] = random.choice([math.nan, math.inf, -math.inf, 1e30, -1e30], 12)
    yield "spread", spread
    yield "sliced", hostile.strided(spread)
    yield "swapped", spread[::-1, ::-1]
    yield "equal distances", np.concatenate([grid, grid]).astype(dtype)
    yield "spoilt", spoilt
    yield "one", spread[:1]
    yield "none", spread[:0]


def targets(device: Device, points: Array, splits: list[int], target: Array, axes: Any) -> Array:
    """Of several images: `splits` tells whose points are whose."""
    name = f"vote_targets_{points.dtype.name}"
    rules = (*axes, 3.0, 9.0, 0.5)
    if device.extras:
        getattr(device.extras, name)(points, np.array(splits), target, *rules)
        return target
    for image, (first, last) in enumerate(itertools.pairwise(np.clip(splits, 0, len(points)))):
        one = target[image : image + 1]
        getattr(device.kernels, name)(points[first:last], one, *rules, 0, target.shape[2])
    return target


def vote_targets(device: Device, dtype: str) -> Results:
    layouts = itertools.cycle(LAYOUTS)
    for (name, points), size in itertools.product(nuclei(dtype), [(1, 1), (7, 40), (0, 4)]):
        # The second image has no nuclei, the last is said to have more than there are.
        splits = [-1, len(points) // 3, len(points) // 3, len(points) + 2]
        for num_votes in (*range(10), 13) if size == (7, 40) else (1, 3, 9):
            for axes in [(hostile.AXES[0], hostile.AXES[1]), ((2, -3, 0.25), (1, 0, 0.5))]:
                layout = next(layouts)
                target = LAYOUTS[layout](np.full((3, 3 * num_votes, *size), 77, dtype))
                result = targets(device, points, splits, target, axes)
                yield f"{name} {size} k = {num_votes} {axes} {layout}", [result]


def densities(dtype: str) -> Iterator[tuple[str, Array]]:
    random = np.random.default_rng(0)
    # Peaks are counted in chunks of 1024 pixels.
    for size in ((1, 1), (17, 13), (1, 1500), (32, 32), (33, 40), (0, 4), (4, 0)):
        yield f"stairs {size}", random.integers(-1, 4, size).astype(dtype)
    yield "flat", np.ones((9, 150), dtype)
    yield "hills", random.standard_normal((40, 50)).astype(dtype)
    stripes = np.zeros((30, 41), dtype)
    stripes[::2] = stripes[:, ::8] = 1
    yield "one plateau through all blocks", stripes
    yield "hostile", hostile.hostile_votes((33, 31), dtype, 0)
    yield "strided", hostile.strided(random.integers(0, 9, (33, 31)).astype(dtype))


def peaks(
    device: Device, density: Array, capacity: int | None = None, **settings: Any
) -> tuple[Array, int]:
    """The first `capacity` peaks, or all of them, and how many there are."""
    if not device.extras:
        points = kernels.find_peaks(device.kernels, density, **settings)
        return points[:capacity], len(points)
    points = np.full((density.size if capacity is None else capacity, 2), -1)
    find = getattr(device.extras, f"find_peaks_{density.dtype.name}")
    rules = (settings["threshold"], settings["relative"], settings["min_distance"])
    count = find(density[None], *rules, points)
    return points[: min(count, len(points))], count


def find_peaks(device: Device, dtype: str) -> Results:
    rules = [(0.2, True), (0.0, True), (1.0, True), (0.7, False), (-math.inf, False), (1e30, False)]
    for (name, density), min_distance in itertools.product(densities(dtype), (1, 2, 3, 4)):
        threshold, relative = rules[(len(name) + min_distance) % len(rules)]
        for capacity in (None, (0, 1, 5)[min_distance % 3]):
            settings = {"threshold": threshold, "relative": relative, "min_distance": min_distance}
            points, count = peaks(device, density, capacity, **settings)
            yield f"{name} {settings} capacity {capacity}", [points, np.array(count)]


# Tiles are 16 rows by 64 columns; what a plateau may cross.
def vote_maps(dtype: str) -> Iterator[tuple[str, Array]]:
    random = np.random.default_rng(0)
    for size in ((1, 1), (16, 64), (17, 65), (33, 130), (1, 150), (40, 1), (0, 4), (4, 0)):
        yield f"stairs {size}", random.integers(-1, 4, size).astype(dtype)
    yield "hills", random.standard_normal((20, 70)).astype(dtype)
    yield "flat", np.ones((18, 67), dtype)
    yield "nothing", np.zeros((18, 67), dtype)
    stripes = np.zeros((35, 70), dtype)
    stripes[::7] = stripes[:, ::9] = 1
    yield "one plateau through all tiles", stripes
    higher = stripes.copy()
    higher[21, 63] = 2
    yield "one plateau, rejected in the last tile", higher
    yield "hostile", hostile.hostile_votes((18, 67), dtype, 0)
    yield "strided", hostile.strided(random.integers(0, 9, (18, 67)).astype(dtype))


# Window, sigma and min_distance, with more of a margin than the map is high or wide; of the last
# two, a tile with its margin is more than a block can have.
DENSITY_RULES: list[tuple[int, float, int]] = [
    (1, 1.0, 1), (1, 1.0, 2), (5, 1.0, 3), (21, 3.5, 6), (3, 0.5, 16),
    (3, 0.5, 17), (255, 40.0, 9),
]  # fmt: skip


def density_and_peaks(
    device: Device, votes: Array, window: int, sigma: float, scale: float, **settings: Any
) -> tuple[Array, Array, bool]:
    """The density, its peaks, and whether that was one pass."""
    dtype = votes.dtype.name
    taps = np.array(getattr(device.kernels, f"gaussian_taps_{dtype}")(sigma, window, False), dtype)
    density = np.full(votes.shape, np.nan, dtype)
    if not device.extras:
        rows = votes.shape[0]
        filter_map = getattr(device.kernels, f"gaussian_filter_{dtype}")
        filter_map(votes[None], density[None], taps, taps, 0, rows)
        density *= density.dtype.type(scale)
        return density, kernels.find_peaks(device.kernels, density, **settings), False
    points = np.full((density.size, 2), -1)
    rules = (settings["threshold"], settings["relative"], settings["min_distance"])
    run = getattr(device.extras, f"density_peaks_{dtype}")
    count, one_pass = run(votes[None], density[None], taps, scale, *rules, points)
    return density, points[:count], one_pass


def density_peaks(device: Device, dtype: str) -> Results:
    thresholds = itertools.cycle([(0.2, True), (0.0, True), (0.3, False), (-math.inf, False)])
    for (name, votes), (window, sigma, min_distance) in itertools.product(
        vote_maps(dtype), DENSITY_RULES
    ):
        if window == 255 and name not in ("hills", "hostile", "stairs (1, 150)"):
            continue
        threshold, relative = next(thresholds)
        settings = {"threshold": threshold, "relative": relative, "min_distance": min_distance}
        scale = 1.0 if min_distance == 1 else 9.0
        density, points, _ = density_and_peaks(device, votes, window, sigma, scale, **settings)
        yield f"{name} window {window} {settings}", [density, points]


CASES: dict[str, tuple[Callable[[Device, str], Results], tuple[str, ...]]] = {
    "hybrid_activation": (hybrid_activation, REAL + HALF),
    "voting_loss": (voting_loss, REAL + HALF),
    "uniform_upstream": (uniform_upstream, REAL),
    "vote_map": (vote_map, REAL),
    "parzen_density": (parzen_density, REAL),
    "gaussian_filter": (gaussian_filter, REAL),
    "vote_targets": (vote_targets, REAL),
    "find_peaks": (find_peaks, REAL),
    "density_peaks": (density_peaks, REAL),
}
EACH_CASE = [(name, dtype) for name, (_, dtypes) in CASES.items() for dtype in dtypes]
