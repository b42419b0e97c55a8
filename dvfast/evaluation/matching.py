"""Which detection is which annotated nucleus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from ..data.points import check_points
from ..errors import InputError

__all__ = ["MatchMode", "Matching", "match_points"]

MatchMode = Literal["one-to-one", "literal"]


@dataclass(frozen=True, eq=False)
class Matching:
    """How the detections of an image meet its annotations.

    Attributes
    ----------
    pairs : numpy.ndarray [m, 2], int64
        (index of the detection, index of the annotation), sorted by detection.
    distances : numpy.ndarray [m], float64
        The distance of each pair in pixels.
    displacements : numpy.ndarray [m, 2], float64
        The way (y, x) from the annotation of each pair to its detection, in pixels.
    true_positives : int
        Detections that count as right: m.
    false_positives : int
        The other detections.
    found : int
        Annotations that were detected. One-to-one this equals `true_positives`.
    false_negatives : int
        The other annotations.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    displacements: NDArray[np.float64]
    true_positives: int
    false_positives: int
    found: int
    false_negatives: int


def match_points(
    detections: ArrayLike | torch.Tensor,
    annotations: ArrayLike | torch.Tensor,
    radius: float,
    *,
    mode: MatchMode = "one-to-one",
) -> Matching:
    """Match detections to annotations within a radius.

    ``"one-to-one"``: a pair may lie at most `radius` apart, and a point belongs to one pair at
    most. Of all such matchings it takes the largest number of pairs, and among those the smallest
    total distance, exactly. Which of several equally good matchings comes back is deterministic
    but otherwise open.

    ``"literal"``: the paper's wording. Every detection within `radius` of any annotation is a true
    positive, paired with the nearest; an annotation without a detection within `radius` is a false
    negative. Several detections on one nucleus then all count as right.

    Parameters
    ----------
    detections : array_like or torch.Tensor [n, 2]
        (y, x) in pixels.
    annotations : array_like or torch.Tensor [a, 2]
        (y, x) in pixels.
    radius : float
        In pixels, >= 0; a distance of exactly `radius` is within.
    mode : {"one-to-one", "literal"}

    Returns
    -------
    Matching

    Raises
    ------
    InputError
        On points that are not [n, 2] and finite, a negative or infinite radius, an unknown mode.

    Notes
    -----
    Time and memory grow with the number of pairs within the radius, not with n * a: 20,000 by
    20,000 points at the density of tissue take about a second.

    Examples
    --------
    Greedy matching would take the closest pair, (1, 1), and leave the others alone:

    >>> m = match_points([(0, 0), (0, 3)], [(0, 2), (0, 5.5)], radius=3)
    >>> m.pairs.tolist(), m.distances.tolist()
    ([[0, 0], [1, 1]], [2.0, 2.5])
    """
    if mode not in get_args(MatchMode):
        raise InputError(f"mode: came as {mode!r}, expected 'one-to-one' or 'literal'")
    if not (np.isfinite(radius) and radius >= 0):
        raise InputError(f"radius: came as {radius}, expected a number of pixels >= 0")
    detected = check_points(detections, "detections").astype(np.float64)
    annotated = check_points(annotations, "annotations").astype(np.float64)
    rows, columns, distances = _pairs_within(detected, annotated, radius)
    if mode == "literal":
        chosen = _nearest(rows, distances)
        found = len(np.unique(columns))
    else:
        chosen = _assign(rows, columns, distances, len(detected), len(annotated))
        found = len(chosen)
    chosen = chosen[np.argsort(rows[chosen])]
    return Matching(
        pairs=np.column_stack((rows[chosen], columns[chosen])),
        distances=distances[chosen],
        displacements=detected[rows[chosen]] - annotated[columns[chosen]],
        true_positives=len(chosen),
        false_positives=len(detected) - len(chosen),
        found=found,
        false_negatives=len(annotated) - found,
    )


def _pairs_within(
    detected: NDArray[np.float64], annotated: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    if not len(detected) or not len(annotated):
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing, np.empty(0)
    # The tree compares squares, which rounds at the rim: ask it for a little more, then decide.
    candidates = KDTree(detected).sparse_distance_matrix(
        KDTree(annotated), radius * (1 + 1e-9), output_type="ndarray"
    )
    rows = candidates["i"].astype(np.int64)
    columns = candidates["j"].astype(np.int64)
    distances = np.hypot(*(detected[rows] - annotated[columns]).T)
    within = distances <= radius
    return rows[within], columns[within], distances[within]


def _nearest(rows: NDArray[np.int64], distances: NDArray[np.float64]) -> NDArray[Any]:
    order = np.lexsort((distances, rows))
    return order[np.unique(rows[order], return_index=True)[1]]


def _assign(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    distances: NDArray[np.float64],
    detections: int,
    annotations: int,
) -> NDArray[Any]:
    """Choose the pairs of a largest matching of smallest total distance, as indices."""
    nodes = detections + annotations
    graph = csr_matrix(
        (np.ones(len(rows), dtype=np.int8), (rows, detections + columns)), shape=(nodes, nodes)
    )
    component = connected_components(graph, directed=False)[1][rows]
    edges = np.bincount(component)[component]
    isolated, tangled = np.flatnonzero(edges == 1), np.flatnonzero(edges > 1)
    if not len(tangled):
        return isolated

    detection, row = np.unique(rows[tangled], return_inverse=True)
    annotation, column = np.unique(columns[tangled], return_inverse=True)
    count = len(detection)
    # Every detection also gets a stand-in of its own that means "unmatched", so that a matching of
    # all detections exists. It costs more than all pairs of its component can: one pair more always
    # pays. Ones are added throughout because scipy takes a cost of zero for a missing pair; every
    # detection pays exactly one, so nothing changes.
    cost = distances[tangled] / (distances.max() or 1.0)
    owner = np.empty(count, dtype=np.int64)
    owner[row] = component[tangled]
    members = np.bincount(owner)[owner]
    costs = csr_matrix(
        (
            np.concatenate((cost + 1, members + 2.0)),
            (
                np.concatenate((row, np.arange(count))),
                np.concatenate((column, len(annotation) + np.arange(count))),
            ),
        ),
        shape=(count, len(annotation) + count),
    )
    matched_row, matched_column = min_weight_full_bipartite_matching(costs)
    real = matched_column < len(annotation)
    wanted = np.full(count, -1)
    wanted[matched_row[real]] = matched_column[real]
    return np.concatenate((isolated, tangled[wanted[row] == column]))
