"""Scores of a method on a data set, how far they can be trusted, and how methods differ.

Everything is computed from four counts per image, so that a resample of the images is a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    "image_scores",
    "interval_of",
    "micro_f1",
    "summarise",
]

Average = Literal["micro", "macro"]

_RESAMPLES = 9999
_CONFIDENCE = 0.95

_Counts = NDArray[np.float64]  # [4, seeds, images]: true positives, detections, found, annotations
_Statistic = Callable[[NDArray[np.intp]], NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval of 95 %; NaN where there are fewer than two images."""

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
        Of F1, over images.
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
        micro_interval=interval_of(lambda images: micro_f1(counts, images), counts.shape[-1]),
        macro_interval=interval_of(lambda images: _macro_f1(counts, images), counts.shape[-1]),
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
    """F1 of `ours` less that of `theirs`, with its interval over resamples of the same images."""
    mean = micro_f1 if average == "micro" else _macro_f1
    first, second = (counts_of(record, entries, condition) for entries in (ours, theirs))

    def statistic(images: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(mean(first, images) - mean(second, images))

    count = first.shape[-1]
    return Difference(float(statistic(np.arange(count))), interval_of(statistic, count))


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


def image_scores(
    record: dict[str, Any], entries: Sequence[dict[str, Any]], condition: Condition
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of every image, ``[seeds, images]`` each."""
    return scores_of_counts(*counts_of(record, entries, condition))


def interval_of(statistic: _Statistic, count: int) -> Interval:
    """The interval of a statistic of images, by the percentiles of resamples of the images.

    Parameters
    ----------
    statistic
        From indices ``[..., n]`` of images to values ``[...]``.
    count
        Of the images.
    """
    if count < 2:
        return Interval(math.nan, math.nan)
    result = bootstrap(
        (np.arange(count),),
        lambda images, axis: statistic(images),
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=1000,
        confidence_level=_CONFIDENCE,
        # Not BCa, which is undefined where all images are alike.
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(result.low), float(result.high))


def micro_f1(counts: _Counts, images: NDArray[np.intp]) -> NDArray[np.float64]:
    """F1 of the sums over images ``[..., n]``, averaged over seeds: ``[...]``."""
    return np.asarray(scores_of_counts(*counts[:, :, images].sum(-1))[2].mean(0))


def _macro_f1(counts: _Counts, images: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.asarray(scores_of_counts(*counts)[2].mean(0)[images].mean(-1))


def _distance(entries: Sequence[dict[str, Any]], condition: Condition) -> Spread:
    matched = [image["matches"][condition.key] for entry in entries for image in entry["images"]]
    pairs, _, total, squares = np.sum(matched, axis=0)
    if not pairs:
        return Spread(math.nan, math.nan)
    mean = total / pairs
    return Spread(float(mean), math.sqrt(max(0.0, squares / pairs - mean**2)))


def _spread(values: NDArray[np.float64]) -> Spread:
    return Spread(float(values.mean()), float(values.std()))
