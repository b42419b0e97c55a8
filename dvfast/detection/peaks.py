"""Votes to nuclei in one go: one operator makes the density and finds its peaks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .._arguments import check_count, limit
from .._library import ops
from ..functional.find_peaks import first_points_and_scores, points_and_scores
from .centroids import centroids
from .settings import DetectionSettings

__all__: list[str] = []


class Peaks(NamedTuple):
    """Nuclei of one image, on its device; what each is, says :func:`dvfast.find_first_peaks`."""

    density: Tensor  # [H, W], of votes per pixel at stride 1
    points: Tensor
    centres: Tensor  # the same, each moved to the centroid of its peak
    scores: Tensor
    total: Tensor  # [1] int64: how many there are
    num_void: Tensor  # [1] int64, as of dvfast.functional.count_void_votes


def density_peaks(
    votes: Tensor, size: tuple[int, int], settings: DetectionSettings, capacity: int | None = None
) -> Peaks:
    """The bits of :func:`dvfast.vote_density`, scaled, and of :func:`dvfast.find_peaks` after it.

    With a capacity there is room for as many points, and nothing waits for a GPU; without one there
    is room for all, and the host waits once to know how many they are.
    """
    if capacity is not None:
        check_count("capacity", capacity, least=0)
    density, index, total, num_void = ops.density_peaks(
        votes,
        *size,
        settings.sigma,
        settings.window,
        settings.stride,
        0.0,
        0.0,
        limit("max_offset", settings.max_offset),
        0,
        settings.stride**2,
        settings.threshold,
        settings.relative,
        settings.min_distance,
        -1 if capacity is None else capacity,
    )
    score = points_and_scores if capacity is None else first_points_and_scores
    points, scores = score(density[0], index)
    centres = centroids(density[0], points, settings.centroid_radius)
    return Peaks(density[0], points, centres, scores, total, num_void)
