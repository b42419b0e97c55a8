"""Peaks and targets over inputs with structure: ties, plateaus, clusters, lines.

In a file of its own, because a machine that only checks a GPU may lack hypothesis: see conftest.
"""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import assert_near, expected_peaks, lengths, peaks
from torch import Tensor

import dvfast
from dvfast import reference

maps = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.integers(-1, shape[2]), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
    ).map(lambda values: torch.tensor(values, dtype=torch.float32).reshape(shape[:2]))
)


@settings(max_examples=200)
@given(maps, st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.booleans(), st.integers(1, 4))
def test_peaks_agree_with_reference(
    density: Tensor, threshold: float, relative: bool, min_distance: int
) -> None:
    settings = {"threshold": threshold, "relative": relative, "min_distance": min_distance}
    # A list: the order is raster order.
    assert peaks(density, **settings) == expected_peaks(density, **settings)


@settings(max_examples=60)
@given(maps, st.lists(st.integers(0, 80), max_size=6), st.integers(1, 3))
def test_peaks_among_non_finite_values(
    density: Tensor, places: list[int], min_distance: int
) -> None:
    values = (math.nan, math.inf, -math.inf)
    if density.numel():
        for i, place in enumerate(places):
            density.view(-1)[place % density.numel()] = values[i % 3]
    for threshold in (0.0, 0.2):
        settings = {"threshold": threshold, "min_distance": min_distance}
        assert peaks(density, **settings) == expected_peaks(density, **settings)


coordinate = st.one_of(
    st.integers(-3, 12),  # many ties and duplicates
    st.floats(-5, 20, width=32),
    st.floats(-1000, 1000, width=32),  # far outside
    st.sampled_from([0.0, 5.5, 1e6, -1e6]),
)
cluster = st.builds(
    lambda y, x, steps: [(y + 0.01 * dy, x + 0.01 * dx) for dy, dx in steps],
    coordinate,
    coordinate,
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12),
)
line = st.builds(
    lambda y, x, dy, dx, n: [(y + i * dy, x + i * dx) for i in range(n)],
    coordinate,
    coordinate,
    st.integers(-40, 40),
    st.integers(-40, 40),
    st.integers(0, 12),
)
point_sets = st.lists(
    st.one_of(cluster, line, st.lists(st.tuples(coordinate, coordinate), max_size=8)), max_size=4
).map(lambda parts: [point for part in parts for point in part])


@settings(max_examples=100)
@given(point_sets, st.integers(1, 9), st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_search_finds_the_nearest(
    points: list[tuple[float, float]], num_votes: int, size: tuple[int, int]
) -> None:
    tensor = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    actual = dvfast.vote_targets(tensor, size, num_votes)
    expected = reference.vote_targets(tensor, size, num_votes)
    # Ties that are exact come in the order of their index; distances that differ in their last bits
    # (the kernel's square is fused, the reference's is not) may come in either order.
    assert_near(lengths(actual), lengths(expected), relative=1e-12)
    if torch.equal(tensor, tensor.round()):
        assert torch.equal(actual[:, 1::3], expected[:, 1::3])
        assert torch.equal(actual[:, 2::3], expected[:, 2::3])
