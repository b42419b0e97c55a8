"""Votes that are NaN, infinite, absurd or far away: dropped, counted, and never out of bounds."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from support import DENSITIES, REAL_DTYPES, generator, leaf, random_votes
from torch import Tensor

import dvfast

ops = torch.ops.dvfast

HOSTILE = [math.nan, math.inf, -math.inf, 1e30, -1e30, 1e38, -1e38, 1e-45, -1e-45, 0.0, -0.0, 0.5,
           2.0**31, 2.0**40, -(2.0**40), 2.0**63, 2.0**64, 8589934592.0]  # fmt: skip


def count(votes: Tensor) -> list[int]:
    return dvfast.functional.count_void_votes(votes).tolist()


def hostile_votes(dtype: torch.dtype, shape: tuple[int, ...] = (2, 9, 30, 31)) -> Tensor:
    """One number in ten is one of the above."""
    values = torch.tensor(HOSTILE, dtype=dtype)
    choice = torch.randint(len(HOSTILE), shape, generator=generator(1))
    spoilt = torch.rand(shape, generator=generator(2)) < 0.1
    return torch.where(spoilt, values[choice], random_votes(shape, 0, dtype))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_one_bad_number_voids_one_vote(
    device: torch.device, dtype: torch.dtype, channel: int, value: float
) -> None:
    votes = random_votes((2, 6, 7, 8), 0, dtype).to(device)
    spoilt, without = votes.clone(), votes.clone()
    spoilt[1, 3 + channel, 2, 5] = value
    without[1, 3, 2, 5] = 0
    assert count(votes) == [0, 0]
    assert count(spoilt) == [0, 1]
    for density in DENSITIES.values():
        assert torch.equal(density(spoilt, (7, 8)), density(without, (7, 8)))


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
@pytest.mark.parametrize("name", DENSITIES)
def test_hostile_votes_do_no_harm(device: torch.device, name: str, dtype: torch.dtype) -> None:
    votes = hostile_votes(dtype).to(device)
    confidence, y, x = votes.unflatten(1, (-1, 3)).unbind(dim=2)
    grids: list[dict[str, Any]] = [
        {}, {"offset": 1e12}, {"offset": (-1e12, 3.3)}, {"stride": 10**6}, {"stride": 2**40},
    ]  # fmt: skip
    for grid in grids:
        for size in [(30, 31), (1, 1), (0, 9), (9, 0), (200, 3)]:
            density = DENSITIES[name](votes, size, **grid)
            assert density.isfinite().all()
    void = ~confidence.isfinite() | ~y.isfinite() | ~x.isfinite() | (confidence.abs() > 3e6)
    assert count(votes) == void.sum(dim=(1, 2, 3)).tolist()
    # A clean vote among them still has its say: dropping the void ones by hand changes nothing.
    cleaned = torch.stack([torch.where(void, 0, c) for c in (confidence, y, x)], 2).flatten(1, 2)
    assert torch.equal(DENSITIES[name](votes, (30, 31)), DENSITIES[name](cleaned, (30, 31)))


@pytest.mark.parametrize("limit", [None, math.inf, sys.float_info.max, 1e31])
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_no_limit_is_infinity_to_the_bit(
    device: torch.device, dtype: torch.dtype, limit: float | None
) -> None:
    votes = hostile_votes(dtype).to(device)
    votes[0, 1::3, :3] *= torch.finfo(dtype).max / 4
    grad = random_votes((2, 20, 21), 0, dtype).to(device)
    gaussian = (2.0, 9)
    for bilinear, interpolation in enumerate(("nearest", "bilinear")):
        place = (3, 1.5, 0.0)
        settings: dict[str, Any] = {
            "stride": 3,
            "offset": (1.5, 0.0),
            "interpolation": interpolation,
            "max_offset": limit,
        }
        leaves = leaf(votes)
        dvfast.vote_map(leaves, (20, 21), **settings).backward(grad)
        native = (*place, math.inf, bilinear)
        expected, void = ops.vote_map(votes, 20, 21, *native)
        assert torch.equal(dvfast.vote_map(votes, (20, 21), **settings), expected)
        assert torch.equal(leaves.grad, ops.vote_map_backward(grad, votes, *native))
        assert count(votes) == void.tolist()
        settings |= {"sigma": gaussian[0], "window": gaussian[1]}
        leaves = leaf(votes)
        density = dvfast.vote_density(leaves, (20, 21), **settings)
        density.backward(grad)
        native = (*gaussian, *native)
        assert torch.equal(density, ops.vote_density(votes, 20, 21, *native)[0])
        assert torch.equal(leaves.grad, ops.vote_density_backward(grad, votes, *native))
    for disc, area in enumerate(("box", "disc")):
        leaves = leaf(votes)
        density = dvfast.parzen_density(
            leaves, (20, 21), sigma=2.0, window=9, stride=3, radius=limit, area=area
        )
        density.backward(grad)
        native = (*gaussian, 3, 0.0, 0.0, math.inf, disc)
        assert torch.equal(density, ops.parzen_density(votes, 20, 21, *native)[0])
        assert torch.equal(leaves.grad, ops.parzen_density_backward(grad, votes, *native))


@pytest.mark.parametrize("name", DENSITIES)
def test_void_and_lost_votes_have_no_gradient(device: torch.device, name: str) -> None:
    votes = torch.zeros(1, 3, 1, 5, device=device)
    votes[0, 0] = 1
    votes[0, 1, 0] = torch.tensor([0.2, math.nan, math.inf, 1e30, 1e6])
    votes = leaf(votes)
    DENSITIES[name](votes, (1, 5)).sum().backward()
    assert votes.grad is not None
    assert votes.grad.isfinite().all()
    assert votes.grad[0, 0, 0].bool().tolist() == [True, False, False, False, False]
    assert votes.grad[..., 1:].count_nonzero() == 0


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
@pytest.mark.parametrize("num_votes", [1, 3, 7])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", DENSITIES)
def test_sums_cannot_overflow(
    device: torch.device, name: str, sign: int, num_votes: int, dtype: torch.dtype
) -> None:
    # All votes on one pixel, each as confident as is allowed, and a little more.
    peak = 1.0
    options: dict[str, float] = {}
    if name.startswith("parzen"):
        options, peak = {"sigma": 0.1, "window": 1}, 1 / (2 * math.pi * 0.1**2)
    largest = 2.0**33 / num_votes / peak
    for factor in (0.999, 1 - 1e-6, 1 - 1e-7, 1.0, 1 + 1e-7, 1 + 1e-6, 1.001):
        votes = torch.zeros(1, 3 * num_votes, 1, 1, dtype=dtype, device=device)
        votes[:, ::3] = sign * largest * factor
        total = sign * DENSITIES[name](votes, (1, 1), **options).item()
        density_of_one = 1 / (2 * math.pi) if name.startswith("vote_density") else 1.0
        if factor < 1 - 1e-5:
            assert total == pytest.approx(2.0**33 * factor * density_of_one, rel=1e-5)
        elif factor > 1 + 1e-5:
            assert total == 0
        else:  # just there the limit lies: either all of it or nothing, never a wrapped sum
            assert total == 0 or total == pytest.approx(2.0**33 * density_of_one, rel=1e-5)


def test_confidences_up_to_one_are_never_void() -> None:
    # 64 million votes of the same number, none of it copied: 2³³ is 134.2 for each.
    for confidence, void in ((1.0, 0), (134.0, 0), (135.0, 64_000_000)):
        votes = torch.full((1, 3, 1, 1), confidence).expand(1, 3, 8000, 8000)
        assert count(votes) == [void]


def test_more_than_two_to_the_31_votes_are_counted() -> None:
    votes = torch.full((1, 3, 1, 1), math.nan).expand(1, 3, 47_000, 47_000)
    assert count(votes) == [47_000**2]


def test_landings_on_and_beyond_the_border(device: torch.device) -> None:
    def landed(y: float, x: float) -> float:
        votes = torch.zeros(1, 3, 1, 1, device=device)
        votes[0, :, 0, 0] = torch.tensor([1.0, -y, -x])
        return dvfast.vote_map(votes, (4, 6)).sum().item()

    edge = torch.nextafter(torch.tensor(3.5), torch.tensor(0.0)).item()
    assert [landed(y, 0) for y in (-0.5, -0.51, 3.49, edge, 3.5)] == [1, 0, 1, 1, 0]
    assert [landed(0, x) for x in (-0.5, -0.51, 5.49, 5.5, 1e9, -1e9)] == [1, 0, 1, 0, 0, 0]


def test_denormals_vanish_in_the_fixed_point(device: torch.device) -> None:
    votes = torch.zeros(1, 3, 2, 2, device=device)
    votes[:, 0] = 1e-45
    votes[:, 1:] = 1e-45
    assert dvfast.vote_map(votes, (2, 2)).count_nonzero() == 0
    votes[:, 0] = 2.0**-30
    assert torch.equal(dvfast.vote_map(votes, (2, 2)), votes[:, 0])


@pytest.mark.parametrize("name", DENSITIES)
def test_errors(name: str) -> None:
    density, votes = DENSITIES[name], torch.zeros(1, 6, 2, 2)
    for wrong in (votes[0], votes[:, :4], votes[..., None]):
        with pytest.raises(ValueError, match=r"votes must be \[B, 3k, h, w\], got \["):
            density(wrong, (2, 2))
    with pytest.raises(ValueError, match=r"size must be \(height, width\), got \(-1, 2\)"):
        density(votes, (-1, 2))
    with pytest.raises(ValueError, match=r"size must be \(height, width\), got \(1, 2, 3\)"):
        density(votes, (1, 2, 3))
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        density(votes, (2, 2), stride=0)
    for offset in (math.nan, math.inf, (0.0, -math.inf), 1e30):
        with pytest.raises(ValueError, match=r"offset must be finite, at most 2\^40 pixels, got"):
            density(votes, (2, 2), offset=offset)
    for dtype in (torch.float16, torch.bfloat16, torch.int64):
        with pytest.raises(RuntimeError, match=r"votes must be one of float32, float64, got"):
            density(votes.to(dtype), (2, 2))


@pytest.mark.parametrize("name", ["vote_map", "vote_density", "parzen_density"])
def test_errors_of_the_native_operators(name: str) -> None:
    forward, backward = (getattr(torch.ops.dvfast, name + suffix) for suffix in ("", "_backward"))
    votes = torch.zeros(2, 3, 4, 4)
    gaussian = () if name == "vote_map" else (1.0, 5)
    settings = (*gaussian, 1, 0.0, 0.0, math.inf, 0)
    with pytest.raises(RuntimeError, match="offset must be finite, got 1e"):
        forward(votes, 4, 4, *gaussian, 1, 1e30, 0.0, math.inf, 0)
    for grad in (torch.zeros(1, 5, 5), torch.zeros(5, 5)):
        with pytest.raises(RuntimeError, match=r"grad must be \[B, H, W\] with the batch of votes"):
            backward(grad, votes, *settings)
    with pytest.raises(RuntimeError, match=r"grad must be one of float32, got float64 \[2, 5, 5\]"):
        backward(torch.zeros(2, 5, 5, dtype=torch.float64), votes, *settings)


@pytest.mark.parametrize("name", DENSITIES)
def test_double_backward_is_refused(device: torch.device, name: str) -> None:
    votes = leaf(random_votes((1, 3, 4, 4)).to(device))
    density = DENSITIES[name](votes, (4, 4))
    (gradient,) = torch.autograd.grad(density.square().sum(), votes, create_graph=True)
    operator = name.removesuffix("_bilinear").removesuffix("_disc")
    with pytest.raises(RuntimeError, match=rf"dvfast\.{operator} does not differentiate twice"):
        gradient.sum().backward()
