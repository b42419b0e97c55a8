"""Eq. 1 against a brute-force search, on points that are hard to sort into bins as well."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import LAYOUTS, REAL_DTYPES, assert_near, generator, lengths, over_threads, plain
from torch import Tensor

import dvfast
from dvfast import reference

SIZES = [(1, 1), (5, 7), (13, 1), (1, 17), (24, 31), (0, 5), (5, 0), (0, 0)]


def random_points(count: int, size: tuple[int, int], seed: int, dtype: torch.dtype) -> Tensor:
    """Half of them beyond the image, up to its size away from it."""
    numbers = torch.rand(count, 2, generator=generator(seed), dtype=torch.float64)
    return ((3 * numbers - 1) * torch.tensor([max(n, 2) for n in size])).to(dtype)


def assert_is_reference(actual: Tensor, points: Any, *args: Any, **settings: Any) -> None:
    """Equal up to the order of nuclei, and the side of a radius, that rounding may decide."""
    images = [points] if isinstance(points, Tensor) else points
    expected = reference.vote_targets([image.double() for image in images], *args, **settings)
    assert actual.shape == expected.shape
    actual = actual.double().cpu()
    # The k-th distance is the same whichever of two equally near nuclei comes first.
    length, expected_length = lengths(actual), lengths(expected)
    tolerance = 2e-6 * (1 + expected_length)
    assert ((length - expected_length).abs() <= tolerance).all()
    # Where no other distance of the same pixel is near, it is the same nucleus.
    gaps = (expected_length[:, 1:] - expected_length[:, :-1]).abs() > 4 * tolerance[:, 1:]
    apart = torch.ones_like(length, dtype=torch.bool)
    apart[:, 1:] &= gaps
    apart[:, :-1] &= gaps
    apart[:, -1] &= False  # the nucleus after the last is unknown here
    for radius in (settings.get("r1", 39.0), settings.get("r2", 58.5)):
        apart &= (expected_length - radius).abs() > tolerance
    clear = apart.unsqueeze(2).expand(-1, -1, 3, -1, -1).flatten(1, 2)
    assert_near(actual[clear], expected[clear], relative=1e-5, absolute=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 200])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_agrees_with_reference(
    device: torch.device, dtype: torch.dtype, size: tuple[int, int], count: int
) -> None:
    for num_votes in (1, 2, 7):
        points = random_points(count, size, num_votes, dtype)
        ranges = {"r1": 4.0, "r2": 11.0, "beta": 0.25}
        target = dvfast.vote_targets(points.to(device), size, num_votes, **ranges)
        assert target.dtype == dtype
        assert target.is_contiguous()
        if dtype == torch.float64:  # no two distances are so near that rounding decides
            assert_near(target, reference.vote_targets(points, size, num_votes, **ranges))
        else:
            assert_is_reference(target, points, size, num_votes, **ranges)


@pytest.mark.parametrize("stride", [1, 2, 3, 40])
@pytest.mark.parametrize("offset", [0, 1, -3, 0.5, (0.25, -1.75), 19, 1000], ids=str)
def test_grid(device: torch.device, stride: int, offset: Any) -> None:
    points = random_points(30, (21, 34), 0, torch.float64)
    target = dvfast.vote_targets(points.to(device), (21, 34), 3, stride=stride, offset=offset)
    expected = reference.vote_targets(points, (21, 34), 3, stride=stride, offset=offset)
    assert_near(target, expected, absolute=1e-12)


def test_batch_of_different_lengths(device: torch.device) -> None:
    images = [random_points(n, (15, 18), n, torch.float64).to(device) for n in (0, 1, 5, 0, 40)]
    batch = dvfast.vote_targets(images, (15, 18), 4)
    assert batch.shape == (5, 12, 15, 18)
    for image, target in zip(images, batch, strict=True):
        assert torch.equal(dvfast.vote_targets(image, (15, 18), 4)[0], target)


@pytest.mark.parametrize("layout", ["every_second", "slice_of_channels", "transposed"])
def test_layout_changes_no_bit(device: torch.device, layout: str) -> None:
    points = LAYOUTS[layout](random_points(50, (20, 20), 0, torch.float32).to(device))
    targets = [dvfast.vote_targets(x, (20, 20), 3) for x in (points, plain(points))]
    assert torch.equal(*targets)


def test_confidence_of_the_paper() -> None:
    nucleus = torch.tensor([[0.0, 0.0]])
    target = dvfast.vote_targets(nucleus, (1, 100), 1)
    x = torch.arange(100)
    expected = torch.where(x <= 39, 1.0, torch.where(x <= 58, 1 / (1 + 0.5 * x), 0.0))
    assert torch.equal(target[0, 0, 0], expected)
    assert torch.equal(target[0, 2, 0], x.float())  # pixel minus nucleus


def test_missing_votes_are_zero(device: torch.device) -> None:
    target = dvfast.vote_targets(torch.tensor([[2.0, 3.0]], device=device), (4, 4), 3)
    assert target[0, 3:].count_nonzero() == 0
    assert target[0, 0].count_nonzero() == 16


def test_equal_distances_come_in_the_order_of_their_index(device: torch.device) -> None:
    # From the centre all four are as far, and the last two are one and the same.
    points = torch.tensor([[0.0, 2.0], [2.0, 0.0], [4.0, 2.0], [2.0, 4.0], [2.0, 4.0]])
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1], [2, 4, 1, 3, 0]):
        target = dvfast.vote_targets(points[order].to(device), (5, 5), 5)
        offsets = target[0, :, 2, 2].unflatten(0, (5, 3))[:, 1:].cpu()
        assert torch.equal(torch.tensor([2.0, 2.0]) - offsets, points[order])


def test_non_finite_points_are_left_out(device: torch.device) -> None:
    points = random_points(20, (12, 12), 0, torch.float32)
    spoilt = points.repeat_interleave(2, dim=0)
    spoilt[::2, 0] = torch.tensor([math.nan, math.inf, -math.inf, math.nan] * 5)
    actual = dvfast.vote_targets(spoilt.to(device), (12, 12), 5)
    assert torch.equal(actual, dvfast.vote_targets(points.to(device), (12, 12), 5))


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_points_at_the_end_of_the_world(device: torch.device, dtype: torch.dtype) -> None:
    far = torch.finfo(dtype).max
    near = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=dtype)
    corners = torch.tensor([[far, far], [-far, far], [far, -far], [-far, -far]], dtype=dtype)
    target = dvfast.vote_targets(torch.cat([corners, near]).to(device), (4, 4), 2)
    assert torch.equal(target, dvfast.vote_targets(near.to(device), (4, 4), 2))
    target = dvfast.vote_targets(corners.to(device), (4, 4), 2)
    assert target[:, [0, 3]].count_nonzero() == 0


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_crowds_and_gaps_between_them(device: torch.device, dtype: torch.dtype) -> None:
    crowd = random_points(300, (20, 30), 0, torch.float64)
    line = crowd * torch.tensor([0.0, 1.0])
    far = torch.tensor([[1e6, -1e6]])
    arrangements = [
        torch.cat([crowd, far]),
        torch.cat([crowd, crowd + 5000]),
        torch.cat([crowd, crowd[:100] + torch.tensor([0.0, 4000.0])]),
        torch.cat([line, far, line]),
        crowd[:, :1].expand(-1, 2).round(),
    ]
    for points in arrangements:
        points = points.to(dtype)
        target = dvfast.vote_targets(points.to(device), (25, 40), 3)
        assert_is_reference(target, points, (25, 40), 3)


def test_threads_change_no_bit() -> None:
    points = random_points(500, (300, 300), 0, torch.float32)
    one, *others = over_threads(lambda: dvfast.vote_targets([points, points[:7]], (300, 300), 3))
    for other in others:
        assert torch.equal(one, other)


def test_errors() -> None:
    points = torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"points must be \[n, 2\].*got \[4, 3\] for image 1"):
        dvfast.vote_targets([points, torch.zeros(4, 3)], (5, 5), 1)
    with pytest.raises(ValueError, match="points must hold at least one image"):
        dvfast.vote_targets([], (5, 5), 1)
    with pytest.raises(ValueError, match="num_votes must be at least 1, got 0"):
        dvfast.vote_targets(points, (5, 5), 0)
    with pytest.raises(ValueError, match=r"0 <= r1 <= r2, got 5 and 4"):
        dvfast.vote_targets(points, (5, 5), 1, r1=5, r2=4)
    with pytest.raises(ValueError, match="r1 and r2"):
        dvfast.vote_targets(points, (5, 5), 1, r1=math.nan)
    with pytest.raises(ValueError, match="beta must be at least 0 and finite, got -1"):
        dvfast.vote_targets(points, (5, 5), 1, beta=-1)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        dvfast.vote_targets(points, (5, 5), 1, stride=0)
    with pytest.raises(ValueError, match=r"offset must be finite, .*got nan"):
        dvfast.vote_targets(points, (5, 5), 1, offset=math.nan)
    with pytest.raises(RuntimeError, match="points must be one of float32, float64, got int64"):
        dvfast.vote_targets(points.long(), (5, 5), 1)
    with pytest.raises(ValueError, match=r"size must be \(height, width\), got \(-1, 5\)"):
        dvfast.vote_targets(points, (-1, 5), 1)
    rest = (1, 1.0, 2.0, 0.5, 1, 0.0, 0.0)
    with pytest.raises(RuntimeError, match="size and num_votes must not be negative, got -1 x 5"):
        torch.ops.dvfast.vote_targets(points, torch.tensor([0, 4]), -1, 5, *rest)
    for splits in ([0, 3], [1, 4], [0, 5, 4]):
        with pytest.raises(RuntimeError, match="splits must"):
            torch.ops.dvfast.vote_targets(points, torch.tensor(splits), 5, 5, *rest)
