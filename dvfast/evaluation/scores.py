"""Precision, recall and F1 of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__: list[str] = []

_Numbers = NDArray[np.float64]


def scores_of_counts(
    true_positives: ArrayLike, detections: ArrayLike, found: ArrayLike, annotations: ArrayLike
) -> tuple[_Numbers, _Numbers, _Numbers]:
    """Precision, recall and F1, of numbers or of arrays of one shape.

    Where there is nothing to find and nothing was found, all are 1.
    """
    nothing = (np.asarray(detections) == 0) & (np.asarray(annotations) == 0)
    precision = np.where(nothing, 1.0, np.divide(true_positives, np.maximum(detections, 1)))
    recall = np.where(nothing, 1.0, np.divide(found, np.maximum(annotations, 1)))
    total = precision + recall
    return precision, recall, 2 * precision * recall / np.where(total > 0, total, 1.0)
