"""Sums of votes are the same to the bit for any layout, order, crop and number of threads."""

from __future__ import annotations

import pytest
import torch
from support import (
    DENSITIES,
    LAYOUTS,
    REAL_DTYPES,
    assert_same_strides,
    generator,
    leaf,
    over_threads,
    plain,
    random_votes,
    votes_landing_on,
)
from torch import Tensor

import dvfast

# Enough voters for every one of several threads.
MANY = (2, 6, 300, 300)


def density_and_gradient(name: str, votes: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    votes = leaf(votes)
    density = DENSITIES[name](votes, tuple(upstream.shape[1:]))
    (gradient,) = torch.autograd.grad(density, votes, upstream)
    return density.detach(), gradient


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
@pytest.mark.parametrize("name", DENSITIES)
def test_layout_changes_no_bit(
    device: torch.device, name: str, dtype: torch.dtype, layout: str
) -> None:
    for shape in [(2, 6, 5, 7), (1, 21, 1, 9), (3, 3, 11, 1)]:
        votes = LAYOUTS[layout](random_votes(shape, 0, dtype).to(device))
        upstream = LAYOUTS[layout](random_votes((shape[0], 3, 9, 8), 1, dtype).to(device))[:, 1]
        expected = density_and_gradient(name, plain(votes), plain(upstream))
        for inputs in ((votes, upstream), (plain(votes), upstream), (votes, plain(upstream))):
            for actual, wanted in zip(density_and_gradient(name, *inputs), expected, strict=True):
                assert torch.equal(actual, wanted)


@pytest.mark.parametrize("name", DENSITIES)
def test_gradient_of_a_sum(device: torch.device, name: str) -> None:
    votes = random_votes((2, 6, 5, 7)).to(device)
    ones = torch.ones((), device=device).expand(2, 9, 8)  # strides of zero
    _, gradient = density_and_gradient(name, votes, ones)
    assert torch.equal(gradient, density_and_gradient(name, votes, plain(ones))[1])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", DENSITIES)
def test_gradient_keeps_the_memory_format(
    device: torch.device, name: str, memory_format: torch.memory_format
) -> None:
    votes = random_votes((2, 6, 5, 7)).to(device).contiguous(memory_format=memory_format)
    _, gradient = density_and_gradient(name, votes, torch.ones(2, 9, 8, device=device))
    assert_same_strides(gradient, votes)


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
@pytest.mark.parametrize("name", DENSITIES)
def test_threads_change_no_bit(name: str, dtype: torch.dtype) -> None:
    votes = random_votes(MANY, 0, dtype)
    # All land within a small square, so that threads meet on its pixels.
    votes[:, [1, 4]] = torch.arange(300).to(votes)[:, None] - 9 + votes[:, [1, 4]] / 2
    votes[:, [2, 5]] = torch.arange(300).to(votes) - 9 + votes[:, [2, 5]] / 2
    upstream = random_votes((2, 3, 19, 17), 1, dtype)[:, 0]
    one, *others = over_threads(lambda: density_and_gradient(name, votes, upstream))
    assert one.abs().max() > 5
    for other in others:
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", DENSITIES)
def test_void_votes_are_counted_by_all_threads(name: str) -> None:
    votes = random_votes(MANY)
    votes[0, 0, ::7, ::3] = torch.nan
    votes[1, 5, 299, 299] = torch.inf
    one, *others = over_threads(lambda: dvfast.functional.count_void_votes(votes))
    assert one.tolist() == [votes[0, 0].isnan().sum().item(), 1]
    for other in others:
        assert torch.equal(one, other)


def landing_points(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers, within and around a map of 20 x 20; confidences that no float adds exactly."""
    shape = (1, 2, 60, 61)
    y, x = (torch.randint(-2, 22, shape, generator=generator(seed)).to(dtype) for seed in (0, 1))
    return y, x, torch.rand(shape, generator=generator(2), dtype=dtype)


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
@pytest.mark.parametrize("name", [name for name in DENSITIES if not name.endswith("disc")])
def test_permuted_votes_change_no_bit(device: torch.device, name: str, dtype: torch.dtype) -> None:
    landings = landing_points(dtype)
    expected = DENSITIES[name](votes_landing_on(*landings).to(device), (20, 20))
    for seed in range(3):
        # Another voter, and another of its k votes, casts what lands on the same place.
        order = torch.randperm(landings[0].numel(), generator=generator(seed))
        permuted = votes_landing_on(*(x.flatten()[order].reshape(x.shape) for x in landings))
        assert torch.equal(DENSITIES[name](permuted.to(device), (20, 20)), expected)


@pytest.mark.parametrize("name", DENSITIES)
def test_order_of_a_voters_votes_changes_no_bit(device: torch.device, name: str) -> None:
    votes = random_votes((2, 12, 31, 33)).to(device)
    expected = DENSITIES[name](votes, (31, 33))
    for seed in range(3):
        order = torch.randperm(4, generator=generator(seed))
        permuted = votes.unflatten(1, (4, 3))[:, order].flatten(1, 2)
        assert torch.equal(DENSITIES[name](permuted, (31, 33)), expected)


def test_float_sums_of_the_same_votes_do_differ() -> None:
    # What the fixed point is for: these votes, added as floats in another order, give other bits.
    y, x, confidence = (t.flatten() for t in landing_points(torch.float32))
    inside = (y >= 0) & (y < 20) & (x >= 0) & (x < 20)
    index, confidence = (20 * y + x).long()[inside], confidence[inside]

    def summed_as_floats(order: Tensor) -> Tensor:
        return torch.zeros(400).index_add_(0, index[order], confidence[order])

    exact = torch.zeros(400, dtype=torch.float64).index_add_(0, index, confidence.double())
    sums = [
        summed_as_floats(torch.randperm(len(index), generator=generator(seed))) for seed in range(4)
    ]
    assert not all(torch.equal(sums[0], other) for other in sums[1:])
    counts = dvfast.vote_map(votes_landing_on(*landing_points(torch.float32)), (20, 20))
    assert torch.equal(counts.flatten(), exact.float())  # ours is the exact sum, rounded once


@pytest.mark.parametrize("shift", [1, 7, -5, 1_000_000])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", DENSITIES)
def test_votes_land_the_same_anywhere(
    device: torch.device, name: str, axis: int, shift: int
) -> None:
    # A float32 coordinate at a million has four bits left for its fraction: were one ever formed,
    # these votes would land elsewhere.
    votes = random_votes((1, 6, 9, 10), 3).to(device)
    offset, size, moved, enlarged = [14.375, 14.625], [40, 40], [14.375, 14.625], [40, 40]
    moved[axis] += shift
    enlarged[axis] += shift
    here = DENSITIES[name](votes, tuple(size), offset=tuple(offset))
    there = DENSITIES[name](votes, tuple(enlarged), offset=tuple(moved))
    common = min(enlarged[axis], size[axis])
    assert torch.equal(
        there.narrow(axis + 1, enlarged[axis] - common, common),
        here.narrow(axis + 1, size[axis] - common, common),
    )
    assert here.sum() > 1
