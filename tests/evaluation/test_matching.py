from __future__ import annotations

import time
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dvfast.errors import InputError
from dvfast.evaluation.matching import Matching, match_points

Points = NDArray[np.float64]


def best_by_trying_all(detections: Points, annotations: Points, radius: float) -> tuple[int, float]:
    """Number of pairs and total distance of the best one-to-one matching."""
    near = np.hypot(*(detections[:, None] - annotations[None]).transpose(2, 0, 1))
    for count in range(min(len(detections), len(annotations)), 0, -1):
        totals = []
        for chosen in combinations(range(len(detections)), count):
            for order in permutations(range(len(annotations)), count):
                lengths = near[list(chosen), list(order)]
                if (lengths <= radius).all():
                    totals.append(lengths.sum())
        if totals:
            return count, min(totals)
    return 0, 0.0


def check_consistent(m: Matching, detections: Points, annotations: Points, radius: float) -> None:
    assert m.pairs.shape == (m.true_positives, 2)
    assert m.pairs.dtype == np.int64
    assert (np.diff(m.pairs[:, 0]) > 0).all()
    assert m.true_positives + m.false_positives == len(detections)
    assert m.found + m.false_negatives == len(annotations)
    lengths = np.hypot(*(detections[m.pairs[:, 0]] - annotations[m.pairs[:, 1]]).T)
    assert np.array_equal(m.distances, lengths)
    assert np.array_equal(np.hypot(*m.displacements.T), lengths)
    assert (m.distances <= radius).all()


# Whole coordinates make ties, coincident points and distances of exactly the radius common.
WHOLE = st.integers(0, 6).map(float)
REAL = st.floats(0, 6, allow_subnormal=False)


def points(elements: st.SearchStrategy[float], most: int) -> st.SearchStrategy[Points]:
    return hnp.arrays(np.float64, st.tuples(st.integers(0, most), st.just(2)), elements=elements)


PAIRS = st.one_of(
    st.tuples(points(WHOLE, 5), points(WHOLE, 5)), st.tuples(points(REAL, 5), points(REAL, 5))
)


@settings(max_examples=300)
@given(PAIRS, st.sampled_from([0.0, 1.0, 2.0, np.sqrt(5), 2.5, 20.0]))
@example((np.array([[0.0, 0], [0, 3]]), np.array([[0.0, 2], [0, 5]])), 2.0)
def test_one_to_one_is_the_best_of_all(pair: tuple[Points, Points], radius: float) -> None:
    m = match_points(*pair, radius)
    check_consistent(m, *pair, radius)
    assert len(np.unique(m.pairs[:, 1])) == len(m.pairs)
    assert m.found == m.true_positives
    count, total = best_by_trying_all(*pair, radius)
    assert m.true_positives == count
    assert m.distances.sum() == pytest.approx(total, abs=1e-9)


@given(PAIRS, st.sampled_from([0.0, 1.0, 2.0, np.sqrt(5), 20.0]))
def test_literal_counts_circles(pair: tuple[Points, Points], radius: float) -> None:
    m = match_points(*pair, radius, mode="literal")
    check_consistent(m, *pair, radius)
    detections, annotations = pair
    inside = np.hypot(*(detections[:, None] - annotations[None]).transpose(2, 0, 1)) <= radius
    assert m.true_positives == inside.any(axis=1).sum()
    assert m.false_negatives == (~inside.any(axis=0)).sum()
    for detection, distance in zip(m.pairs[:, 0], m.distances, strict=True):
        assert distance == np.hypot(*(detections[detection] - annotations).T).min()


def test_nearest_first_would_lose_a_pair() -> None:
    m = match_points([(0, 0), (0, 3)], [(0, 2), (0, 5)], radius=2)
    assert m.pairs.tolist() == [[0, 0], [1, 1]]
    assert m.distances.tolist() == [2, 2]


def test_gate_comes_before_the_assignment() -> None:
    # Without the gate the smallest total joins (0, 0) to the far annotation and wastes a pair.
    m = match_points([(0, 0), (0, 10)], [(0, 9), (0, 200)], radius=3)
    assert (m.true_positives, m.false_positives, m.false_negatives) == (1, 1, 1)
    assert m.pairs.tolist() == [[1, 0]]


