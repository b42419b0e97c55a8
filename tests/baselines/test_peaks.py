from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial import KDTree

from dvfast.baselines import greedy_maxima
from dvfast.baselines.peaks import suppress_neighbours

# Whole numbers, so that many distances are exactly the one that is asked for.
POINTS = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 40), st.just(2)), elements=st.integers(0, 12)
)


@given(POINTS, st.sampled_from([0.0, 1.0, 2.0, 5.0, 5.5, 30.0]))
def test_as_one_point_after_the_other(points: NDArray[np.float64], distance: float) -> None:
    expected: list[bool] = []
    for i, point in enumerate(points):
        near = np.hypot(*(points[:i] - point).T) < distance
        expected.append(not (near & np.array(expected, dtype=bool)).any())
    assert suppress_neighbours(points, distance).tolist() == expected


def test_a_higher_threshold_only_removes() -> None:
    response = np.random.default_rng(0).random((60, 60))
    points, scores = greedy_maxima(response, 0.0, 4.0)
    fewer, higher = greedy_maxima(response, 0.97, 4.0)
    assert 0 < len(fewer) < len(points)
    assert np.array_equal(fewer, points[scores >= 0.97])
    assert np.array_equal(higher, scores[scores >= 0.97])


def test_a_plateau_counts_once_and_zero_never() -> None:
    response = np.zeros((5, 9))
    assert len(greedy_maxima(response, 0.0, 1.0)[0]) == 0
    response[1:3, 2:5] = 2.0
    points, scores = greedy_maxima(response, 0.0, 0.0)
    assert points.tolist() == [[1, 2]]
    assert scores.tolist() == [2]


def test_many_points_take_no_time_of_their_square() -> None:
    points = np.random.default_rng(0).random((100_000, 2)) * 1000
    kept = suppress_neighbours(points, 5.0)
    tree = KDTree(points[kept])
    assert tree.query(points[kept], k=2)[0][:, 1].min() >= 5
    assert tree.query(points[~kept])[0].max() < 5
