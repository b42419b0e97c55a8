"""Peaks against the reference's flood fill: ties, plateaus, thresholds, hostile values."""

from __future__ import annotations

import math

import pytest
import torch
from support import (
    LAYOUTS,
    REAL_DTYPES,
    expected_peaks,
    generator,
    over_threads,
    peaks,
    plain,
    threads,
)
from torch import Tensor

import dvfast


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("min_distance", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "layout", ["contiguous", "transposed", "every_second", "slice_of_channels"]
)
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_real_valued_maps(
    device: torch.device, dtype: torch.dtype, layout: str, min_distance: int, seed: int
) -> None:
    values = torch.rand(23, 37, generator=generator(seed), dtype=torch.float64)
    density = LAYOUTS[layout](values.to(dtype).to(device))
    found = peaks(density, min_distance=min_distance)
    assert len(found) > 10
    assert found == expected_peaks(density, min_distance=min_distance)
    assert found == peaks(plain(density), min_distance=min_distance)


def test_expanded_map() -> None:
    row = torch.tensor([0.0, 2.0, 0.0, 1.0, 0.0])
    assert peaks(row.expand(4, 5)) == [(0, 1), (0, 3)]


def test_plateaus() -> None:
    v_shape = torch.tensor([[0, 3, 0, 0, 0, 3], [0, 0, 3, 0, 3, 0], [0, 0, 0, 3, 0, 0]]).float()
    assert peaks(v_shape) == [(0, 1)]
    # A higher pixel beside its last pixel rejects the whole plateau.
    v_shape[0, 5] = 4
    assert peaks(v_shape) == [(0, 5)]
    # The first pixel in raster order is not the first of the window's rows at every pixel.
    hook = torch.tensor([[0, 0, 0, 2], [0, 0, 2, 0], [2, 2, 0, 0]]).float()
    assert peaks(hook) == [(0, 3)]
    # Two plateaus, apart by more than min_distance or not.
    apart = torch.tensor([[5.0, 5.0, 0.0, 0.0, 5.0]])
    assert peaks(apart) == [(0, 0), (0, 4)]
    assert peaks(apart, min_distance=3) == [(0, 0)]


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_maps_with_one_peak_or_none(device: torch.device, dtype: torch.dtype) -> None:
    def of(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    assert peaks(of(50, 40)) == []
    assert peaks(of(5, 4) - 1) == []
    assert peaks(of(5, 4) + math.nan) == []
    assert peaks(of(300, 400) + 0.5) == [(0, 0)]
    assert peaks(of(1, 1) + 1) == [(0, 0)]
    assert peaks(of(3, 3) + math.inf) == [(0, 0)]
    for shape in ((0, 0), (0, 7), (7, 0)):
        points, scores = dvfast.find_peaks(of(*shape))
        assert points.shape == (0, 2)
        assert scores.shape == (0,)


def test_threshold() -> None:
    density = torch.tensor([[10.0, 0.0, 2.0, 0.0, 1.999]])
    assert peaks(density) == [(0, 0), (0, 2)]  # a value at the threshold stays
    assert peaks(density, threshold=2.0, relative=False) == [(0, 0), (0, 2)]
    assert peaks(density, threshold=0.0) == [(0, 0), (0, 2), (0, 4)]
    assert peaks(density, threshold=-1.0, relative=False) == [(0, 0), (0, 2), (0, 4)]
    assert peaks(density, threshold=1.0) == [(0, 0)]
    assert peaks(density, threshold=1.1) == []
    assert peaks(density, threshold=math.inf) == []


def test_threshold_beside_infinity(device: torch.device) -> None:
    density = torch.tensor([[math.inf, 0.0, 1.0]], device=device)
    assert peaks(density) == [(0, 0)]
    assert peaks(density, threshold=0.0) == [(0, 0), (0, 2)]


def test_huge_min_distance() -> None:
    density = torch.rand(12, 9, generator=generator(0))
    for min_distance in (12, 10**9, 2**62):
        assert peaks(density, min_distance=min_distance) == [
            divmod(int(density.argmax()), density.shape[1])
        ]


@pytest.mark.parametrize("min_distance", [1, 2, 5])
def test_broad_plateaus(device: torch.device, min_distance: int) -> None:
    """Their pixels see what those left of them and above have not, and nothing may slip between."""
    shape = (40, 51)
    rows, columns = (torch.arange(n) for n in shape)
    inside = ((rows[:, None] - 20) ** 2 + (columns - 25) ** 2).sqrt()
    maps = [(inside < radius).double() + 1.0 for radius in (3, 9, 17)]
    maps += [1.0 + (rows[:, None] // n + columns // m) % 2 for n, m in ((7, 9), (1, 60), (50, 2))]
    for row, column in ((0, 0), (39, 50), (0, 50), (39, 0), (20, 25), (7, 43)):
        maps.append(torch.ones(shape, dtype=torch.float64))
        maps[-1][row, column] = 2.0  # one higher than all else rejects the plateau, wherever it is
    for number, density in enumerate(maps):
        for upside_down in (density, density.flip(0), density.flip(1), 3.0 - density):
            with threads(2):
                found = peaks(upside_down.to(device), min_distance=min_distance)
            assert found == expected_peaks(upside_down, min_distance=min_distance), number


def test_scores_are_differentiable(device: torch.device) -> None:
    density = torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]], device=device).requires_grad_()
    points, scores = dvfast.find_peaks(density)
    assert not points.requires_grad
    (gradient,) = torch.autograd.grad(scores.square().sum(), density)
    assert gradient.tolist() == [[2.0, 0.0, 6.0], [0.0, 0.0, 0.0]]


def test_threads_change_nothing() -> None:
    # Few values, so that many peaks are tied, over bands of rows of several threads.
    density = torch.randint(0, 30, (301, 203), generator=generator(0)).float()
    one, *others = over_threads(lambda: dvfast.find_peaks(density))
    for other in others:
        assert torch.equal(one, other)
    with threads(2):
        assert peaks(density[:97, :83]) == expected_peaks(density[:97, :83])


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"density must be \[H, W\], got \[1, 2, 3\]"):
        dvfast.find_peaks(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="threshold must be a number, got NaN"):
        dvfast.find_peaks(torch.zeros(2, 3), threshold=math.nan)
    with pytest.raises(ValueError, match="min_distance must be at least 1, got 0"):
        dvfast.find_peaks(torch.zeros(2, 3), min_distance=0)
    for dtype in (torch.int64, torch.bfloat16):
        with pytest.raises(
            RuntimeError, match=r"^density must be one of float32, float64, got \w+ \[2, 3\]$"
        ):
            dvfast.find_peaks(torch.zeros(2, 3, dtype=dtype))
