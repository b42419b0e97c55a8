"""Scores, intervals and differences against what is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hand_made_record import RADIUS, entry, record
from numpy.typing import NDArray

from dvfast.evaluation import evaluate_points
from dvfast.evaluation.scores import scores_of_counts
from dvfast.reproduce import statistics
from dvfast.reproduce.records import CONDITIONS, PRIMARY, Condition
from dvfast.reproduce.statistics import Average, counts_of, difference, interval_of, summarise


def scattered(seed: int, images: int = 7) -> tuple[list[Any], list[Any]]:
    """Annotations, and detections that are near some of them; an image without either, too."""
    rng = np.random.default_rng(seed)
    truths = [rng.uniform(0, 100, (rng.integers(3, 12), 2)) for _ in range(images)]
    found = [truth[2:] + rng.normal(0, 5, truth[2:].shape) for truth in truths]
    nothing = np.empty((0, 2))
    return [*truths, nothing, truths[0], nothing], [*found, nothing, nothing, found[0]]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.key)
def test_figures_are_those_of_the_evaluation(condition: Condition) -> None:
    truths, found = scattered(0)
    row = summarise(record(truths, {}), [entry(found, truths)], condition)
    pairs = list(zip(found, truths, strict=True))
    expected = evaluate_points(pairs, condition.share * RADIUS, condition.mode)
    for ours, theirs in (
        (row.micro, expected.micro),
        (row.macro, expected.macro),
        (row.distance, expected.distance),
        (row.count_error, expected.count_error),
        (row.missed, expected.missed),
    ):
        assert list(vars(ours).values()) == pytest.approx(list(vars(theirs).values()), abs=1e-6)
    assert row.micro_interval.low < row.micro.f1 < row.micro_interval.high
    assert row.macro_interval.low < row.macro.f1 < row.macro_interval.high


def test_images_that_are_all_alike_leave_no_doubt() -> None:
    truths = [[(10, 10), (50, 50)]] * 5
    row = summarise(record(truths, {}), [entry([[(10, 11)]] * 5, truths)], PRIMARY)
    assert row.micro.f1 == pytest.approx(2 / 3)
    for interval in (row.micro_interval, row.macro_interval):
        assert (interval.low, interval.high) == pytest.approx((2 / 3, 2 / 3))


def test_one_image_says_nothing_of_others() -> None:
    row = summarise(record([[(1, 1)]], {}), [entry([[(1, 1)]], [[(1, 1)]])], PRIMARY)
    assert row.micro.f1 == 1
    assert np.isnan([row.micro_interval.low, row.micro_interval.high, row.seed_spread]).all()


def test_nothing_found_at_all() -> None:
    truths = [[(1, 1)], [(2, 2)]]
    row = summarise(record(truths, {}), [entry([[], []], truths)], PRIMARY)
    assert (row.micro.f1, row.micro.precision, row.micro_interval.high) == (0, 0, 0)
    assert np.isnan(row.distance.mean)


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_RESAMPLES", 999)
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        values = rng.exponential(1.0, 60)
        interval = interval_of(lambda images, values=values: values[images].mean(-1), 60)
        hits += interval.low <= 1.0 <= interval.high
    assert 176 <= hits <= 198  # 95 % of 200 is 190


def test_seeds_are_averaged_and_their_spread_is_told() -> None:
    truths = [[(10, 10)], [(50, 50)]]
    whole, half = entry(truths, truths), entry([truths[0], [(90, 90)]], truths)
    row = summarise(record(truths, {}), [whole, half], PRIMARY)
    assert row.micro.f1 == pytest.approx(0.75)
    assert row.seed_spread == pytest.approx(np.std([1, 0.5], ddof=1))
    assert row.micro_interval.high == 1


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_seeds_are_resampled_with_the_images(average: Average) -> None:
    """Against resamples one by one: of images and seeds for both methods, which share them."""
    truths, first = scattered(3)
    found = [[first, scattered(4)[1], first[::-1]], [scattered(5)[1], scattered(6)[1], first]]
    entries = [[entry(points, truths) for points in of] for of in found]
    table = record(truths, {})
    counts = [counts_of(table, of, PRIMARY) for of in entries]

    def f1(of: NDArray[np.float64], seeds: NDArray[Any], images: NDArray[Any]) -> float:
        drawn = of[:, seeds][:, :, images]
        if average == "micro":
            return float(scores_of_counts(*drawn.sum(-1))[2].mean())
        return float(scores_of_counts(*drawn)[2].mean())

    rng = np.random.default_rng(0)
    rows, gaps, unequal = [], [], []
    for _ in range(4000):
        seeds, images = rng.integers(0, 3, 3), rng.integers(0, len(truths), len(truths))
        ours, theirs = (f1(of, seeds, images) for of in counts)
        rows.append(ours)
        gaps.append(ours - theirs)
        unequal.append(ours - f1(counts[1][:, :2], rng.integers(0, 2, 2), images))
    row = summarise(table, entries[0], PRIMARY)
    gap = difference(table, *entries, PRIMARY, average)
    fewer = difference(table, entries[0], entries[1][:2], PRIMARY, average)
    for interval, values in (
        (row.micro_interval if average == "micro" else row.macro_interval, rows),
        (gap.interval, gaps),
        (fewer.interval, unequal),
    ):
        expected = np.percentile(values, (2.5, 97.5))
        assert [interval.low, interval.high] == pytest.approx(expected, abs=0.015)
    single = difference(table, entries[0][:1], entries[1][:1], PRIMARY, average)
    assert single.interval.high - single.interval.low > 0


def test_a_method_does_not_differ_from_itself() -> None:
    truths, found = scattered(2)
    one = [entry(found, truths)]
    same = difference(record(truths, {}), one, one, PRIMARY)
    assert (same.value, same.interval.low, same.interval.high) == (0, 0, 0)
    assert not same.is_clear


def test_differences_are_paired() -> None:
    """Images differ far more than the methods do: only in pairs does it show."""
    truths = [[(10, 10 * i) for i in range(1, 11)]] * 10
    better = [truths[0][: i + 1] for i in range(10)]
    worse = [points[:-1] for points in better]
    table = record(truths, {})
    ours, theirs = [entry(better, truths)], [entry(worse, truths)]
    gap = difference(table, ours, theirs, PRIMARY)
    rows = [summarise(table, of, PRIMARY) for of in (ours, theirs)]
    assert gap.value == pytest.approx(rows[0].micro.f1 - rows[1].micro.f1)
    assert gap.is_clear
    assert gap.interval.low > 0
    assert rows[0].micro_interval.low < rows[1].micro_interval.high
    back = difference(table, theirs, ours, PRIMARY, "macro")
    assert back.value < 0
    assert back.is_clear
