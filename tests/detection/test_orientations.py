"""Images looked at in several ways: the mean of the densities, wherever the image turns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import generator

from dvfast import DetectionSettings, Detector
from dvfast.detection.finding import find_nuclei
from dvfast.nn import DeepVotingNet

SETTINGS = DetectionSettings(stride=3, sigma=1.5, window=9, threshold=0.5, min_distance=3)
# Densities of the same votes, added up in another order.
ROUNDING = 1e-5


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=(8,))
    for layer in (net.conv1, net.conv2, net.conv3, *net.head):
        torch.nn.init.normal_(layer.weight, std=0.2)  # type: ignore[arg-type]
    return Detector(net, SETTINGS)


@pytest.fixture
def image() -> NDArray[np.float32]:
    return torch.rand(40, 53, 3, generator=generator(0)).numpy()


def turned(image: NDArray[np.float32], turns: int, flip: bool) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.rot90(image[::-1] if flip else image, turns))


@pytest.mark.parametrize("orientations", [2, 4, 8])
def test_the_density_is_the_mean_of_those_of_the_turned_images(
    detector: Detector, image: NDArray[np.float32], orientations: int
) -> None:
    ways = [(turns, flip) for flip in (False, True) for turns in (0, 2, 1, 3)][:orientations]
    densities = []
    for turns, flip in ways:
        density = np.rot90(detector.detect(turned(image, turns, flip)).density, -turns)
        densities.append(density[::-1] if flip else density)
    assert np.ptp(densities, axis=0).max() > 0.01
    result = detector.detect(image, orientations=orientations)
    np.testing.assert_allclose(result.density, np.mean(densities, axis=0), atol=ROUNDING)
    maxima = result.density[tuple(result.points.astype(int).T)]
    np.testing.assert_allclose(maxima, result.scores, atol=ROUNDING)
    assert len(result) > 3


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_all_eight_find_the_same_however_the_image_lies(
    detector: Detector, image: NDArray[np.float32], turns: int, flip: bool
) -> None:
    here = detector.detect(image, orientations=8)
    there = detector.detect(turned(image, turns, flip), orientations=8)
    expected = turned(here.density, turns, flip)
    np.testing.assert_allclose(there.density, expected, atol=ROUNDING)
    assert len(here) == len(there)


def test_they_travel_with_the_settings_and_tell_of_progress(
    detector: Detector, image: NDArray[np.float32]
) -> None:
    expected = detector.detect(image, orientations=4)
    detector.settings = dataclasses.replace(detector.settings, orientations=4)
    progress: list[float] = []
    result = detector.detect(image, progress=progress.append)
    assert np.array_equal(result.points, expected.points)
    assert np.array_equal(result.density, expected.density)
    assert progress == sorted(progress)
    assert len(progress) >= 4
    assert progress[-1] == 1
    assert len(detector.detect(image, orientations=1)) != 0


def test_void_votes_are_counted_in_every_way(
    detector: Detector, image: NDArray[np.float32]
) -> None:
    with torch.no_grad():
        detector.net.head[-1].bias[0] = torch.nan  # type: ignore[index,union-attr]
    with pytest.warns(RuntimeWarning, match="votes were NaN"):
        result = detector.detect(image, orientations=2)
    assert result.num_void == 2 * 14 * 18


def test_a_capacity_gives_the_same_first_points(
    detector: Detector, image: NDArray[np.float32]
) -> None:
    settings = dataclasses.replace(SETTINGS, orientations=2)
    tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    with torch.no_grad():
        every = find_nuclei(detector.net, tensor, settings)
        first = find_nuclei(detector.net, tensor, settings, 1000)
    count = int(every.total)
    assert count == int(first.total) == len(every.points)
    assert torch.equal(first.points[:count], every.points)
    assert torch.equal(first.scores[:count], every.scores)


@pytest.mark.parametrize("value", [0, 3, 16, -1])
def test_other_numbers_are_refused(detector: Detector, value: int) -> None:
    with pytest.raises(ValueError, match="orientations must be 1, 2, 4 or 8"):
        detector.detect(np.zeros((40, 40, 3), np.uint8), orientations=value)


@pytest.mark.parametrize("orientations", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {"padding": "circular"},
        {"max_offset": 0.4},
        {"relative": True, "threshold": 1.0},
        {"min_distance": 9},
        {"sigma": 3.0},
        {"window": 3},
    ],
    ids=str,
)
def test_every_setting_counts_in_however_many(
    detector: Detector,
    image: NDArray[np.float32],
    changes: dict[str, Any],
    orientations: int,
) -> None:
    before = detector.detect(image, orientations=orientations)
    detector.settings = dataclasses.replace(detector.settings, **changes)
    after = detector.detect(image, orientations=orientations)
    assert not np.array_equal(after.points, before.points)
    if changes.get("relative"):
        assert after.scores.tolist() == [after.density.max()]
        assert len(after) < len(before)
