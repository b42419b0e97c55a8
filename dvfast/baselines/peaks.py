"""Maxima that keep a distance from each other."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ..functional import find_peaks
from ._arguments import check_at_least

__all__ = ["greedy_maxima", "suppress_neighbours"]


def greedy_maxima(
    response: NDArray[np.float64], threshold: float, min_distance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the highest maximum, drop all others near it, take the next, and so on.

    Parameters
    ----------
    response : numpy.ndarray [H, W], float64
    threshold : float
        The least response of a maximum, >= 0; a response of 0 is never one. The result is that of
        a lower threshold without what falls below.
    min_distance : float
        In pixels, >= 0: of two maxima nearer than this the lower one goes.

    Returns
    -------
    points : numpy.ndarray [n, 2], float64
        (y, x), highest first; among equal ones, in raster order.
    scores : numpy.ndarray [n], float64
        The response there.

    Examples
    --------
    >>> import numpy as np
    >>> points, scores = greedy_maxima(np.array([[0.0, 5, 0, 4, 0, 0, 3]]), 1, min_distance=3)
    >>> points.tolist(), scores.tolist()
    ([[0.0, 1.0], [0.0, 6.0]], [5.0, 3.0])
    """
    check_at_least(0, threshold=threshold, min_distance=min_distance)
    found, values = find_peaks(torch.from_numpy(response), threshold=threshold, relative=False)
    points = found.double().numpy()
    scores = values.double().numpy()
    order = np.flatnonzero(scores > 0)
    order = order[np.argsort(-scores[order], kind="stable")]
    points, scores = points[order], scores[order]
    kept = suppress_neighbours(points, min_distance)
    return points[kept], scores[kept]


def suppress_neighbours(points: NDArray[np.float64], min_distance: float) -> NDArray[np.bool_]:
    """Which points are kept when every point drops the later ones near it, the first point first.

    A point that is dropped drops none. Time grows as n log n and with the number of pairs within
    the distance.

    Parameters
    ----------
    points : numpy.ndarray [n, 2], float64
        The most important first.
    min_distance : float
        In pixels, >= 0: the kept points are at least this far apart.

    Returns
    -------
    numpy.ndarray [n], bool

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    >>> suppress_neighbours(points, min_distance=3).tolist()
    [True, False, True]
    """
    kept = np.ones(len(points), dtype=bool)
    if len(points) < 2 or min_distance == 0:
        return kept
    # The tree takes pairs up to and including the distance it is given.
    within = KDTree(points).query_pairs(np.nextafter(min_distance, 0), output_type="ndarray")
    stronger, weaker = within.min(axis=1), within.max(axis=1)
    # One point after the other would be a loop over all of them. In rounds: who has no stronger
    # neighbour left is kept for good, and its neighbours go. The outcome is the same.
    while len(stronger):
        contested = np.zeros(len(points), dtype=bool)
        contested[weaker] = True
        kept[weaker[~contested[stronger]]] = False
        left = kept[stronger] & kept[weaker]
        stronger, weaker = stronger[left], weaker[left]
    return kept
