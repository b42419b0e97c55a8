from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from discs import CENTRES, cover
from numpy.typing import NDArray
from scipy import ndimage

from dvfast.baselines import detect_irv, irv, radial_votes

RNG = np.random.default_rng(0)
R_MIN, R_MAX = 2.0, 7.0


def slow_radial_votes(
    density: NDArray[np.float64], half_angles: tuple[float, ...], least: float
) -> NDArray[np.float64]:
    """The definition, voter by voter and pixel by pixel; directions rounded alike."""
    step = 2 * math.pi / 128
    dy = ndimage.gaussian_filter(density, 1.5, (1, 0))
    dx = ndimage.gaussian_filter(density, 1.5, (0, 1))
    weight = np.hypot(dy, dx)
    aim = np.rint(np.arctan2(dy, dx) / step) * step
    middle, sigma = (R_MIN + R_MAX) / 2, (R_MAX - R_MIN) / 4
    height, width = density.shape
    votes = np.zeros_like(density)

    def cone(y: int, x: int, half_angle: float) -> list[tuple[float, int, int]]:
        pixels = []
        for v in range(y - 8, y + 9):
            for u in range(x - 8, x + 9):
                radius = math.hypot(v - y, u - x)
                between = math.remainder(math.atan2(v - y, u - x) - aim[y, x], 2 * math.pi)
                beside = radius * math.sin(abs(between))
                on_axis = abs(between) < math.pi / 2 and beside <= 0.5 + 1e-9
                if R_MIN <= radius <= R_MAX and (abs(between) <= half_angle + 1e-9 or on_axis):
                    off_y = v - y - middle * math.sin(aim[y, x])
                    off_x = u - x - middle * math.cos(aim[y, x])
                    share = math.exp(-(off_y**2 + off_x**2) / (2 * sigma**2))
                    pixels.append((share, v, u))
        return pixels

    for i, half_angle in enumerate(half_angles):
        seen, votes = votes, np.zeros_like(density)
        for y, x in np.argwhere(weight >= least):
            if i:
                inside = [
                    (-seen[v, u], -share, v, u)
                    for share, v, u in cone(y, x, half_angles[i - 1])
                    if 0 <= v < height and 0 <= u < width
                ]
                if inside:
                    *_, v, u = min(inside)
                    aim[y, x] = np.rint(math.atan2(v - y, u - x) / step) * step
            pixels = cone(y, x, half_angle)
            total = sum(share for share, *_ in pixels)
            for share, v, u in pixels:
                if 0 <= v < height and 0 <= u < width:
                    votes[v, u] += weight[y, x] * share / total
    return votes / (math.pi * (R_MIN + R_MAX))


@pytest.mark.parametrize("half_angles", [(0.0,), (0.7,), (0.7, 0.3, 0.0)])
def test_as_defined(half_angles: tuple[float, ...]) -> None:
    density = ndimage.gaussian_filter(RNG.random((23, 31)), 1.0)
    expected = slow_radial_votes(density, half_angles, least=0.02)
    votes = radial_votes(
        density, r_min=R_MIN, r_max=R_MAX, gradient_threshold=0.02, half_angles=half_angles
    )
    assert expected.max() > 1e-3
    np.testing.assert_allclose(votes, expected, atol=2e-6)


def test_narrowing_cones_focus_the_votes() -> None:
    density = cover(CENTRES)
    wide = radial_votes(density, r_min=1, r_max=9, half_angles=(math.pi / 4,))
    narrow = radial_votes(density, r_min=1, r_max=9)
    at = tuple(np.rint(CENTRES).astype(int).T)
    assert (narrow[at] > 2 * wide[at]).all()


def test_edges_vote_towards_their_denser_side() -> None:
    hole = 1 - cover([(32.0, 52.0)], radius=8)
    votes = radial_votes(hole, r_min=1, r_max=9)
    y, x = np.mgrid[:64, :104]
    distance = np.hypot(y - 32, x - 52)
    assert votes[distance < 5].max() < 0.01 * votes.max()


def test_all_votes_arrive() -> None:
    """Of a disc away from the border, every voter's whole weight."""
    density = cover([(32.0, 52.0)])
    dy, dx = (ndimage.gaussian_filter(density, 1.5, order) for order in ((1, 0), (0, 1)))
    weight = np.hypot(dy, dx)
    votes = radial_votes(density, r_min=1, r_max=9)
    assert votes.sum() * math.pi * 10 == pytest.approx(weight[weight >= 0.02].sum(), rel=1e-5)


def test_the_same_bits_for_any_number_of_threads_and_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    density = RNG.random((40, 50))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(radial_votes(density, r_min=1, r_max=9))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    monkeypatch.setattr(irv, "_VOTES_AT_ONCE", 1000)
    np.testing.assert_allclose(radial_votes(density, r_min=1, r_max=9), results[0], atol=1e-6)


def test_no_voters_no_votes() -> None:
    assert not radial_votes(np.full((9, 9), 0.3), r_min=1, r_max=3, gradient_threshold=0).any()


def test_a_higher_threshold_only_removes() -> None:
    image = RNG.random((60, 60)).astype(np.float32)
    points, scores = detect_irv(image, stain="bright", threshold=0.0)
    least = float(np.median(scores))
    fewer, _ = detect_irv(image, stain="bright", threshold=least)
    assert 0 < len(fewer) < len(points)
    assert np.array_equal(fewer, points[scores >= least])
