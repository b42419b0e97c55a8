"""The threshold that validation chooses."""

from __future__ import annotations

import numpy as np
import pytest

from dvfast.detection import DetectionResult
from dvfast.training.threshold import ALL_PEAKS, best_threshold


def result(points: list[list[float]], scores: list[float]) -> DetectionResult:
    return DetectionResult(
        points=np.array(points, dtype=float).reshape(-1, 2),
        scores=np.array(scores, dtype=float),
        density=np.zeros((1, 1), np.float32),
        image=np.zeros((1, 1), np.uint8),
    )


def test_separates_noise_from_nuclei() -> None:
    truth = np.array([[10.0, 10.0], [50.0, 50.0]])
    noisy = result([[10, 10], [50, 50], [80, 80], [90, 20]], [4.0, 1.5, 0.7, 0.6])
    threshold, evaluation = best_threshold([(noisy, truth)], radius=3)
    assert 0.7 < threshold <= 1.5
    assert evaluation.micro.f1 == 1


def test_is_the_middle_of_those_that_are_equally_good() -> None:
    truth = np.array([[10.0, 10.0], [50.0, 50.0]])
    clear = result([[10, 10], [50, 50], [80, 80]], [4.0, 3.0, 0.5])
    threshold, evaluation = best_threshold([(clear, truth)], radius=3)
    # The shares of 4 that are tried go up to 0.6.
    assert threshold == pytest.approx((0.5 + 2.4) / 2, abs=0.1)
    assert evaluation.micro.f1 == 1
    # As good above 1.9 as up to 1.7, and worse between them: the longer row counts.
    islands = result([[10, 10], [80, 80], [20, 80], [50, 50]], [4.0, 1.9, 1.8, 1.7])
    threshold, evaluation = best_threshold([(islands, truth)], radius=3)
    assert threshold == pytest.approx((0.2 + 1.7) / 2, abs=0.1)
    assert evaluation.micro.f1 == pytest.approx(2 / 3)


def test_keeps_faint_nuclei_where_they_are_true() -> None:
    truth = np.array([[10.0, 10.0], [50.0, 50.0]])
    faint = result([[10, 10], [50, 50]], [4.0, 0.4])
    threshold, evaluation = best_threshold([(faint, truth)], radius=3)
    assert threshold <= 0.4
    assert evaluation.micro.f1 == 1


def test_a_relative_one_follows_every_image() -> None:
    truth = np.array([[10.0, 10.0], [50.0, 50.0]])
    bright = result([[10, 10], [50, 50], [80, 80]], [4.0, 2.0, 1.0])
    dark = result([[10, 10], [50, 50], [80, 80]], [0.4, 0.2, 0.1])
    found = [(bright, truth), (dark, truth), (result([], []), np.zeros((0, 2)))]
    threshold, evaluation = best_threshold(found, radius=3, relative=True)
    assert 0.25 < threshold <= 0.5
    assert evaluation.micro.f1 == 1
    assert best_threshold(found, radius=3)[1].micro.f1 < 1


def test_where_nothing_is_found_it_does_not_let_everything_in() -> None:
    truth = np.array([[10.0, 10.0]])
    threshold, evaluation = best_threshold([(result([], []), truth)], radius=3)
    assert threshold == ALL_PEAKS
    assert evaluation.micro.f1 == 0
