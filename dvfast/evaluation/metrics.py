"""Precision, recall, F1, and the paper's errors of place and number."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..data.paths import atomic_path
from ..errors import InputError
from .matching import Matching, MatchMode, match_points
from .scores import scores_of_counts

__all__ = ["Evaluation", "ImageEvaluation", "Scores", "Spread", "evaluate_points"]


@dataclass(frozen=True)
class Scores:
    """Precision, recall and their harmonic mean, F1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of the population); NaN where there is nothing to average."""

    mean: float
    std: float


@dataclass(frozen=True)
class ImageEvaluation:
    """The counts and scores of one image.

    Attributes
    ----------
    name : str
        The image, or its number.
    detections, annotations : int
        Sizes of the two point sets.
    true_positives, false_positives : int
        Detections that are right and wrong.
    found, false_negatives : int
        Annotations that were detected and missed.
    scores : Scores
    distance : Spread
        Of the matched pairs, in pixels.
    """

    name: str
    detections: int
    annotations: int
    true_positives: int
    false_positives: int
    found: int
    false_negatives: int
    scores: Scores
    distance: Spread


@dataclass(frozen=True)
class Evaluation:
    """The quality of a detector over a set of images: one row of the paper's table 1, and more.

    Attributes
    ----------
    radius : float
        Of the ground-truth circles, in pixels.
    mode : str
        How points were matched, see `match_points`.
    images : tuple of ImageEvaluation
        In the order they came.
    micro : Scores
        Of the counts summed over all images: every nucleus weighs the same.
    macro : Scores
        Means of the images' scores: every image weighs the same. Its F1 is the mean of F1 values
        and in general not the harmonic mean of its precision and recall. The paper's is of this
        kind.
    distance : Spread
        mu_d and sigma_d: over all matched pairs of all images, in pixels.
    displacement : tuple of float
        Mean way (y, x) from an annotation to its detection, in pixels; NaN where there is no pair.
        Far from 0 along both axes, by about half a pixel, it tells of annotations whose origin is
        the corner of a pixel and not its centre.
    count_error : Spread
        mu_n and sigma_n over images of ``|annotations - detections|``, which fits the figures the
        paper prints.
    missed : Spread
        mu_n and sigma_n over images of ``|annotations - true positives|``, as the paper defines.
    """

    radius: float
    mode: str
    images: tuple[ImageEvaluation, ...]
    micro: Scores
    macro: Scores
    distance: Spread
    displacement: tuple[float, float]
    count_error: Spread
    missed: Spread

    def total(self, count: str) -> int:
        """Sum an integer field of `ImageEvaluation`, such as ``"true_positives"``, over images."""
        return _total(self.images, count)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dicts, lists, strings and numbers, fit for JSON.

        NaN, which JSON does not know, becomes None. The sums over images come under ``counts``.
        """
        counts = {count: self.total(count) for count in _COUNTS}
        document: dict[str, Any] = _without_nan({"counts": counts, **asdict(self)})
        return document

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row per image: counts, scores, and the mean distance in pixels, if there is one.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        with (
            atomic_path(path) as temporary,
            open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image", *_COUNTS, "precision", "recall", "f1", "distance"))
            for image in self.images:
                counts = [getattr(image, count) for count in _COUNTS]
                distance = _without_nan(image.distance.mean)
                writer.writerow((image.name, *counts, *astuple(image.scores), distance))

    def table(self) -> str:
        """Return the figures as lines of plain text, for a terminal or a log."""
        lines = [
            f"{len(self.images)} images, {self.total('annotations')} annotations, "
            f"{self.total('detections')} detections; {self.mode} matching within "
            f"{self.radius:g} px",
            f"{'':<6}  precision  recall     F1",
        ]
        for name, scores in (("micro", self.micro), ("macro", self.macro)):
            lines.append(
                f"{name:<6}  {scores.precision:9.4f}  {scores.recall:6.4f}  {scores.f1:5.4f}"
            )
        for name, text in (
            ("distance of true positives, px", _spread_text(self.distance)),
            ("mean displacement (y, x), px", "{:+.3f}, {:+.3f}".format(*self.displacement)),
            ("|annotations - detections|", _spread_text(self.count_error)),
            ("|annotations - true positives|", _spread_text(self.missed)),
        ):
            lines.append(f"{name:<30}  {text}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


_COUNTS = (
    "detections",
    "annotations",
    "true_positives",
    "false_positives",
    "found",
    "false_negatives",
)


def evaluate_points(
    pairs: Sequence[tuple[ArrayLike | torch.Tensor, ArrayLike | torch.Tensor]],
    radius: float,
    mode: MatchMode = "one-to-one",
    *,
    names: Sequence[str] | None = None,
) -> Evaluation:
    """Compare detections with annotations over a set of images.

    Precision is true positives / detections, recall is annotations found / annotations, F1 is
    2PR / (P + R); one-to-one that is 2TP / (2TP + FP + FN). An image, or a set, with neither
    detections nor annotations scores 1 throughout; any other quotient 0 / 0 is 0, so that an image
    with annotations and no detection has P = R = F1 = 0, and so has one with detections only.

    Parameters
    ----------
    pairs : sequence of (detections, annotations)
        Per image two point sets [n, 2], (y, x) in pixels.
    radius : float
        In pixels, >= 0. The paper takes half the average radius of the nuclei.
    mode : {"one-to-one", "literal"}
        See `match_points`.
    names : sequence of str, optional
        Of the images, for the per-image rows; by default their numbers.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If there are no images, if the names are not as many, or as `match_points` does; the
        message then names the image.

    Examples
    --------
    >>> found, clicked = [(5, 5), (9, 9)], [(5, 6), (20, 20), (30, 30)]
    >>> evaluation = evaluate_points([(found, clicked)], radius=4)
    >>> evaluation.micro.precision, round(evaluation.micro.recall, 4), evaluation.micro.f1
    (0.5, 0.3333, 0.4)
    """
    if not len(pairs):
        raise InputError("pairs: came empty, expected at least one image")
    if names is None:
        names = [str(number) for number in range(len(pairs))]
    if len(names) != len(pairs):
        raise InputError(f"names: came as {len(names)} for {len(pairs)} images, expected as many")
    matchings = []
    for name, (detected, annotated) in zip(names, pairs, strict=True):
        try:
            matchings.append(match_points(detected, annotated, radius, mode=mode))
        except InputError as error:
            raise InputError(f"image {name}: {error}") from None
    images = tuple(_evaluate_image(n, m) for n, m in zip(names, matchings, strict=True))
    return Evaluation(
        radius=float(radius),
        mode=mode,
        images=images,
        micro=_scores(
            *(
                _total(images, count)
                for count in ("true_positives", "false_positives", "found", "false_negatives")
            )
        ),
        macro=Scores(
            *(
                float(np.mean([getattr(image.scores, score) for image in images]))
                for score in ("precision", "recall", "f1")
            )
        ),
        distance=_spread(np.concatenate([matching.distances for matching in matchings])),
        displacement=_displacement(matchings),
        count_error=_spread([abs(image.annotations - image.detections) for image in images]),
        missed=_spread([abs(image.annotations - image.true_positives) for image in images]),
    )


def _total(images: tuple[ImageEvaluation, ...], count: str) -> int:
    return sum(getattr(image, count) for image in images)


def _evaluate_image(name: str, m: Matching) -> ImageEvaluation:
    return ImageEvaluation(
        name=name,
        detections=m.true_positives + m.false_positives,
        annotations=m.found + m.false_negatives,
        true_positives=m.true_positives,
        false_positives=m.false_positives,
        found=m.found,
        false_negatives=m.false_negatives,
        scores=_scores(m.true_positives, m.false_positives, m.found, m.false_negatives),
        distance=_spread(m.distances),
    )


def _scores(true_positives: int, false_positives: int, found: int, false_negatives: int) -> Scores:
    each = scores_of_counts(
        true_positives, true_positives + false_positives, found, found + false_negatives
    )
    return Scores(*map(float, each))


def _displacement(matchings: Sequence[Matching]) -> tuple[float, float]:
    ways = np.concatenate([matching.displacements for matching in matchings])
    y, x = ways.mean(axis=0) if len(ways) else (math.nan, math.nan)
    return float(y), float(x)


def _spread(values: ArrayLike) -> Spread:
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        return Spread(math.nan, math.nan)
    return Spread(float(array.mean()), float(array.std()))


def _spread_text(spread: Spread) -> str:
    return f"{spread.mean:.3f} ± {spread.std:.3f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
