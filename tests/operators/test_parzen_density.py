"""Eq. 6 and 7: Gaussians at the landing points themselves, within the voters' area B(x)."""

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
)

import dvfast
from dvfast import reference

SIZES = [(9, 11), (1, 1), (0, 5), (5, 0)]
# Radii between the distances that the grids allow, so that no rounding decides who may vote.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"sigma": 0.4, "window": 1},
    {"sigma": 3.0, "window": 9, "stride": 2, "offset": (1, -2)},
    {"sigma": 2.0, "window": 7, "stride": 50, "offset": -0.25},
    {"sigma": 1.5, "window": 3, "offset": (0.5, 0.125)},
    {"window": 5, "radius": 3.6, "area": "box"},
    {"window": 5, "radius": 3.7, "area": "disc", "stride": 2},
    {"window": 9, "radius": 2.3, "area": "disc", "offset": (0.5, 0.125)},
    {"window": 3, "radius": 0.0, "area": "box"},
]
# Float32: the exponential, four products, and half a unit of fixed point, per vote and pixel.
ABSOLUTE = {torch.float32: 2e-5, torch.float64: 1e-7}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", VOTE_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_agrees_with_reference(
    device: torch.device, dtype: torch.dtype, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    options = OPTIONS[:2] if 0 in (*shape, *size) else OPTIONS
    for seed, option in enumerate(options):
        votes = random_votes(shape, seed, dtype)
        exact, actual = leaf(votes.double()), leaf(votes.to(device))
        expected = reference.parzen_density(exact, size, **option)
        density = dvfast.parzen_density(actual, size, **option)
        assert density.dtype == dtype
        assert density.is_contiguous()
        assert_near(density, expected, absolute=ABSOLUTE[dtype])
        upstream = torch.randn(expected.shape, generator=generator(1), dtype=torch.float64)
        gradient = gradient_of(density, actual, upstream.to(density))
        expected_gradient = gradient_of(expected, exact, upstream)
        assert_near(gradient, expected_gradient, absolute=ABSOLUTE[dtype])


@pytest.mark.parametrize("radius", [None, 1.6])
@pytest.mark.parametrize("area", ["box", "disc"])
def test_gradcheck(device: torch.device, area: str, radius: float | None) -> None:
    votes = random_votes((2, 6, 3, 4), 0, torch.float64, reach=2)
    offset = votes.unflatten(1, (-1, 3))[:, :, 1:]
    # Away from the halves, where the window jumps to the next pixel.
    offset.copy_((offset + 0.5).floor() - 0.4 + 0.8 * ((offset + 0.5) % 1))
    # Sums come in steps of 2⁻³⁰, which a difference over the usual 1e-6 would not survive; over
    # 1e-3 they cost 1e-6, and the Gaussian's third derivative about as much.
    assert torch.autograd.gradcheck(
        lambda x: dvfast.parzen_density(x, (4, 5), sigma=1.3, radius=radius, area=area),
        leaf(votes.to(device)),
        eps=1e-3,
        atol=2e-5,
    )


def test_area_of_voters(device: torch.device) -> None:
    # A voter at (5, 5) votes for where it stands, with a Gaussian over all of an 11 x 11 image.
    votes = torch.zeros(1, 3, 1, 1, device=device)
    votes[:, 0] = 1
    options = {"sigma": 20.0, "window": 255, "offset": 5}
    away = torch.arange(11) - 5
    box = torch.maximum(away[:, None].abs(), away.abs())
    disc = away[:, None].square() + away.square()
    for radius in (0, 1, 2.5, 4, 5, 8):
        for area, reached in (("box", box <= radius), ("disc", disc <= radius**2)):
            density = dvfast.parzen_density(votes, (11, 11), **options, radius=radius, area=area)
            assert torch.equal(density[0].cpu() > 0, reached)
    everyone = dvfast.parzen_density(votes, (11, 11), **options)
    for area in ("box", "disc"):
        for radius in (8, 1e30):
            density = dvfast.parzen_density(votes, (11, 11), **options, radius=radius, area=area)
            assert torch.equal(density, everyone)


def test_a_gaussian_beside_the_image_reaches_inside(device: torch.device) -> None:
    votes = torch.tensor([1.0, 0.0, 1.4], dtype=torch.float64).reshape(1, 3, 1, 1).to(device)
    density = dvfast.parzen_density(votes, (1, 4))[0, 0].tolist()
    # Centred on x = -1.4, nearest to pixel -1: the window of five ends at pixel 1.
    expected = [math.exp(-((x + 1.4) ** 2) / 2) / (2 * math.pi) if x <= 1 else 0 for x in range(4)]
    assert density == pytest.approx(expected, abs=1e-9)


def test_errors() -> None:
    votes = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"radius must be at least 0.*got -1"):
        dvfast.parzen_density(votes, (2, 2), radius=-1)
    with pytest.raises(ValueError, match="area must be one of 'box', 'disc', got 'ball'"):
        dvfast.parzen_density(votes, (2, 2), area="ball")
    with pytest.raises(ValueError, match=r"sigma must be .*got 0"):
        dvfast.parzen_density(votes, (2, 2), sigma=0)
    with pytest.raises(ValueError, match=r"window must be an odd .*got 6"):
        dvfast.parzen_density(votes, (2, 2), window=6)
    with pytest.raises(RuntimeError, match="area must be 0"):
        torch.ops.dvfast.parzen_density(votes, 2, 2, 1.0, 5, 1, 0.0, 0.0, math.inf, 2)
