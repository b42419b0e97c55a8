"""What the appearance of an extremal region is described by."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .regions import RegionForest, require_opencv

__all__ = ["NUM_FEATURES", "region_features"]

_INTENSITY_BINS = 10
_CONTRAST_BINS = 6
_CONTRAST_RADII = (2, 5)
_CONTRAST_RANGE = 128.0  # grey levels by which a region may exceed its surroundings
_AREA_BINS = 10
_ANGLES, _RADII = 12, 5
_FARTHEST = 2.0  # radii of a disc of the region's area

NUM_FEATURES = (
    _INTENSITY_BINS + len(_CONTRAST_RADII) * _CONTRAST_BINS + _AREA_BINS + _ANGLES * _RADII
)


def region_features(forest: RegionForest, min_area: int, max_area: int) -> NDArray[np.float64]:
    """Describe every region of a forest by the 92 numbers of Arteta et al. (2012).

    Parameters
    ----------
    forest
        The regions.
    min_area, max_area
        Which areas, in square pixels, the first and the last bin of the area stand for.

    Returns
    -------
    numpy.ndarray [n, 92], float64
        Four groups, each of which sums to 1 (the second one twice):

        - 10: histogram of the grey levels within the region;
        - 2 x 6: histograms of the region's mean minus the grey levels of the ring around it that
          dilation by 2 and by 5 pixels adds;
        - 10: the logarithm of the area, shared between the two nearest of 10 bins;
        - 12 x 5: where the outline lies, in polar coordinates about the centroid, with respect to
          the longest axis and to the radius of a disc of the same area.

    Raises
    ------
    ImportError
        If OpenCV is not installed.
    """
    if not len(forest):
        return np.empty((0, NUM_FEATURES))
    sizes = np.array([len(region) for region in forest.pixels])
    pixels = np.concatenate(forest.pixels)
    owner = np.repeat(np.arange(len(forest)), sizes)
    grey = forest.grey[tuple(pixels.T)].astype(np.float64)
    means = np.bincount(owner, weights=grey) / sizes
    rings, outline = _surroundings(forest)
    return np.column_stack(
        (
            _histograms(grey / 256, owner, len(forest), _INTENSITY_BINS),
            *(
                _histograms(
                    0.5 + (means[owners] - values) / (2 * _CONTRAST_RANGE),
                    owners,
                    len(forest),
                    _CONTRAST_BINS,
                )
                for owners, values in rings
            ),
            _area_bins(sizes, min_area, max_area),
            _outline_histograms(pixels, owner, sizes, *outline),
        )
    )


_Owned = tuple[NDArray[np.int64], NDArray[np.int64]]


def _surroundings(forest: RegionForest) -> tuple[list[_Owned], _Owned]:
    """For both rings, the region that each pixel belongs to and its grey level; for the outlines,
    the region and the place (y, x) of each pixel."""
    cv2 = require_opencv()
    margin = max(_CONTRAST_RADII)
    # Beyond the border there is nothing to compare with: -1 marks what does not count.
    padded = np.pad(forest.grey.astype(np.int16), margin, constant_values=-1)
    discs = [_disc(radius) for radius in _CONTRAST_RADII]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    values: list[list[NDArray[np.int64]]] = [[] for _ in discs]
    outlines = []
    for region in forest.pixels:
        corner = region.min(axis=0)
        height, width = region.max(axis=0) - corner + 1 + 2 * margin
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[tuple((region - corner + margin).T)] = 1
        grey = padded[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
        for disc, kept in zip(discs, values, strict=True):
            ring = (cv2.dilate(mask, disc) > mask) & (grey >= 0)
            kept.append(grey[ring].astype(np.int64))
        outlines.append(np.argwhere(mask > cv2.erode(mask, cross)) + corner - margin)
    return [_owned(kept) for kept in values], _owned(outlines)


def _owned(parts: list[NDArray[np.int64]]) -> _Owned:
    lengths = [len(part) for part in parts]
    return np.repeat(np.arange(len(parts)), lengths), np.concatenate(parts)


def _disc(radius: int) -> NDArray[np.uint8]:
    """Unlike OpenCV's own, the same when it is turned."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = y**2 + x**2 <= radius * (radius + 1)
    return np.asarray(inside, dtype=np.uint8)


def _outline_histograms(
    pixels: NDArray[np.int64],
    owner: NDArray[np.int64],
    sizes: NDArray[np.int64],
    outline_owner: NDArray[np.int64],
    outline: NDArray[np.int64],
) -> NDArray[np.float64]:
    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(owner, weights=values) / sizes)

    centre = np.stack((mean(pixels[:, 0].astype(float)), mean(pixels[:, 1].astype(float))))
    y, x = pixels.T - centre[:, owner]
    axis = 0.5 * np.arctan2(2 * mean(y * x), mean(x * x) - mean(y * y))
    # Of the axis's two directions the one towards the longer tail, so that a region that is turned
    # by half a turn looks the same.
    tail = mean((y * np.sin(axis)[owner] + x * np.cos(axis)[owner]) ** 3)
    axis = np.where(tail < 0, axis + math.pi, axis)
    y, x = outline.T - centre[:, outline_owner]
    angle = np.arctan2(y, x) - axis[outline_owner]
    radius = np.hypot(y, x) / np.sqrt(sizes / math.pi)[outline_owner]
    sector = np.floor(angle / (2 * math.pi) * _ANGLES + 0.5).astype(np.int64) % _ANGLES
    ring = np.minimum(radius / _FARTHEST * _RADII, _RADII - 1).astype(np.int64)
    place = sector * _RADII + ring
    return _shares(place, outline_owner, len(sizes), _ANGLES * _RADII)


def _area_bins(areas: NDArray[np.int64], min_area: int, max_area: int) -> NDArray[np.float64]:
    place = np.log(areas / min_area) / math.log(max_area / min_area) * (_AREA_BINS - 1)
    bins = np.arange(_AREA_BINS)
    return np.maximum(0.0, 1.0 - np.abs(np.clip(place, 0, _AREA_BINS - 1)[:, None] - bins))


def _histograms(
    values: NDArray[np.float64], owner: NDArray[np.int64], count: int, bins: int
) -> NDArray[np.float64]:
    """Of values from 0 to 1 for each owner; what lies beyond is in the outermost bins."""
    return _shares(np.clip(values * bins, 0, bins - 1).astype(np.int64), owner, count, bins)


def _shares(
    place: NDArray[np.int64], owner: NDArray[np.int64], count: int, bins: int
) -> NDArray[np.float64]:
    """Which share of what each owner has is in each place, [count, bins]; zeros if it has none."""
    counts = np.bincount(owner * bins + place, minlength=count * bins).reshape(count, bins)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
