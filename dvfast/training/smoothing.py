"""How strongly to smooth a density and how far apart its peaks lie: what suits annotated images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._arguments import MAX_WINDOW
from ..data import resample_points
from ..detection import DetectionResult, DetectionSettings, Detector
from ..detection.centroids import centroids
from ..evaluation import Evaluation
from ..functional import find_peaks
from .threshold import ALL_PEAKS, best_threshold

__all__ = ["best_detection"]

# Of the settings' own, which is tried first: others must be better to be chosen.
_SIGMAS = (1.0, 0.7, 1.4)
_MIN_DISTANCES = (1.0, 0.5, 0.75, 1.5)
# Standard deviations on either side of the Gaussian's window.
_REACH = 3.0


def best_detection(
    detector: Detector,
    images: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    radius: float,
    names: Sequence[str | None] | None = None,
) -> tuple[DetectionSettings, Evaluation]:
    """Choose `sigma`, `window`, `min_distance` and an absolute threshold by the micro F1.

    Parameters
    ----------
    detector
        Its settings are the middle of what is tried.
    images
        Images and their annotations.
    radius
        Of the ground-truth circles, in pixels of the images.
    names
        What warnings call the images.

    Returns
    -------
    settings : DetectionSettings
        Those of the detector, but for what was chosen.
    evaluation : Evaluation
        With these settings.
    """
    own = detector.settings
    names = [None] * len(images) if names is None else names
    best: tuple[DetectionSettings, Evaluation] | None = None
    for sigma in (own.sigma * factor for factor in _SIGMAS):
        window = own.window if sigma == own.sigma else 2 * math.ceil(_REACH * sigma) + 1
        if window > MAX_WINDOW:
            continue
        settings = replace(
            own, sigma=sigma, window=window, threshold=ALL_PEAKS, relative=False, min_distance=1
        )
        smoothed = Detector(
            detector.net,
            settings,
            pixel_size=detector.pixel_size,
            image_pixel_size=detector.image_pixel_size,
        )
        results = [
            smoothed.detect(image, name=name)
            for (image, _), name in zip(images, names, strict=True)
        ]
        distances = {max(1, round(own.min_distance * factor)): None for factor in _MIN_DISTANCES}
        for min_distance in distances:
            found = [
                (_peaks_apart(result, min_distance, own.centroid_radius), points)
                for result, (_, points) in zip(results, images, strict=True)
            ]
            threshold, evaluation = best_threshold(found, radius)
            if best is None or evaluation.micro.f1 > best[1].micro.f1:
                chosen = replace(settings, min_distance=min_distance, threshold=threshold)
                best = chosen, evaluation
    assert best is not None
    return best


def _peaks_apart(
    result: DetectionResult, min_distance: int, centroid_radius: float
) -> DetectionResult:
    """The peaks of a result's density that are the highest within a distance."""
    density = torch.from_numpy(result.density)
    points, scores = find_peaks(
        density, threshold=ALL_PEAKS, relative=False, min_distance=min_distance
    )
    points = centroids(density, points, centroid_radius)
    image_size = np.shape(result.image)[:2]
    return replace(
        result,
        points=resample_points(points.double().numpy(), result.density.shape, image_size),
        scores=scores.double().numpy(),
    )
