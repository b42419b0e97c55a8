"""Peaks with a shape that is known beforehand: those of find_peaks, as far as they fit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from support import LAYOUTS, REAL_DTYPES, generator, over_threads
from torch import Tensor

import dvfast


def random_density(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=generator(0), dtype=torch.float64).to(dtype)


def assert_first_of_all(density: Tensor, capacity: int, **settings: Any) -> None:
    expected, expected_scores = dvfast.find_peaks(density, **settings)
    points, scores, count = dvfast.find_first_peaks(density, capacity, **settings)
    assert points.shape == (capacity, 2)
    assert scores.shape == (capacity,)
    assert points.dtype == scores.dtype == density.dtype
    assert points.device == scores.device == count.device == density.device
    assert count.dtype == torch.int64
    assert count.tolist() == [len(expected)]
    found = min(capacity, len(expected))
    assert torch.equal(points[:found], expected[:found])
    assert torch.equal(scores[:found], expected_scores[:found])
    assert (points[found:] == -1).all()
    assert not scores[found:].any()


@pytest.mark.parametrize("settings", [{}, {"min_distance": 3}, {"threshold": 0.7}], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "every_second"])
@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_they_are_the_first_of_all(
    device: torch.device, dtype: torch.dtype, layout: str, settings: dict[str, Any]
) -> None:
    density = LAYOUTS[layout](random_density(19, 23, dtype=dtype).to(device))
    total = len(dvfast.find_peaks(density, **settings)[0])
    assert total > 5
    for capacity in (0, 1, total - 1, total, total + 1, 3 * total):
        assert_first_of_all(density, capacity, **settings)


def test_every_capacity(device: torch.device) -> None:
    density = (
        torch.randint(0, 9, (8, 9), generator=generator(0)).float().to(device)
    )  # with plateaus
    for capacity in range(30):
        assert_first_of_all(density, capacity)


@pytest.mark.parametrize("capacity", [0, 1, 5])
def test_maps_with_one_peak_or_none(device: torch.device, capacity: int) -> None:
    for shape in ((0, 0), (0, 7), (7, 0), (1, 1), (4, 5)):
        for value in (0.0, -1.0, 1.0, math.nan, math.inf):
            assert_first_of_all(torch.full(shape, value, device=device), capacity)


def test_what_is_no_peak_is_not_read(device: torch.device) -> None:
    # The place of a missing peak is that of the first pixel, which may be anything.
    density = torch.tensor([[math.nan, 0.0, 2.0], [0.0, 0.0, 0.0]], device=device)
    density.requires_grad_()
    points, scores, count = dvfast.find_first_peaks(density, 3)
    assert points.tolist() == [[0.0, 2.0], [-1.0, -1.0], [-1.0, -1.0]]
    assert scores.tolist() == [2.0, 0.0, 0.0]
    assert count.tolist() == [1]
    (gradient,) = torch.autograd.grad(scores.sum(), density)
    assert gradient.tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("capacity", [0, 1, 2, 4])
def test_scores_are_differentiable(device: torch.device, capacity: int) -> None:
    density = torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]], device=device).requires_grad_()
    points, scores, count = dvfast.find_first_peaks(density, capacity)
    assert not points.requires_grad
    assert not count.requires_grad
    expected = torch.zeros_like(density)
    if capacity > 0:
        expected[0, 0] = 2
    if capacity > 1:
        expected[0, 2] = 6
    (gradient,) = torch.autograd.grad(scores.square().sum(), density, allow_unused=True)
    assert torch.equal(torch.zeros_like(density) if gradient is None else gradient, expected)


def test_threads_change_nothing(device: torch.device) -> None:
    density = torch.randint(0, 30, (301, 203), generator=generator(0)).float().to(device)
    one, *others = over_threads(lambda: dvfast.find_first_peaks(density, 100))
    assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiles_whole_and_without_shapes_that_depend_on_data(
    device: torch.device, dynamic: bool
) -> None:
    torch._dynamo.reset()

    def run(density: Tensor) -> tuple[Tensor, ...]:
        points, scores, count = dvfast.find_first_peaks(density * 2, 40, threshold=0.3)
        return points + 1, scores.square(), count

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(run, fullgraph=True, backend=counter, dynamic=dynamic)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=False):
        # One compilation serves images of one size, however many peaks they have.
        for peaks in (random_density(14, 17), torch.zeros(14, 17), random_density(14, 17).flip(0)):
            density = peaks.to(device).requires_grad_()
            results, expected = compiled(density), run(density)
            for actual, wanted in zip(results, expected, strict=True):
                torch.testing.assert_close(actual, wanted)
            actual, wanted = (
                torch.autograd.grad(result[1].sum(), density)[0] for result in (results, expected)
            )
            assert torch.equal(actual, wanted)
    assert counter.frame_count == 1


def test_errors() -> None:
    density = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="capacity must be at least 0, got -1"):
        dvfast.find_first_peaks(density, -1)
    with pytest.raises(ValueError, match=r"density must be \[H, W\], got \[1, 2, 3\]"):
        dvfast.find_first_peaks(density[None], 4)
    with pytest.raises(ValueError, match="threshold must be a number, got NaN"):
        dvfast.find_first_peaks(density, 4, threshold=math.nan)
    with pytest.raises(ValueError, match="min_distance must be at least 1, got 0"):
        dvfast.find_first_peaks(density, 4, min_distance=0)
    for dtype in (torch.int64, torch.bfloat16):
        with pytest.raises(RuntimeError, match=r"density must be one of float32, float64, got"):
            dvfast.find_first_peaks(density.to(dtype), 4)
    with pytest.raises(RuntimeError, match="capacity must not be negative, got -1"):
        torch.ops.dvfast.find_first_peaks(density, 0.2, True, 1, -1)
