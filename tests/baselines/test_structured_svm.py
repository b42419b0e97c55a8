from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dvfast.baselines.structured_svm import Problem, best_subset, fit_weights, region_losses


def forest(generator: np.random.Generator, count: int) -> NDArray[np.int64]:
    return np.array([int(generator.integers(-1, i)) for i in range(count)], dtype=np.int64)


def subsets(parents: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """All choices in which no region lies within another."""
    result = []
    for bits in product([False, True], repeat=len(parents)):
        chosen = np.array(bits, dtype=bool)
        covered = np.zeros(len(parents), dtype=bool)
        for i, parent in enumerate(parents):
            covered[i] = parent >= 0 and (covered[parent] or chosen[parent])
        if not (chosen & covered).any():
            result.append(chosen)
    return result


@given(st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_best_subset_is_the_best_of_all(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    parents, scores = forest(generator, count), generator.integers(-3, 6, count) / 2
    chosen = best_subset(scores, parents)
    allowed = subsets(parents)
    assert any(np.array_equal(chosen, other) for other in allowed)
    assert scores @ chosen == max(scores @ other for other in allowed)
    assert (scores[chosen] > 0).all()


@given(st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_losses_of_regions_add_up_to_the_loss_of_the_image(count: int, seed: int) -> None:
    """Counted as it is defined, click by click."""
    generator = np.random.default_rng(seed)
    parents = forest(generator, count)
    homes = generator.integers(-1, count, 6)  # the smallest region that each click lies in
    inside = np.zeros((count, len(homes)), dtype=bool)
    for click, home in enumerate(homes):
        while home >= 0:
            inside[home, click] = True
            home = parents[home]
    losses = region_losses(inside.sum(axis=1))
    for chosen in subsets(parents):
        excess = np.abs(inside[chosen].sum(axis=1) - 1).sum()
        uncovered = (~inside[chosen].any(axis=0)).sum()
        assert len(homes) + losses @ chosen == excess + uncovered


def problem(seed: int, count: int = 12) -> Problem:
    generator = np.random.default_rng(seed)
    clicks = generator.integers(0, 3, count)
    features = generator.standard_normal((count, 4))
    features[:, 0] += 2 * (clicks == 1)
    return Problem(features, forest(generator, count), clicks)


def objective(weights: NDArray[np.float64], problems: list[Problem], lam: float) -> float:
    truths = [p.truth(np.zeros(len(p.clicks))) for p in problems]
    total = 0.0
    for p, truth in zip(problems, truths, strict=True):
        gains = p.features @ weights + region_losses(p.clicks)
        total += gains @ best_subset(gains, p.parents) - gains @ truth
    return float(lam / 2 * weights @ weights + total / sum(t.sum() for t in truths))


def test_the_gap_bounds_how_far_the_minimum_is() -> None:
    problems = [problem(seed) for seed in range(6)]
    truths = [p.truth(np.zeros(len(p.clicks))) for p in problems]

    def fit(passes: int) -> tuple[NDArray[np.float64], float]:
        return fit_weights(
            problems, truths, regularisation=0.05, max_passes=passes, tolerance=1e-6, seed=0
        )

    best, gap = fit(3000)
    least = objective(best, problems, 0.05)
    assert gap < 1e-3
    assert least < objective(np.zeros(4), problems, 0.05)
    generator = np.random.default_rng(0)
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(20):
            other = best + scale * generator.standard_normal(4)
            assert objective(other, problems, 0.05) >= least - gap
    for passes in (1, 5):
        rough, gap = fit(passes)
        assert objective(rough, problems, 0.05) - least <= gap + 1e-9


def test_truth_takes_as_many_regions_of_one_click_as_fit() -> None:
    parents = np.array([-1, 0, 0, 1, -1])
    p = Problem(np.zeros((5, 1)), parents, np.array([2, 1, 1, 1, 0]))
    assert p.truth(np.array([9.0, 1.0, 0.0, 2.0, 9.0])).tolist() == [0, 0, 1, 1, 0]
    assert p.truth(np.array([9.0, 2.0, 0.0, 1.0, 9.0])).tolist() == [0, 1, 1, 0, 0]
    # One region's score never outweighs another region.
    p = Problem(np.zeros((3, 1)), np.array([-1, 0, 0]), np.array([1, 1, 1]))
    assert p.truth(np.array([1e9, 0.0, 0.0])).tolist() == [0, 1, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_images_without_regions(count: int) -> None:
    empty = Problem(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    problems = [empty, *(problem(seed) for seed in range(count))]
    truths = [p.truth(np.zeros(len(p.clicks))) for p in problems]
    weights, gap = fit_weights(
        problems, truths, regularisation=0.1, max_passes=50, tolerance=1e-3, seed=0
    )
    assert np.isfinite(weights).all()
    assert gap >= -1e-12
