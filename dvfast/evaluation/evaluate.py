"""How good a detector is on a folder of annotated images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .._arguments import wrong_type
from ..data import Sample, pair_by_stem
from ..data.files import load_clicks
from ..scan import Precision
from .matching import MatchMode
from .metrics import Evaluation, evaluate_points

if TYPE_CHECKING:
    from ..detection import Detector

__all__ = ["evaluate"]


def evaluate(
    detector: Detector,
    folder: str | os.PathLike[str],
    radius: float,
    *,
    mode: MatchMode = "one-to-one",
    stride: int | None = None,
    precision: Precision = "float32",
    threshold: float | None = None,
    orientations: int | None = None,
    pixel_size: float | None = None,
) -> Evaluation:
    """Detect in every image of a folder and compare with its clicks.

    Parameters
    ----------
    detector
        What to evaluate.
    folder
        Images with click files of the same stem, see :func:`dvfast.data.pair_by_stem`.
    radius
        Of the ground-truth circles, in pixels of the images; the paper takes half the average
        radius of a nucleus.
    mode
        How points are matched, see :func:`dvfast.evaluation.match_points`.
    stride, precision, threshold, orientations, pixel_size
        As for :meth:`dvfast.Detector.detect`.

    Returns
    -------
    Evaluation
        ``print`` it for a table.

    Raises
    ------
    InputError
        If an image or a click file cannot be used.

    Examples
    --------
    >>> import dvfast
    >>> detector = dvfast.Detector.from_pretrained("ihc")
    >>> print(dvfast.evaluate(detector, "tiles/test", radius=6.6))  # doctest: +SKIP
    """
    from ..detection import Detector  # which imports the loading of annotated images

    if not isinstance(detector, Detector):
        raise wrong_type("detector", detector, "a Detector", "; Detector.load makes one")
    pairs, names = detect_all(
        detector,
        folder,
        stride=stride,
        precision=precision,
        threshold=threshold,
        orientations=orientations,
        pixel_size=pixel_size,
    )
    return evaluate_points(pairs, radius, mode, names=names)


def detect_all(
    detector: Detector,
    folder: str | os.PathLike[str],
    *,
    stride: int | None = None,
    precision: Precision = "float32",
    threshold: float | None = None,
    orientations: int | None = None,
    pixel_size: float | None = None,
    track: Callable[[list[Sample]], Iterable[Sample]] = iter,
) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], list[str]]:
    """Detections and annotations of every image of a folder, and the images' names."""
    pairs, names = [], []
    for sample in track(pair_by_stem(folder)):
        result = detector.detect(
            sample.image,
            stride=stride,
            precision=precision,
            threshold=threshold,
            orientations=orientations,
            pixel_size=pixel_size,
        )
        pairs.append((result.points, load_clicks(sample, result.image.shape)))
        names.append(sample.stem)
    return pairs, names
