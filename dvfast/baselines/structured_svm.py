"""The best regions that do not overlap, and the weights that make them the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Problem", "best_subset", "fit_weights", "region_losses"]


def best_subset(scores: NDArray[np.float64], parents: NDArray[np.int64]) -> NDArray[np.bool_]:
    r"""Choose regions of which none lies within another so that their scores sum up highest.

    .. math:: \max_{y \in \{0, 1\}^n} \sum_i y_i s_i \quad \text{subject to } y_i y_j = 0
                \text{ where } i \text{ is an ancestor of } j

    by dynamic programming: the best of a subtree is its root alone, the best of its children
    together, or nothing.

    Parameters
    ----------
    scores : numpy.ndarray [n], float64
    parents : numpy.ndarray [n], int64
        Smaller than the own index, or -1.

    Returns
    -------
    numpy.ndarray [n], bool
        No region without a positive score; in a tie the smaller regions.

    Examples
    --------
    >>> import numpy as np
    >>> best_subset(np.array([2.5, 1.0, 2.0]), np.array([-1, 0, 0])).tolist()
    [False, True, True]
    """
    # Plain lists: one region after the other is no work for arrays.
    values, above = scores.tolist(), parents.tolist()
    below = [0.0] * len(values)
    alone = [False] * len(values)
    for i in range(len(values) - 1, -1, -1):
        alone[i] = values[i] > below[i]
        if above[i] >= 0:
            below[above[i]] += values[i] if alone[i] else below[i]
    taken = [False] * len(values)
    covered = [False] * len(values)
    for i, parent in enumerate(above):
        covered[i] = parent >= 0 and (taken[parent] or covered[parent])
        taken[i] = alone[i] and not covered[i]
    return np.array(taken, dtype=bool)


def region_losses(clicks: NDArray[np.int64]) -> NDArray[np.float64]:
    r"""What the choice of each region adds to the loss of an image.

    .. math:: L(y) = \sum_i y_i |c_i - 1| + U(y) = U(0) + \sum_i y_i (|c_i - 1| - c_i)

    where :math:`c_i` clicks lie in region i and `U` is the number of clicks that no chosen region
    covers; the second form holds because chosen regions do not overlap.

    Examples
    --------
    >>> import numpy as np
    >>> region_losses(np.array([0, 1, 3]))
    array([ 1., -1., -1.])
    """
    return np.asarray(np.abs(clicks - 1.0) - clicks)


@dataclass(frozen=True, eq=False)
class Problem:
    """A training image.

    Attributes
    ----------
    features : numpy.ndarray [n, F], float64
    parents : numpy.ndarray [n], int64
    clicks : numpy.ndarray [n], int64
        How many lie in each region.
    """

    features: NDArray[np.float64]
    parents: NDArray[np.int64]
    clicks: NDArray[np.int64]

    def truth(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """As many regions of exactly one click as fit, and of those the ones that score highest."""
        spread = np.ptp(scores) if len(scores) else 0.0
        # Differences between scores must never outweigh a region more.
        gain = 1 + (scores - scores.min(initial=np.inf)) / (2 * len(scores) * (spread or 1.0))
        return best_subset(np.where(self.clicks == 1, gain, -1.0), self.parents)


def fit_weights(
    problems: Sequence[Problem],
    truths: Sequence[NDArray[np.bool_]],
    *,
    regularisation: float,
    max_passes: int,
    tolerance: float,
    seed: int,
) -> tuple[NDArray[np.float64], float]:
    r"""Train a structured support vector machine, by block-coordinate Frank-Wolfe.

    .. math:: \min_w \frac\lambda2 \lVert w \rVert^2 + \frac1m \sum_j \max_y \left[ L_j(y) -
                L_j(\hat y_j) + \langle w, \Psi_j(y) - \Psi_j(\hat y_j) \rangle \right],
              \qquad \Psi_j(y) = \sum_i y_i f_i

    with m the number of all true regions, so that :math:`\lambda` does not depend on the size of
    images. The inner maximum is :func:`best_subset`. S. Lacoste-Julien, M. Jaggi, M. Schmidt,
    P. Pletscher: Block-coordinate Frank-Wolfe optimization for structural SVMs. ICML, 2013.

    Parameters
    ----------
    problems, truths
        The images and :math:`\hat y` for each.
    regularisation
        :math:`\lambda`, > 0.
    max_passes
        Over all images.
    tolerance
        Stop when the duality gap is below this.
    seed
        Of the order of the images.

    Returns
    -------
    weights : numpy.ndarray [F], float64
    gap : float
        By how much at most the objective exceeds its minimum.
    """
    number = max(1, int(sum(int(truth.sum()) for truth in truths)))
    losses = [region_losses(problem.clicks) for problem in problems]
    own = np.zeros((len(problems), problems[0].features.shape[1]))
    own_loss = np.zeros(len(problems))
    weights = own.sum(axis=0)
    generator = np.random.default_rng(seed)

    def corner(j: int) -> tuple[NDArray[np.float64], float]:
        """The worst answer to image j under the present weights, as a point of the dual."""
        problem = problems[j]
        worst = best_subset(problem.features @ weights + losses[j], problem.parents)
        change = truths[j].astype(np.float64) - worst
        return (
            problem.features.T @ change / (regularisation * number),
            float(-(losses[j] @ change)) / number,
        )

    def gap_of(j: int, point: NDArray[np.float64], loss: float) -> float:
        gap = regularisation * (own[j] - point) @ weights - own_loss[j] + loss
        return float(gap)

    gap = np.inf
    for _ in range(max_passes):
        for j in generator.permutation(len(problems)):
            point, loss = corner(j)
            step = own[j] - point
            curvature = regularisation * float(step @ step)
            if curvature == 0:
                continue
            share = min(max(gap_of(j, point, loss) / curvature, 0.0), 1.0)
            weights = weights - share * step
            own[j] -= share * step
            own_loss[j] += share * (loss - own_loss[j])
        gap = sum(gap_of(j, *corner(j)) for j in range(len(problems)))
        if gap < tolerance:
            break
    return weights, gap
