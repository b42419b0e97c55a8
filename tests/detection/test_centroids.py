"""Centroids of peaks: by hand, at borders, beside what is no number, and the same in any tile."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import generator, small_unet

import dvfast
from dvfast.detection.centroids import centroids


def expected(density: NDArray[np.float64], point: tuple[int, int], radius: float) -> list[float]:
    y, x = np.indices(density.shape)
    weights = density.clip(0, density[point])
    weights[(y - point[0]) ** 2 + (x - point[1]) ** 2 > radius**2] = 0
    return [float((weights * place).sum() / weights.sum()) for place in (y, x)]


@pytest.mark.parametrize("radius", [1, 2.5, 7, 40])
def test_they_are_those_of_a_disc(device: torch.device, radius: float) -> None:
    density = torch.rand(23, 31, generator=generator(0)) - 0.2
    points = [(0, 0), (22, 30), (11, 15), (0, 17), (8, 30)]
    for y, x in points:
        density[y, x] = 0.7
    found = centroids(density.to(device), torch.tensor(points).float().to(device), radius)
    wanted = [expected(density.double().numpy(), point, radius) for point in points]
    # Moved by whole 1024ths of a pixel.
    np.testing.assert_allclose(found.cpu(), wanted, atol=0.501 / 1024)
    assert torch.equal((found - torch.tensor(points).to(found)) * 1024 % 1, torch.zeros_like(found))


def test_what_is_no_number_weighs_nothing_or_as_much_as_the_peak() -> None:
    density = torch.zeros(5, 7)
    density[2, 3] = 1.0
    for value, moved in ((math.nan, 0.0), (math.inf, 0.5), (5.0, 0.5), (-math.inf, 0.0)):
        density[2, 4] = value
        assert centroids(density, torch.tensor([[2.0, 3.0]]), 2).tolist() == [[2.0, 3.0 + moved]]


def test_below_one_pixel_nothing_moves_and_nobody_is_left_alone() -> None:
    density, points = torch.rand(5, 6), torch.tensor([[1.0, 2.0]])
    assert centroids(density, points, 0.9) is points
    assert centroids(density, torch.full((3, 2), -1.0), 4).tolist() == [[-1.0, -1.0]] * 3
    assert centroids(density, torch.empty(0, 2), 4).shape == (0, 2)
    assert centroids(torch.empty(0, 6), torch.empty(0, 2), 4).shape == (0, 2)


def test_many_are_done_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    density = torch.rand(40, 50, generator=generator(0))
    points = torch.cartesian_prod(torch.arange(40.0), torch.arange(50.0))
    whole = centroids(density, points, 6)
    monkeypatch.setattr("dvfast.detection.centroids._NUMBERS_AT_A_TIME", 169 * 7)
    assert torch.equal(centroids(density, points, 6), whole)


@pytest.mark.parametrize("orientations", [1, 4])
def test_detection_gives_centroids_in_raster_order(orientations: int) -> None:
    torch.manual_seed(0)
    plain = dvfast.DetectionSettings(stride=2, sigma=1.5, window=9, orientations=orientations)
    moved = dvfast.DetectionSettings.from_dict({**plain.to_dict(), "centroid_radius": 4})
    image = np.random.default_rng(0).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    at_peaks, found = (dvfast.Detector(small_unet(), each).detect(image) for each in (plain, moved))
    assert len(found) == len(at_peaks) > 5
    by_hand = centroids(torch.from_numpy(found.density), torch.from_numpy(at_peaks.points), 4)
    order = np.lexsort(by_hand.numpy().T[::-1])
    assert np.array_equal(found.points, by_hand.numpy()[order])
    assert np.array_equal(found.scores, at_peaks.scores[order])
    assert not np.array_equal(found.points, at_peaks.points)


@pytest.mark.parametrize("radius", [-1, 65, math.nan, math.inf])
def test_radii_are_lengths(radius: float) -> None:
    with pytest.raises(ValueError, match="centroid_radius must be between 0 and 64 pixels, got"):
        dvfast.DetectionSettings(centroid_radius=radius)
