"""The fast voting density of section 2.3: the vote map, filtered."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import (
    REAL_DTYPES,
    VOTE_SHAPES,
    assert_near,
    generator,
    gradient_of,
    leaf,
    random_votes,
    votes_landing_on,
)
from torch import Tensor

import dvfast
from dvfast import reference

SIZES = [(9, 11), (1, 1), (0, 5), (5, 0)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"sigma": 0.4, "window": 1},
    {"sigma": 3.0, "window": 9, "stride": 2, "offset": (1, -2)},
    {"sigma": 2.0, "window": 7, "stride": 50, "offset": -0.25},
    {"sigma": 1.5, "window": 3, "offset": (0.5, 0.125), "max_offset": 4.0},
]
# Float32: up to `window` fused multiply-adds per axis, on top of the map's own rounding.
ABSOLUTE = {torch.float32: 2e-5, torch.float64: 1e-7}


def compare_with_reference(
    votes: Tensor, size: tuple[int, int], device: torch.device, options: dict[str, Any]
) -> None:
    """Density and gradient, the straight-through gradient of rounded landings included."""
    exact, actual = leaf(votes.double()), leaf(votes.to(device))
    expected = reference.vote_density(exact, size, **options)
    density = dvfast.vote_density(actual, size, **options)
    assert density.dtype == votes.dtype
    assert_near(density, expected, absolute=ABSOLUTE[votes.dtype])
    upstream = torch.randn(expected.shape, generator=generator(1), dtype=torch.float64)
    gradient = gradient_of(density, actual, upstream.to(density))
    expected_gradient = gradient_of(expected, exact, upstream)
    assert_near(gradient, expected_gradient, absolute=ABSOLUTE[votes.dtype])


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
    options = OPTIONS[:2] if 0 in (*shape, *size) else OPTIONS
    for seed, option in enumerate(options):
        votes = random_votes(shape, seed, dtype)
        compare_with_reference(votes, size, device, {**option, "interpolation": interpolation})


@pytest.mark.parametrize("window", [1, 3, 9, 255])
def test_window_larger_than_the_image(device: torch.device, window: int) -> None:
    y, x = torch.tensor([3.0]).reshape(1, 1, 1, 1), torch.tensor([1.0]).reshape(1, 1, 1, 1)
    votes = votes_landing_on(y, x, torch.ones(1, 1, 1, 1)).to(device)
    density = dvfast.vote_density(votes, (5, 4), sigma=2.5, window=window)
    reach = torch.arange(5)[:, None].sub(3).square() + torch.arange(4).sub(1).square()
    near = torch.maximum(torch.arange(5)[:, None].sub(3).abs(), torch.arange(4).sub(1).abs())
    gaussian = torch.exp(-reach.double() / (2 * 2.5**2)) / (2 * math.pi * 2.5**2)
    expected = torch.where(near <= window // 2, gaussian, 0)
    assert_near(density[0], expected, relative=1e-5, absolute=1e-12)


def test_gaussian_is_not_renormalised(device: torch.device) -> None:
    votes = votes_landing_on(*torch.tensor([8.0, 8.0, 1.0]).reshape(3, 1, 1, 1, 1)).to(device)
    total = dvfast.vote_density(votes, (17, 17), sigma=1.0, window=5).sum().item()
    along_one_axis = sum(math.exp(-(d**2) / 2) for d in range(-2, 3)) / math.sqrt(2 * math.pi)
    assert total == pytest.approx(along_one_axis**2, rel=1e-6)
    assert total < 0.99


def test_gradcheck(device: torch.device) -> None:
    votes = random_votes((2, 6, 3, 4), 0, torch.float64, reach=2)
    offset = votes.unflatten(1, (-1, 3))[:, :, 1:]
    offset.copy_(offset.floor() + 0.1 + 0.8 * (offset % 1))  # away from the kinks at the integers
    # Sums come in steps of 2⁻³⁰: a wide step is needed, and the density is linear between kinks.
    assert torch.autograd.gradcheck(
        lambda x: dvfast.vote_density(x, (4, 5), sigma=1.3, interpolation="bilinear"),
        leaf(votes.to(device)),
        eps=1e-3,
        atol=1e-5,
    )
    # Rounded landings have a straight-through gradient, which no difference can find: only the
    # confidences are checked here, the offsets against autograd of the reference above.
    confidence = leaf(votes.unflatten(1, (-1, 3))[:, :, :1].to(device))
    offset = offset.to(device)
    assert torch.autograd.gradcheck(
        lambda w: dvfast.vote_density(torch.cat([w, offset], dim=2).flatten(1, 2), (4, 5)),
        confidence,
        eps=1e-3,
        atol=1e-5,
    )


def test_straight_through_gradient_pulls_towards_a_nucleus(device: torch.device) -> None:
    votes = leaf(votes_landing_on(*torch.tensor([4.0, 3.2, 1.0]).reshape(3, 1, 1, 1, 1)).to(device))
    dvfast.vote_density(votes, (9, 9))[0, 4, 4].backward()
    assert votes.grad is not None
    # The landing should move towards greater x, and a landing moves against its offset.
    assert votes.grad[0, 2].item() < 0
    assert votes.grad[0, 1].item() == 0


def test_differs_from_parzen_density_by_rounding_only(device: torch.device) -> None:
    numbers = torch.rand(3, 1, 2, 30, 30, generator=generator(0), dtype=torch.float64)
    y, x, confidence = numbers[0] * 24 + 3, numbers[1] * 24 + 3, numbers[2]
    on_pixels = votes_landing_on(y.round(), x.round(), confidence).to(device)
    options = {"sigma": 1.2, "window": 7}
    # Votes that land on pixels are not rounded: only the fixed point is left.
    assert_near(
        dvfast.vote_density(on_pixels, (30, 30), **options),
        dvfast.parzen_density(on_pixels, (30, 30), **options).cpu(),
        absolute=1e-7,
    )
    # Votes in between are moved by up to half a pixel along each axis.
    votes = votes_landing_on(y, x, confidence).to(device)
    fast = dvfast.vote_density(votes, (30, 30), **options)
    exact = dvfast.parzen_density(votes, (30, 30), **options)
    difference = (fast - exact).abs().max().item()
    sigma, window = options["sigma"], int(options["window"])
    # No slope of a Gaussian is steeper than its peak / (sigma √e), and the rest is truncation.
    peak = 1 / (2 * math.pi * sigma**2)
    steepest = peak / (sigma * math.sqrt(math.e))
    densest = dvfast.functional.vote_map(votes, (30, 30)).unfold(1, window, 1).unfold(2, window, 1)
    moved = math.sqrt(0.5) * steepest * densest.sum(dim=(-2, -1)).max().item()
    assert 1e-3 < difference < moved
    bilinear = dvfast.vote_density(votes, (30, 30), **options, interpolation="bilinear")
    assert (bilinear - exact).abs().max() < difference


def test_errors() -> None:
    votes = torch.zeros(1, 3, 2, 2)
    for sigma in (0.0, -1.0, 1e-30, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"sigma must be .*got {sigma}"):
            dvfast.vote_density(votes, (2, 2), sigma=sigma)
        with pytest.raises(RuntimeError, match=r"sigma must be at least 0\.01 and finite"):
            torch.ops.dvfast.vote_density(votes, 2, 2, sigma, 5, 1, 0.0, 0.0, math.inf, 0)
    for window in (0, -5, 4, 257):
        with pytest.raises(ValueError, match=f"window must be an odd .*255, got {window}"):
            dvfast.vote_density(votes, (2, 2), window=window)
