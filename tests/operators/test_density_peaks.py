"""Density and peaks by one operator: the bits of the two that it takes the place of."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from support import LAYOUTS, REAL_DTYPES, over_threads, random_votes
from torch import Tensor

import dvfast
from dvfast.detection.peaks import Peaks, density_peaks

# Windows and distances of one pass and, on a GPU, of two: a tile's margin has to fit.
RULES: list[dict[str, Any]] = [
    {},
    {"sigma": 3.5, "window": 21, "min_distance": 6},
    {"threshold": 0.4, "relative": False, "min_distance": 2, "max_offset": 4.0},
    {"sigma": 0.01, "window": 1, "min_distance": 3, "threshold": 0.0},  # with plateaus
    {"min_distance": 17},
    {"sigma": 40.0, "window": 255, "min_distance": 9},
]


def one_by_one(
    votes: Tensor, size: tuple[int, int], settings: dvfast.DetectionSettings
) -> tuple[Tensor, Tensor, Tensor]:
    density = dvfast.vote_density(
        votes,
        size,
        sigma=settings.sigma,
        window=settings.window,
        stride=settings.stride,
        max_offset=settings.max_offset,
    )
    density = density[0] * settings.stride**2
    return density, *dvfast.find_peaks(
        density,
        threshold=settings.threshold,
        relative=settings.relative,
        min_distance=settings.min_distance,
    )


def assert_same(found: Peaks, expected: tuple[Tensor, Tensor, Tensor], votes: Tensor) -> None:
    density, points, scores = expected
    assert torch.equal(found.density, density)
    assert torch.equal(found.points[: len(points)], points)
    assert torch.equal(found.scores[: len(points)], scores)
    assert (found.points[len(points) :] == -1).all()
    assert not found.scores[len(points) :].any()
    assert found.total.tolist() == [len(points)]
    assert torch.equal(found.num_void, dvfast.functional.count_void_votes(votes))
    for ours, theirs in zip(found, (density, points, scores), strict=False):
        assert ours.dtype == theirs.dtype
        assert ours.device == votes.device


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_density_and_peaks_are_those_of_two_steps(
    device: torch.device, dtype: torch.dtype, layout: str, rules: dict[str, Any], stride: int
) -> None:
    settings = dvfast.DetectionSettings(stride=stride, **rules)
    votes = LAYOUTS[layout](random_votes((1, 6, 22, 25), 0, dtype).to(device))
    size = (22 * stride - 1, 25 * stride)
    expected = one_by_one(votes, size, settings)
    assert len(expected[1]) > 0
    assert_same(density_peaks(votes, size, settings), expected, votes)
    for room in (len(expected[1]), len(expected[1]) + 7):
        assert_same(density_peaks(votes, size, settings, room), expected, votes)
    first = density_peaks(votes, size, settings, 1)
    assert torch.equal(first.points, expected[1][:1])
    assert first.total.tolist() == [len(expected[1])]


@pytest.mark.parametrize("capacity", [None, 0, 5])
@pytest.mark.parametrize("size", [(0, 0), (0, 7), (7, 0), (1, 1), (1, 90), (70, 1)])
def test_maps_of_any_size(
    device: torch.device, size: tuple[int, int], capacity: int | None
) -> None:
    settings = dvfast.DetectionSettings(min_distance=2)
    votes = random_votes((1, 3, *size)).to(device)
    expected = one_by_one(votes, size, settings)
    found = density_peaks(votes, size, settings, capacity)
    assert torch.equal(found.density, expected[0])
    assert found.total.tolist() == [len(expected[1])]
    room = len(expected[1]) if capacity is None else capacity
    assert found.points.shape == (room, 2)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_votes_that_are_nothing_or_void(device: torch.device, value: float) -> None:
    votes = torch.zeros(1, 3, 20, 70, device=device)
    votes[:, 0] = value
    settings = dvfast.DetectionSettings()
    assert_same(
        density_peaks(votes, (20, 70), settings), one_by_one(votes, (20, 70), settings), votes
    )
    assert density_peaks(votes, (20, 70), settings).total.tolist() == [0]


def test_a_plateau_counts_once(device: torch.device) -> None:
    # Over the tiles of the CUDA kernel, and around a corner.
    votes = torch.zeros(1, 3, 40, 140, device=device)
    votes[0, 0, 20, 3:130] = 0.5
    votes[0, 0, 20:, 129] = 0.5
    settings = dvfast.DetectionSettings(sigma=0.5, window=1)
    assert density_peaks(votes, (40, 140), settings).points.tolist() == [[20.0, 3.0]]
    votes[0, 0, 39, 130] = 0.75  # beside its last pixel
    assert density_peaks(votes, (40, 140), settings).points.tolist() == [[39.0, 130.0]]


def test_threads_change_nothing(device: torch.device) -> None:
    votes = random_votes((1, 6, 90, 110)).to(device)
    settings = dvfast.DetectionSettings(sigma=2.0, window=9, min_distance=3)
    one, *others = over_threads(lambda: tuple(density_peaks(votes, (90, 110), settings, 500)))
    assert all(torch.equal(one, other) for other in others)


def test_autocast_keeps_float32(device: torch.device) -> None:
    votes = random_votes((1, 6, 20, 30)).to(device)
    settings = dvfast.DetectionSettings()
    with torch.autocast(device.type, torch.bfloat16):
        found = density_peaks(votes.bfloat16(), (20, 30), settings)
    assert_same(found, one_by_one(votes.bfloat16().float(), (20, 30), settings), votes)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("capacity", [None, 40])
def test_compiles_whole(device: torch.device, capacity: int | None, dynamic: bool) -> None:
    torch._dynamo.reset()
    settings = dvfast.DetectionSettings(window=3, min_distance=2)

    def run(votes: Tensor) -> tuple[Tensor, ...]:
        found = density_peaks(votes * 2, (14, 17), settings, capacity)
        return found.density + 1, found.points, found.scores.square(), found.total

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(run, fullgraph=True, backend=counter, dynamic=dynamic)
    compilations = []
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=capacity is None):
        for votes in (random_votes((1, 6, 14, 17)), torch.zeros(1, 6, 14, 17)):
            on_device = votes.to(device)
            for actual, wanted in zip(compiled(on_device), run(on_device), strict=True):
                assert torch.equal(actual, wanted)
            compilations.append(counter.frame_count)
    assert compilations[0] == compilations[1]  # what serves one image serves all of its size


def test_has_no_gradient(device: torch.device) -> None:
    votes = random_votes((1, 6, 9, 9)).to(device).requires_grad_()
    found = density_peaks(votes, (9, 9), dvfast.DetectionSettings())
    with pytest.raises(NotImplementedError, match=r"density_peaks has no gradient.*vote_density"):
        found.density.sum().backward()


def test_errors() -> None:
    votes = torch.zeros(1, 6, 4, 4)
    settings = dvfast.DetectionSettings()
    with pytest.raises(ValueError, match="capacity must be at least 0, got -1"):
        density_peaks(votes, (4, 4), settings, -1)
    with pytest.raises(RuntimeError, match=r"votes must be those of one image.*got float32 \[2, "):
        density_peaks(votes.expand(2, 6, 4, 4), (4, 4), settings)
    with pytest.raises(RuntimeError, match="votes must have 3k channels"):
        density_peaks(votes[:, :4], (4, 4), settings)
    with pytest.raises(RuntimeError, match="votes must be one of float32, float64, got"):
        density_peaks(votes.half(), (4, 4), settings)
    with pytest.raises(RuntimeError, match="size must not be negative, got -1 x 4"):
        density_peaks(votes, (-1, 4), settings)
    op = torch.ops.dvfast.density_peaks
    rules = (4, 4, 1.0, 5, 1, 0.0, 0.0, math.inf, 0, 1.0)
    with pytest.raises(RuntimeError, match="threshold must be a number, got NaN"):
        op(votes, *rules, math.nan, True, 1, 4)
    with pytest.raises(RuntimeError, match="min_distance must be at least 1, got 0"):
        op(votes, *rules, 0.2, True, 0, 4)
