"""The threshold that separates nuclei from noise best on annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detection import DetectionResult
from ..evaluation import Evaluation, evaluate_points

__all__ = ["ALL_PEAKS", "best_threshold"]

# Low enough to keep every peak from which a threshold may be chosen.
ALL_PEAKS = 1e-3

# In units of a typical image's highest peak; the paper's ξ is 0.2.
_SHARES = np.linspace(0.05, 0.6, 23)


def best_threshold(
    found: Sequence[tuple[DetectionResult, NDArray[Any]]], radius: float, relative: bool = False
) -> tuple[float, Evaluation]:
    """Choose the threshold with the highest micro F1; of the longest row of such, the middle.

    A few images leave many that are equally good, the lowest of which are nearest to noise. An
    absolute threshold, unlike one relative to the highest peak, finds nothing in an image where
    there is nothing.

    Parameters
    ----------
    found
        All peaks of every image, however low, and its annotations.
    radius
        Of the ground-truth circles, in pixels of the images.
    relative
        Whether to choose a share of every image's highest peak instead.

    Returns
    -------
    threshold : float
        In units of the scores, or the share.
    evaluation : Evaluation
        With that threshold.
    """
    highest = [result.scores.max() for result, _ in found if len(result)]
    typical = float(np.median(highest)) if highest else 0.0
    tried = []
    # Where nothing was found, an absolute one of 0 would find everything.
    for threshold in _SHARES if relative else np.maximum(_SHARES * typical, ALL_PEAKS):
        pairs = []
        for result, points in found:
            unit = result.scores.max(initial=0) if relative else 1
            pairs.append((result.points[result.scores >= threshold * unit], points))
        tried.append((float(threshold), evaluate_points(pairs, radius)))
    best = max(evaluation.micro.f1 for _, evaluation in tried)
    rows = groupby(tried, key=lambda item: item[1].micro.f1 == best)
    longest = max((list(row) for is_best, row in rows if is_best), key=len)
    return longest[(len(longest) - 1) // 2]
