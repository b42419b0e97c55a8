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
    areas = np.array([len(region) for region in forest.pixels])
    return np.column_stack(
        (
            _intensities(forest),
            *_surroundings(forest, areas, min_area, max_area),
        )
    )


def _intensities(forest: RegionForest) -> NDArray[np.float64]:
    return np.stack(
        [
            _histogram(forest.grey[tuple(region.T)] / 256.0, _INTENSITY_BINS)
            for region in forest.pixels
        ]
    )


def _surroundings(
    forest: RegionForest, areas: NDArray[np.int64], min_area: int, max_area: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    cv2 = require_opencv()
    margin = max(_CONTRAST_RADII)
    # Beyond the border there is nothing to compare with: -1 marks what does not count.
    padded = np.pad(forest.grey.astype(np.int16), margin, constant_values=-1)
    discs = [
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        for radius in _CONTRAST_RADII
    ]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    contrasts, outlines = [], []
    for region in forest.pixels:
        corner = region.min(axis=0)
        size = region.max(axis=0) - corner + 1 + 2 * margin
        mask = np.zeros(tuple(size), dtype=np.uint8)
        mask[tuple((region - corner + margin).T)] = 1
        grey = padded[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
        mean = forest.grey[tuple(region.T)].mean()
        histograms = []
        for disc in discs:
            ring = (cv2.dilate(mask, disc) > mask) & (grey >= 0)
            share = 0.5 + (mean - grey[ring]) / (2 * _CONTRAST_RANGE)
            histograms.append(_histogram(share, _CONTRAST_BINS))
        contrasts.append(np.concatenate(histograms))
        outline = np.argwhere(mask > cv2.erode(mask, cross))
        outlines.append(_outline(outline - margin + corner, region.astype(np.float64)))
    return np.stack(contrasts), _area_bins(areas, min_area, max_area), np.stack(outlines)


def _outline(outline: NDArray[np.int64], region: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = region - region.mean(axis=0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, 1]
    # Of the axis's two directions the one towards the longer tail, so that a region that is turned
    # by half a turn looks the same.
    if ((centred @ axis) ** 3).sum() < 0:
        axis = -axis
    away = outline - region.mean(axis=0)
    angle = np.arctan2(away @ np.array([-axis[1], axis[0]]), away @ axis)
    radius = np.hypot(*away.T) / math.sqrt(len(region) / math.pi)
    sector = np.floor(angle / (2 * math.pi) * _ANGLES + 0.5).astype(np.int64) % _ANGLES
    ring = np.minimum(radius / _FARTHEST * _RADII, _RADII - 1).astype(np.int64)
    counts = np.bincount(sector * _RADII + ring, minlength=_ANGLES * _RADII)
    return np.asarray(counts / max(counts.sum(), 1))


def _area_bins(areas: NDArray[np.int64], min_area: int, max_area: int) -> NDArray[np.float64]:
    place = np.log(areas / min_area) / math.log(max_area / min_area) * (_AREA_BINS - 1)
    bins = np.arange(_AREA_BINS)
    return np.maximum(0.0, 1.0 - np.abs(np.clip(place, 0, _AREA_BINS - 1)[:, None] - bins))


def _histogram(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Of values from 0 to 1, what lies beyond in the outermost bins; its sum is 1, or 0 of none."""
    place = np.clip(values * bins, 0, bins - 1).astype(np.int64)
    return np.asarray(np.bincount(place, minlength=bins) / max(len(values), 1))
