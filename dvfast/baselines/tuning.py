"""The parameters of a baseline that do best on annotated images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.points import check_points
from ..errors import InputError
from ..evaluation import Evaluation, evaluate_points
from .registry import Baseline

__all__ = ["Tuning", "tune"]

_NUM_THRESHOLDS = 40

_Pairs = list[tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Tuning:
    """The best parameters of a baseline.

    Attributes
    ----------
    parameters : dict
        For ``baseline.detect(image, **parameters)``.
    evaluation : Evaluation
        On the images they were chosen on, and so too good; measure on others.
    """

    parameters: dict[str, Any]
    evaluation: Evaluation


def tune(
    baseline: Baseline,
    images: Sequence[NDArray[Any]],
    clicks: Sequence[ArrayLike],
    radius: float,
    *,
    nucleus_radius: float | None = None,
) -> Tuning:
    """Choose the parameters of highest micro F1, by trying all of a grid.

    Parameters
    ----------
    baseline
        One of :data:`dvfast.baselines.BASELINES`, after :meth:`Baseline.fit`.
    images, clicks : sequences
        Images for validation, never for the final test, and for each its points ``[n, 2]``, (y, x)
        in pixels.
    radius : float
        Within which a detection is right, in pixels, > 0; matching is one to one.
    nucleus_radius : float or None
        What the lengths of the grid are relative to, in pixels; `radius` unless given.

    Returns
    -------
    Tuning
        Among equally good parameters, the first of the grid; among thresholds, the lowest.

    Raises
    ------
    InputError
        If there are no images, their number is not that of the clicks, an image or its clicks
        cannot be used, or the baseline has yet to be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from dvfast.baselines import BASELINES, tune
    >>> y, x = np.mgrid[:40, :60]
    >>> image = np.where((y - 20) ** 2 + (x - 15) ** 2 < 36, 50, 230).astype(np.uint8)
    >>> itcn = BASELINES["itcn"].fit([], [], stain="dark", nucleus_radius=6)
    >>> tuning = tune(itcn, [image], [[(20, 15)]], radius=6)
    >>> tuning.evaluation.micro.f1
    1.0
    >>> points, scores = itcn.detect(image, **tuning.parameters)
    """
    if len(images) != len(clicks) or not len(images):
        raise InputError(
            f"images, clicks: came as {len(images)} and {len(clicks)}, expected as many, at least 1"
        )
    truth = [check_points(points, "clicks") for points in clicks]
    best: Tuning | None = None
    for setting in baseline.settings(nucleus_radius or radius):
        for threshold, pairs in _by_threshold(baseline, setting, images, truth):
            evaluation = evaluate_points(pairs, radius)
            if best is None or evaluation.micro.f1 > best.evaluation.micro.f1:
                best = Tuning({**setting, "threshold": threshold}, evaluation)
    if best is None:
        raise InputError(f"baseline: {baseline.name} has an empty grid, expected parameters")
    return best


def _by_threshold(
    baseline: Baseline,
    setting: dict[str, Any],
    images: Sequence[NDArray[Any]],
    truth: Sequence[NDArray[Any]],
) -> Iterator[tuple[float, _Pairs]]:
    """The detections and annotations of all images, for every threshold worth a try."""
    if baseline.thresholds is not None:
        for threshold in baseline.thresholds:
            found = [baseline.detect(i, **setting, threshold=threshold)[0] for i in images]
            yield threshold, list(zip(found, truth, strict=True))
        return
    everything = [baseline.detect(i, **setting, threshold=0.0) for i in images]
    scores = np.concatenate([scores for _, scores in everything])
    if not len(scores):
        scores = np.zeros(1)
    # A score that occurs, not one between two: rounding must not decide about a point.
    levels = np.linspace(0, 1, _NUM_THRESHOLDS, endpoint=False)
    for threshold in np.unique(np.quantile(scores, levels, method="lower")).tolist():
        found = [points[scores >= threshold] for points, scores in everything]
        yield threshold, list(zip(found, truth, strict=True))
