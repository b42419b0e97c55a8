"""Looking at an image in several ways: flipped and turned, and the densities averaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..functional import count_void_votes, find_first_peaks, find_peaks, vote_density
from .centroids import centroids
from .peaks import Peaks
from .settings import DetectionSettings

__all__: list[str] = []

# Quarter turns, and whether the image is flipped before; half of a group at a time.
_WAYS = (
    (0, False),
    (2, False),
    (1, False),
    (3, False),
    (0, True),
    (2, True),
    (1, True),
    (3, True),
)


def peaks_of_orientations(
    image: Tensor,
    settings: DetectionSettings,
    votes_of: Callable[[Tensor, int], Tensor],
    capacity: int | None = None,
) -> Peaks:
    """The nuclei of an image ``[C, H, W]`` in the mean of its densities.

    What a network learnt of nuclei should not depend on how they lie; what it did not learn, does,
    and averages out. ``votes_of(image, number)`` casts the votes of one of the orientations.
    """
    total = image.new_zeros(image.shape[1:])
    num_void = torch.zeros(1, dtype=torch.int64, device=image.device)
    for number, (turns, flip) in enumerate(_WAYS[: settings.orientations]):
        shown = image.flip(1) if flip else image
        shown = shown.rot90(turns, (1, 2)).contiguous()
        votes = votes_of(shown, number)
        density = vote_density(
            votes,
            (shown.shape[1], shown.shape[2]),
            sigma=settings.sigma,
            window=settings.window,
            stride=settings.stride,
            max_offset=settings.max_offset,
        )[0].rot90(-turns, (0, 1))
        total += density.flip(0) if flip else density
        num_void += count_void_votes(votes)
    density = total * (settings.stride**2 / settings.orientations)
    find = find_peaks if capacity is None else partial(find_first_peaks, capacity=capacity)
    points, scores, *count = find(
        density,
        threshold=settings.threshold,
        relative=settings.relative,
        min_distance=settings.min_distance,
    )
    found = count[0] if count else torch.tensor([len(points)], device=image.device)
    centres = centroids(density, points, settings.centroid_radius)
    return Peaks(density, points, centres, scores, found, num_void)
