"""Images of discs, whose nuclei everybody can count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dvfast.data.stains import merge_stains

RADIUS = 6.0

# Apart, at different fractions of a pixel.
CENTRES = np.array(
    [(14.0, 15.0), (16.4, 44.3), (20.0, 79.5), (42.5, 25.0), (51.0, 60.2), (44.7, 88.0)]
)
# Nuclei in a row, each of which touches the next.
TOUCHING = np.array([(30.0, 20.0), (30.0, 32.0), (30.0, 70.0), (41.5, 72.0)])
SHAPE = (64, 104)


def cover(
    centres: NDArray[Any] | Sequence[Any], shape: tuple[int, int] = SHAPE, radius: float = RADIUS
) -> NDArray[np.float64]:
    """How much of each pixel is disc, from 0 to 1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = np.zeros(shape)
    for centre_y, centre_x in centres:
        plane = np.maximum(plane, radius + 0.5 - np.hypot(y - centre_y, x - centre_x))
    return np.clip(plane, 0, 1)


def grey_image(
    centres: NDArray[Any] | Sequence[Any], *, dark: bool, noise: float = 0.0, seed: int = 0
) -> NDArray[np.uint8]:
    """Discs of a contrast of 0.6, with Gaussian noise."""
    plane = 0.2 + 0.6 * cover(centres)
    plane = plane + noise * np.random.default_rng(seed).standard_normal(plane.shape)
    plane = 1 - plane if dark else plane
    return np.rint(255 * np.clip(plane, 0, 1)).astype(np.uint8)


def stained_image(haematoxylin: NDArray[np.float64], dab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """RGB of the two stains' optical densities, ``[H, W]`` each."""
    stains = torch.from_numpy(np.stack((haematoxylin, np.zeros_like(haematoxylin), dab)))
    return np.rint(255 * merge_stains(stains).permute(1, 2, 0).numpy()).astype(np.uint8)


def assert_found(points: NDArray[Any], centres: NDArray[Any], within: float) -> None:
    """One point for every centre, and no other."""
    assert len(points) == len(centres), f"{len(points)} points for {len(centres)} discs"
    distance = np.hypot(*(points[:, None] - centres[None]).transpose(2, 0, 1))
    assert sorted(distance.argmin(axis=1).tolist()) == list(range(len(centres)))
    assert distance.min(axis=1).max() <= within