def test_two_detections_in_one_circle() -> None:
    detections, annotations = [(0, 1), (0, -0.5)], [(0, 0), (50, 50)]
    strict = match_points(detections, annotations, 2)
    assert (strict.true_positives, strict.false_positives, strict.false_negatives) == (1, 1, 1)
    assert strict.pairs.tolist() == [[1, 0]]
    literal = match_points(detections, annotations, 2, mode="literal")
    assert (literal.true_positives, literal.false_positives) == (2, 0)
    assert (literal.found, literal.false_negatives) == (1, 1)
    assert literal.distances.tolist() == [1, 0.5]


@pytest.mark.parametrize("mode", ["one-to-one", "literal"])
def test_exactly_the_radius_is_within(mode: Any) -> None:
    # The square root of dy^2 + dx^2 and the hypotenuse round to different sides here.
    detections, annotations = [(40.664, 45.638)], [(30.332, 36.475)]
    distance = float(np.hypot(40.664 - 30.332, 45.638 - 36.475))
    assert match_points(detections, annotations, distance, mode=mode).true_positives == 1
    below = float(np.nextafter(distance, 0))
    assert match_points(detections, annotations, below, mode=mode).true_positives == 0


@pytest.mark.parametrize("mode", ["one-to-one", "literal"])
@pytest.mark.parametrize(("n", "a"), [(0, 0), (3, 0), (0, 3)])
def test_empty_sets(mode: Any, n: int, a: int) -> None:
    m = match_points(np.zeros((n, 2)), torch.zeros(a, 2), 5, mode=mode)
    assert (m.true_positives, m.false_positives, m.found, m.false_negatives) == (0, n, 0, a)
    assert m.pairs.shape == (0, 2)
    assert m.distances.shape == (0,)
    assert match_points([], [], 5, mode=mode).true_positives == 0


@pytest.mark.parametrize("spread", [1.0, 4.0, 12.0])
def test_hundreds_agree_with_the_hungarian_method(spread: float) -> None:
    rng = np.random.default_rng(int(spread))
    annotations = rng.uniform(0, 200, (400, 2))
    detections = (annotations + rng.normal(0, spread, (400, 2)))[:350]
    detections = np.concatenate((detections, rng.uniform(0, 200, (80, 2))))
    radius = 8.0
    m = match_points(detections, annotations, radius)
    near = cdist(detections, annotations)
    cost = np.where(near <= radius, near, 1e5)
    chosen = cost[linear_sum_assignment(cost)]
    assert m.true_positives == (chosen <= radius).sum()
    assert m.distances.sum() == pytest.approx(chosen[chosen <= radius].sum(), abs=1e-6)


def test_order_and_exchange_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.uniform(0, 60, (150, 2)), rng.uniform(0, 60, (170, 2))
    m = match_points(one, other, 4)
    back = match_points(other, one, 4)
    assert back.true_positives == m.true_positives
    assert back.distances.sum() == pytest.approx(m.distances.sum())
    order = rng.permutation(150)
    shuffled = match_points(one[order], other, 4)
    mapped = {(int(order[d]), int(a)) for d, a in shuffled.pairs}
    assert mapped == {(int(d), int(a)) for d, a in m.pairs}


def test_twenty_thousand_points_are_fast() -> None:
    rng = np.random.default_rng(0)
    annotations = rng.uniform(0, 2000, (20_000, 2))
    detections = annotations + rng.normal(0, 4, annotations.shape)
    start = time.process_time()
    m = match_points(detections, annotations, 8)
    assert time.process_time() - start < 20
    assert m.true_positives > 17_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2, 3]], [], 1), r"detections: came with shape \[1, 3\]"),
        (([], [[1, np.nan]], 1), "annotations: row 0"),
        (([], [], -1), "radius: came as -1, expected a number of pixels >= 0"),
        (([], [], float("nan")), "radius"),
        (([], [], float("inf")), "radius"),
    ],
)
def test_refusals(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_points(*arguments)


def test_unknown_mode() -> None:
    with pytest.raises(InputError, match="mode: came as 'greedy', expected 'one-to-one'"):
        match_points([], [], 1, mode="greedy")  # type: ignore[arg-type]
