"""That sliding a patch from voter to voter gives what the fast scan gives, shown and timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import Sample, load_sample, resample_points
from ..detection import Detector
from ..detection.peaks import density_peaks
from ..detection.pixels import pixels_for
from ..errors import InputError
from ..scan import scan
from .settings import Progress

__all__ = ["slide"]


def slide(
    detector: Detector, samples: Sequence[Sample], name: str, progress: Progress
) -> dict[str, Any]:
    """Detect in a few images by sliding, and compare with the fast scan in precision "exact".

    Parameters
    ----------
    detector
        With the stride and the threshold of the row.
    samples
        The images.
    name
        Of the row, for messages.
    progress
        How to tell.

    Returns
    -------
    dict
        ``images`` (names), ``seconds`` and ``pixels`` (of the files) of each, and ``nuclei``.

    Raises
    ------
    InputError
        If a vote or a nucleus differs.
    """
    shown: dict[str, Any] = {"images": [], "seconds": [], "pixels": [], "nuclei": []}
    for sample in progress.track(samples, f"{name}: sliding"):
        image, _ = load_sample(sample)
        start = time.perf_counter()
        votes, points = _votes_and_points(detector, image, "sliding")
        seconds = time.perf_counter() - start
        fast_votes, _ = _votes_and_points(detector, image, "fast")
        found = detector.detect(image, precision="exact").points
        if not torch.equal(votes, fast_votes) or not np.array_equal(points, found):
            differing = int((votes != fast_votes).sum())
            raise InputError(
                f"{name}, {sample.image.name}: sliding and fast scanning differ in {differing} of "
                f"{votes.numel()} numbers of the votes, and find {len(points)} and {len(found)} "
                "nuclei; they must be the same to the bit, so do not trust this build"
            )
        shown["images"].append(sample.stem)
        shown["seconds"].append(seconds)
        shown["pixels"].append(image.shape[0] * image.shape[1])
        shown["nuclei"].append(len(points))
    return shown


@torch.no_grad()
def _votes_and_points(
    detector: Detector, image: NDArray[Any], mode: Any
) -> tuple[Tensor, NDArray[np.float64]]:
    """What :meth:`dvfast.Detector.detect` does, which keeps no votes."""
    settings = detector.settings
    tensor = pixels_for(detector.net, detector.settings, image, detector.scale_of())
    size = (tensor.shape[1], tensor.shape[2])
    votes = scan(
        detector.net,
        tensor,
        mode=mode,
        stride=settings.stride,
        padding=settings.padding,
        precision="exact",
    )
    points = density_peaks(votes, size, settings).centres
    return votes, resample_points(points.double().cpu().numpy(), size, image.shape[:2])
