"""Scores of a method on a data set, how far they can be trusted, and how methods differ.

Everything is computed from four counts per image and seed, so that a resample of the images is a
sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from ..evaluation import Scores, Spread
from ..evaluation.scores import scores_of_counts
from .records import Condition

__all__ = [
    "Average",
    "Difference",
    "Interval",
    "Row",
    "counts_of",
    "difference",
    "f1_of",
    "image_scores",
    "interval_of",
    "summarise",
]

Average = Literal["micro", "macro"]

_RESAMPLES = 9999
_CONFIDENCE = 0.95

_Counts = NDArray[np.float64]  # [4, seeds, images]: true positives, detections, found, annotations
_Indices = NDArray[np.intp]  # [..., n], for every resample
_Statistic = Callable[..., NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval of 95 %, over images and seeds; NaN where there is one image alone."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A difference of F1 on the same images: one method's less another's."""

    value: float
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class Row:
    """A method under one condition: means over the seeds.

    Attributes
    ----------
    micro, macro : Scores
        Of the sums over images, and means over images.
    micro_interval, macro_interval : Interval
        Of F1, over images, and over seeds where there are several.
    seed_f1 : tuple of float
        Micro F1 of every seed.
    seed_spread : float
        The standard deviation of micro F1 over seeds; NaN for one seed.
    distance, count_error, missed : Spread
        As in :class:`dvfast.evaluation.Evaluation`, over the images of all seeds.
    """

    micro: Scores
    macro: Scores
    micro_interval: Interval
    macro_interval: Interval
    seed_f1: tuple[float, ...]
    seed_spread: float
    distance: Spread
    count_error: Spread
    missed: Spread


def summarise(
    record: dict[str, Any], entries: Sequence[dict[str, Any]], condition: Condition
) -> Row:
    """The figures of a method, from its entries of all seeds in a record."""
    counts = counts_of(record, entries, condition)
    scores = {
        "micro": scores_of_counts(*counts.sum(-1)),
        "macro": [score.mean(-1) for score in scores_of_counts(*counts)],
    }
    means = {name: Scores(*(float(score.mean()) for score in of)) for name, of in scores.items()}
    seeds = scores["micro"][2]
    true_positives, detections, _, annotations = counts
    return Row(
        **means,
        micro_interval=interval_of(partial(_micro_f1, counts), *counts.shape[:0:-1]),
        macro_interval=interval_of(partial(_macro_f1, counts), *counts.shape[:0:-1]),
        seed_f1=tuple(seeds.tolist()),
        seed_spread=float(seeds.std(ddof=1)) if len(seeds) > 1 else math.nan,
        distance=_distance(entries, condition),
        count_error=_spread(np.abs(annotations - detections)),
        missed=_spread(np.abs(annotations - true_positives)),
    )


def difference(
    record: dict[str, Any],
    ours: Sequence[dict[str, Any]],
    theirs: Sequence[dict[str, Any]],
    condition: Condition,
    average: Average = "micro",
) -> Difference:
    """F1 of `ours` less that of `theirs`, with its interval over resamples of the same images.

    And of the same seeds, which draw the same validation part, where both have as many.
    """
    mean = _micro_f1 if average == "micro" else _macro_f1
    first, second = (counts_of(record, entries, condition) for entries in (ours, theirs))
    seeds = [counts.shape[1] for counts in (first, second)]
    paired = seeds[0] == seeds[1]

    def statistic(images: _Indices, *drawn: _Indices) -> NDArray[np.float64]:
        of_both = drawn * 2 if paired else drawn
        return np.asarray(mean(first, images, of_both[0]) - mean(second, images, of_both[1]))

    sizes = (first.shape[-1], *(seeds[:1] if paired else seeds))
    value = float(statistic(*map(np.arange, sizes)))
    return Difference(value, interval_of(statistic, *sizes))


def counts_of(
    record: dict[str, Any], entries: Sequence[dict[str, Any]], condition: Condition
) -> _Counts:
    """``[4, seeds, images]``: true positives, detections, annotations found, annotations."""
    annotations = [image["annotations"] for image in record["test"]]
    counts = []
    for entry in entries:
        matched = [image["matches"][condition.key] for image in entry["images"]]
        detections = [len(image["points"]) for image in entry["images"]]
        true_positives, found = ([match[i] for match in matched] for i in (0, 1))
        counts.append((true_positives, detections, found, annotations))
    return np.asarray(np.array(counts, dtype=np.float64).swapaxes(0, 1))


def f1_of(counts: _Counts) -> float:
    """F1 of the sums over images, averaged over seeds."""
    return float(scores_of_counts(*counts.sum(-1))[2].mean())


def image_scores(
    record: dict[str, Any], entries: Sequence[dict[str, Any]], condition: Condition
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of every image, ``[seeds, images]`` each."""
    return scores_of_counts(*counts_of(record, entries, condition))


def interval_of(statistic: _Statistic, *sizes: int) -> Interval:
    """The interval of a statistic, by the percentiles of resamples.

    Parameters
    ----------
    statistic
        ``statistic(images, *seeds)``, from indices ``[..., n]`` to values ``[...]``.
    sizes
        How many images there are, and how many seeds. A single seed is not resampled: it says
        nothing of others.
    """
    if sizes[0] < 2:
        return Interval(math.nan, math.nan)
    varied = [i for i, size in enumerate(sizes) if size > 1]

    def of_resamples(*drawn: _Indices, axis: int) -> NDArray[np.float64]:
        indices = [np.zeros((*drawn[0].shape[:-1], 1), np.intp)] * len(sizes)
        for i, which in zip(varied, drawn, strict=True):
            indices[i] = which
        return statistic(*indices)

    result = bootstrap(
        tuple(np.arange(sizes[i]) for i in varied),
        of_resamples,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=1000,
        confidence_level=_CONFIDENCE,
        # Not BCa, which is undefined where all images are alike.
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(result.low), float(result.high))


def _micro_f1(counts: _Counts, images: _Indices, seeds: _Indices) -> NDArray[np.float64]:
    """F1 of the sums over images ``[..., n]``, averaged over seeds ``[..., m]``: ``[...]``."""
    return _mean_of(scores_of_counts(*counts[:, :, images].sum(-1))[2], seeds)


def _macro_f1(counts: _Counts, images: _Indices, seeds: _Indices) -> NDArray[np.float64]:
    return _mean_of(scores_of_counts(*counts)[2][:, images].mean(-1), seeds)


def _mean_of(values: NDArray[np.float64], seeds: _Indices) -> NDArray[np.float64]:
    """``[seeds, ...]``, of which every resample has its own."""
    of_each = np.moveaxis(values, 0, -1)
    return np.asarray(np.take_along_axis(of_each, seeds, axis=-1).mean(-1))


def _distance(entries: Sequence[dict[str, Any]], condition: Condition) -> Spread:
    matched = [image["matches"][condition.key] for entry in entries for image in entry["images"]]
    pairs, _, total, squares = np.sum(matched, axis=0)
    if not pairs:
        return Spread(math.nan, math.nan)
    mean = total / pairs
    return Spread(float(mean), math.sqrt(max(0.0, squares / pairs - mean**2)))


def _spread(values: NDArray[np.float64]) -> Spread:
    return Spread(float(values.mean()), float(values.std()))
