"""NERS, Non-overlapping Extremal Regions Selection: a structured SVM chooses among MSERs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..data.points import check_points
from ..errors import InputError
from ..weights.container import read_container, write_container
from ._arguments import check_at_least, check_positive
from .region_features import NUM_FEATURES, region_features
from .regions import RegionForest, RegionSettings, extremal_regions
from .structured_svm import Problem, best_subset, fit_weights

__all__ = ["NersModel", "detect_ners", "fit_ners"]

_KEY = "ners"

# Of the first guess which regions are nuclei; it only has to be well-posed.
_RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class NersModel:
    """What was learned from clicks.

    Attributes
    ----------
    weights : numpy.ndarray [93], float64
        Of the standardised features, and last the constant.
    mean, scale : numpy.ndarray [92], float64
        Features are standardised as ``(feature - mean) / scale``.
    settings : RegionSettings
        The candidates it was trained on.
    """

    weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    settings: RegionSettings

    def score(self, forest: RegionForest) -> NDArray[np.float64]:
        """Return the score of every region, [n]."""
        features = region_features(forest, self.settings.min_area, self.settings.max_area)
        return _standardised(features, self.mean, self.scale) @ self.weights

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and settings as one safetensors file."""
        arrays = {"weights": self.weights, "mean": self.mean, "scale": self.scale}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_container(path, tensors, _KEY, {"settings": self.settings.to_dict()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NersModel:
        """Read what :meth:`save` wrote. Nothing in the file is executed.

        Raises
        ------
        InputError
            If the file cannot be read or is something else.
        """
        tensors, facts = read_container(path, _KEY, "a NERS model")
        lengths = {"weights": NUM_FEATURES + 1, "mean": NUM_FEATURES, "scale": NUM_FEATURES}
        for name, length in lengths.items():
            if name not in tensors or tensors[name].shape != (length,):
                raise InputError(f"{path}: holds no {length} numbers {name!r}, expected a model")
        try:
            settings = RegionSettings(**facts["settings"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: the settings of the regions are wrong: {error}") from error
        arrays = {name: tensors[name].double().numpy() for name in lengths}
        return cls(settings=settings, **arrays)


def fit_ners(
    images: Sequence[NDArray[Any]],
    clicks: Sequence[ArrayLike],
    *,
    settings: RegionSettings | None = None,
    regularisation: float = 1e-3,
    rounds: int = 3,
    max_passes: int = 100,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> NersModel:
    """Learn from one click per nucleus which extremal regions are nuclei.

    The loss of a choice of regions is, summed over them, how far the number of clicks within is
    from one, plus the clicks that are in none. Which of several nested regions with one click is
    the nucleus is not known: the first guess comes from a linear fit of "holds one click", later
    ones from the weights of the round before.

    Parameters
    ----------
    images : sequence of numpy.ndarray [H, W] or [H, W, 3]
        uint8, uint16 or floating in [0, 1].
    clicks : sequence of array_like [n, 2]
        (y, x) in pixels, for every image.
    settings
        Which regions are candidates.
    regularisation : float
        λ of :func:`dvfast.baselines.structured_svm.fit_weights`, > 0.
    rounds : int
        How often the nuclei are guessed and the weights fitted, >= 1.
    max_passes : int
        Over all images, per round, >= 1.
    tolerance : float
        Duality gap at which a round ends, > 0, in errors per nucleus.
    seed : int
        Of the order of the images; the same seed gives the same model.

    Returns
    -------
    NersModel

    Raises
    ------
    InputError
        If an image or its clicks cannot be used, their numbers differ, a parameter is out of
        range, or no region of any image holds exactly one click.
    ImportError
        If OpenCV is not installed.
    """
    settings = settings or RegionSettings()
    check_positive(regularisation=regularisation, tolerance=tolerance)
    check_at_least(1, rounds=rounds, max_passes=max_passes)
    if len(images) != len(clicks) or not len(images):
        raise InputError(
            f"images, clicks: came as {len(images)} and {len(clicks)}, expected as many, at least 1"
        )
    forests = [extremal_regions(image, settings) for image in images]
    counts = [
        forest.count_clicks(check_points(points, "clicks").astype(np.float64))
        for forest, points in zip(forests, clicks, strict=True)
    ]
    if not any((count == 1).any() for count in counts):
        raise InputError(
            "clicks: no candidate region holds exactly one click; check that clicks are (y, x) and "
            "that stain, min_area and max_area of the settings fit the nuclei"
        )
    raw = [region_features(forest, settings.min_area, settings.max_area) for forest in forests]
    together = np.concatenate(raw)
    mean, deviation = together.mean(axis=0), together.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    problems = [
        Problem(_standardised(features, mean, scale), forest.parents, count)
        for features, forest, count in zip(raw, forests, counts, strict=True)
    ]
    weights = _first_guess(problems)
    for _ in range(rounds):
        truths = [problem.truth(problem.features @ weights) for problem in problems]
        weights, _ = fit_weights(
            problems,
            truths,
            regularisation=regularisation,
            max_passes=max_passes,
            tolerance=tolerance,
            seed=seed,
        )
    return NersModel(weights, mean, scale, settings)


def detect_ners(
    image: NDArray[Any], model: NersModel, *, threshold: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find nuclei as the best extremal regions that do not overlap.

    C. Arteta, V. Lempitsky, J. A. Noble, A. Zisserman: Learning to detect cells using
    non-overlapping extremal regions. MICCAI, LNCS 7510, 348-356, 2012.

    Parameters
    ----------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or floating in [0, 1]
    model
        From :func:`fit_ners`.
    threshold : float
        Subtracted from all scores before regions are chosen. The training aims at 0; a lower one
        finds more nuclei, and may prefer two small regions to the large one around them.

    Returns
    -------
    points : numpy.ndarray [n, 2], float64
        Centroids (y, x) of the chosen regions, in pixels, the highest score first.
    scores : numpy.ndarray [n], float64
        The learned scores, above the threshold.

    Raises
    ------
    InputError
        If the image cannot be used or the threshold is not finite.
    ImportError
        If OpenCV is not installed.

    Notes
    -----
    The features, the loss and the choice are the paper's; it does not print every bin width, so
    those are ours, and the margin is maximised by Frank-Wolfe steps where it takes cutting planes,
    which has the same optimum.

    Examples
    --------
    >>> model = fit_ners(images, clicks)  # doctest: +SKIP
    >>> points, scores = detect_ners(image, model)  # doctest: +SKIP
    """
    if not np.isfinite(threshold):
        raise InputError(f"threshold: came as {threshold}, expected a finite number")
    forest = extremal_regions(image, model.settings)
    scores = model.score(forest)
    chosen = np.flatnonzero(best_subset(scores - threshold, forest.parents))
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    return forest.centroids()[chosen], scores[chosen]


def _standardised(
    features: NDArray[np.float64], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.column_stack(((features - mean) / scale, np.ones(len(features))))


def _first_guess(problems: Sequence[Problem]) -> NDArray[np.float64]:
    """Weights of the least squares fit of +1 for regions of one click, -1 for all others."""
    features = np.concatenate([problem.features for problem in problems])
    target = np.where(np.concatenate([problem.clicks for problem in problems]) == 1, 1.0, -1.0)
    ridge = _RIDGE * len(features) * np.eye(features.shape[1])
    return np.asarray(np.linalg.solve(features.T @ features + ridge, features.T @ target))
