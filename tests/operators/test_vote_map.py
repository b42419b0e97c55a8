"""The vote map of section 2.3: where votes land, what they add, and what comes back to them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import (
    FIXED_POINT,
    REAL_DTYPES,
    VOTE_SHAPES,
    assert_near,
    leaf,
    random_votes,
    votes_landing_on,
)
from torch import Tensor

import dvfast
from dvfast import reference

SIZES = [(9, 11), (1, 1), (30, 40), (0, 5), (5, 0)]
# Grid fractions that a float32 holds: the float64 reference then reads the same voters.
GRIDS: list[dict[str, Any]] = [
    {},
    {"stride": 3},
    {"stride": 2, "offset": (1, -2)},
    {"stride": 50, "offset": -0.25},
    {"offset": (0.5, 0.125)},
    {"max_offset": 4.0},
]


def one_vote(offset: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """A vote of confidence 1 cast by pixel (0, 2), moved along x."""
    votes = torch.zeros(1, 3, 1, 5, dtype=dtype)
    votes[0, 0, 0, 2] = 1
    votes[0, 2, 0, 2] = offset
    return votes


def landing(offset: float, dtype: torch.dtype = torch.float32) -> int:
    counts = dvfast.vote_map(one_vote(offset, dtype), (1, 5))[0, 0]
    assert counts.sum() == 1
    return int(counts.argmax())


def accuracy(dtype: torch.dtype, interpolation: str, votes: Tensor) -> dict[str, float]:
    # Nearest confidences enter unchanged; bilinear shares are three roundings of their dtype. Every
    # vote costs up to half a unit of the fixed point, and the sum is rounded to its dtype once.
    shares = 4e-7 if dtype == torch.float32 and interpolation == "bilinear" else 0.0
    per_pixel = votes.shape[1] / 3 * math.prod(votes.shape[2:])
    return {
        "relative": 1e-7 if dtype == torch.float32 else 1e-15,
        "absolute": per_pixel * (FIXED_POINT / 2 + shares),
    }


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", VOTE_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_agrees_with_reference(
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    size: tuple[int, int],
    interpolation: str,
) -> None:
    for seed, grid in enumerate(GRIDS):
        votes = random_votes(shape, seed, dtype)
        options = {**grid, "interpolation": interpolation}
        counts = dvfast.vote_map(votes.to(device), size, **options)
        assert counts.dtype == dtype
        assert counts.is_contiguous()
        expected = reference.vote_map(votes.double(), size, **options)
        assert_near(counts, expected, **accuracy(dtype, interpolation, votes))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_gradient_agrees_with_autograd_of_reference(
    device: torch.device, dtype: torch.dtype, interpolation: str
) -> None:
    for seed, grid in enumerate(GRIDS):
        options = {**grid, "interpolation": interpolation}
        votes = random_votes((2, 9, 7, 8), seed, dtype)
        upstream = random_votes((2, 3, 9, 11), seed + 100, dtype)[:, 0]
        exact = leaf(votes.double())
        expected = reference.vote_map(exact, (9, 11), **options)
        actual = leaf(votes.to(device))
        counts = dvfast.vote_map(actual, (9, 11), **options)
        counts.backward(upstream.to(device))
        expected.backward(upstream.double())
        assert actual.grad is not None
        assert exact.grad is not None
        assert_near(actual.grad, exact.grad, absolute=1e-6 if dtype == torch.float32 else 1e-14)


def away_from_jumps(votes: Tensor, at: float) -> Tensor:
    """Offsets moved so that no finite difference crosses a landing point's jump or kink at `at`."""
    offset = votes.unflatten(1, (-1, 3))[:, :, 1:]
    fraction = (offset - at) % 1
    offset += torch.where(fraction < 0.1, 0.1, 0.0) - torch.where(fraction > 0.9, 0.1, 0.0)
    return votes


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_gradcheck(device: torch.device, interpolation: str) -> None:
    jump = 0.5 if interpolation == "nearest" else 0.0
    votes = away_from_jumps(random_votes((2, 6, 3, 4), 0, torch.float64, reach=2), jump)
    # Sums come in steps of 2⁻³⁰, so a difference needs a far wider step than the usual 1e-6 to have
    # six digits. The map is linear in each input between its jumps: the wide step costs nothing.
    assert torch.autograd.gradcheck(
        lambda x: dvfast.vote_map(x, (4, 5), interpolation=interpolation),
        leaf(votes.to(device)),
        eps=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_half_goes_to_the_greater_coordinate(dtype: torch.dtype) -> None:
    just_below = torch.nextafter(torch.tensor(0.5, dtype=dtype), torch.tensor(0.0, dtype=dtype))
    just_above = torch.nextafter(torch.tensor(0.5, dtype=dtype), torch.tensor(1.0, dtype=dtype))
    below, above = just_below.item(), just_above.item()
    # A vote lands at 2 - offset.
    assert [landing(d, dtype) for d in (0.5, -0.5, 1.5, -1.5)] == [2, 3, 1, 4]
    assert [landing(d, dtype) for d in (below, above)] == [2, 1]
    assert [landing(d, dtype) for d in (-below, -above)] == [2, 3]
    tiny = torch.finfo(dtype).tiny
    assert [landing(d, dtype) for d in (tiny, -tiny, tiny / 8, -0.0)] == [2, 2, 2, 2]


def test_half_at_the_border_is_the_same_wherever_the_image_is_cut() -> None:
    votes = random_votes((1, 3, 20, 20), 0)
    votes[:, 1:] = (2 * votes[:, 1:]).round() / 2  # halves everywhere
    whole = dvfast.vote_map(votes, (20, 20), offset=5)
    for top in range(6):
        cut = dvfast.vote_map(votes, (14, 13), offset=5 - top)
        assert torch.equal(cut, whole[:, top : top + 14, top : top + 13])


def test_bilinear_shares() -> None:
    counts = dvfast.vote_map(one_vote(0.25), (2, 5), interpolation="bilinear")
    assert counts[0, 0].tolist() == [0.0, 0.25, 0.75, 0.0, 0.0]
    # What falls beyond the border is lost, on each of its sides.
    for offset, kept in ((-2.25, 0.75), (2.25, 0.75), (-3.0, 0.0), (3.0, 0.0)):
        assert dvfast.vote_map(one_vote(offset), (1, 5), interpolation="bilinear").sum() == kept


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_sum_is_conserved(device: torch.device, interpolation: str) -> None:
    y, x, confidence = (
        torch.rand(2, 3, 15, 16, generator=torch.Generator().manual_seed(seed)).double()
        for seed in range(3)
    )
    votes = votes_landing_on(30 * y - 3, 30 * x - 3, confidence).to(device)
    landed_y, landed_x = ((30 * c - 3 + 0.5).floor() for c in (y, x))
    inside = (landed_y >= 0) & (landed_y < 20) & (landed_x >= 0) & (landed_x < 22)
    assert not inside.all()
    if interpolation == "nearest":
        counts = dvfast.vote_map(votes, (20, 22))
        expected = torch.where(inside, confidence, 0).sum()
    else:  # on a map that has room for all
        counts = dvfast.vote_map(votes, (40, 40), offset=5, interpolation=interpolation)
        expected = confidence.sum()
    assert_near(counts.sum(), expected, absolute=4 * confidence.numel() * FIXED_POINT)


def test_max_offset(device: torch.device) -> None:
    votes = torch.zeros(1, 3, 1, 4, device=device)
    votes[:, 0] = 1
    votes[0, 1, 0] = torch.tensor([0.0, 3.0, 3.0, 0.0])
    votes[0, 2, 0] = torch.tensor([0.0, 4.0, 4.01, 0.0])

    def total(limit: float | None) -> float:
        return dvfast.vote_map(votes, (9, 9), offset=4, max_offset=limit).sum().item()

    # A vote exactly as long as the limit counts.
    assert [total(limit) for limit in (None, 1e30, 6.0, 5.0, 4.9, 0.0)] == [4, 4, 4, 3, 2, 2]
    assert dvfast.functional.count_void_votes(votes).item() == 0


def test_errors() -> None:
    votes = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"max_offset must be at least 0.*got -1"):
        dvfast.vote_map(votes, (2, 2), max_offset=-1)
    with pytest.raises(ValueError, match=r"max_offset must be at least 0.*got nan"):
        dvfast.vote_map(votes, (2, 2), max_offset=math.nan)
    with pytest.raises(ValueError, match=r"interpolation must be one of 'nearest', .*got 'cubic'"):
        dvfast.vote_map(votes, (2, 2), interpolation="cubic")
    with pytest.raises(ValueError, match=r"votes must be \[B, 3k, h, w\], got \[3, 2, 2\]"):
        dvfast.functional.count_void_votes(votes[0])
