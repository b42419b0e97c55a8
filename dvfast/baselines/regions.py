"""Maximally stable extremal regions as a forest: every region lies within its parent."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from ._arguments import check_at_least, check_positive
from .stain import Stain, check_stain, nucleus_density

__all__ = ["RegionForest", "RegionSettings", "extremal_regions", "require_opencv"]


@dataclass(frozen=True)
class RegionSettings:
    """Which regions of an image may be nuclei.

    Parameters
    ----------
    stain : str
        Where the nuclei are, see :func:`dvfast.baselines.nucleus_density`.
    full_scale : float
        The density that becomes 255 of 256 grey levels, > 0; what exceeds it is cut.
    smoothing : float
        The Gaussian that the density is smoothed with first, in pixels, >= 0.
    min_area, max_area : int
        The least and the greatest area of a region, in square pixels, ``1 <= min_area < max_area``.
    delta : int
        Between how many grey levels a region should change little, >= 1.
    max_variation : float
        The greatest such change, as a share of the area, > 0. High values give many candidates,
        from which the learned scores then choose.
    min_diversity : float
        The least difference between a region and its parent, as a share of the area, >= 0.

    Raises
    ------
    InputError
        If a value is out of range.

    Examples
    --------
    >>> RegionSettings(min_area=20).min_area
    20
    """

    stain: Stain = "haematoxylin+dab"
    full_scale: float = 1.5
    smoothing: float = 0.7
    min_area: int = 30
    max_area: int = 500
    delta: int = 2
    max_variation: float = 1.0
    min_diversity: float = 0.0

    def __post_init__(self) -> None:
        check_stain(self.stain)
        check_positive(full_scale=self.full_scale, max_variation=self.max_variation)
        check_at_least(0, smoothing=self.smoothing, min_diversity=self.min_diversity)
        for name in ("min_area", "max_area", "delta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name}: came as {value!r}, expected a whole number from 1")
        if self.max_area <= self.min_area:
            raise InputError(
                f"max_area: came as {self.max_area}, expected more than min_area, {self.min_area}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, fit for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class RegionForest:
    """The candidate regions of an image, the largest first.

    Attributes
    ----------
    grey : numpy.ndarray [H, W], uint8
        The density in which they were found.
    pixels : tuple of numpy.ndarray [a, 2], int64
        (y, x) of every pixel of every region.
    parents : numpy.ndarray [n], int64
        The smallest region that holds this one, always of a smaller index; -1 where there is none.
    """

    grey: NDArray[np.uint8]
    pixels: tuple[NDArray[np.int64], ...]
    parents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)

    def centroids(self) -> NDArray[np.float64]:
        """Return the regions' centres of area, (y, x), [n, 2]."""
        if not self.pixels:
            return np.empty((0, 2))
        return np.stack([region.mean(axis=0) for region in self.pixels])

    def count_clicks(self, clicks: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many clicks lie in each region, [n]; clicks off the image are in none."""
        here = np.zeros(self.grey.shape, dtype=np.int64)
        places = np.rint(clicks).astype(np.int64)
        inside = ((places >= 0) & (places < self.grey.shape)).all(axis=1)
        np.add.at(here, tuple(places[inside].T), 1)
        return np.array([here[tuple(region.T)].sum() for region in self.pixels], dtype=np.int64)


def extremal_regions(image: NDArray[Any], settings: RegionSettings) -> RegionForest:
    r"""Find the regions that a threshold cuts out and that hardly change with the threshold.

    With :math:`R_t` a connected component of :math:`\{\text{density} \ge t\}`, those whose

    .. math:: \frac{|R_{t - \Delta}| - |R_t|}{|R_t|}

    is a local minimum along the growing region and at most `max_variation`. J. Matas, O. Chum,
    M. Urban, T. Pajdla: Robust wide baseline stereo from maximally stable extremal regions. BMVC,
    384-393, 2002. Computed by OpenCV, after D. Nistér, H. Stewénius: Linear time maximally stable
    extremal regions. ECCV, 183-196, 2008.

    Parameters
    ----------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or floating in [0, 1]
    settings
        Which regions are wanted.

    Returns
    -------
    RegionForest

    Raises
    ------
    InputError
        If the image cannot be used.
    ImportError
        If OpenCV is not installed.
    """
    cv2 = require_opencv()
    density = nucleus_density(image, settings.stain)
    if settings.smoothing:
        density = ndimage.gaussian_filter(density, settings.smoothing)
    grey = np.rint(np.clip(density / settings.full_scale, 0, 1) * 255).astype(np.uint8)
    if min(grey.shape) < 3:  # OpenCV refuses what is smaller
        return RegionForest(grey, (), np.empty(0, dtype=np.int64))
    # By position: the names of the arguments differ between OpenCV's versions.
    finder = cv2.MSER_create(
        settings.delta,
        settings.min_area,
        settings.max_area,
        settings.max_variation,
        settings.min_diversity,
    )
    finder.setPass2Only(True)  # bright regions only
    found = [region[:, ::-1].astype(np.int64) for region in finder.detectRegions(grey)[0]]
    found.sort(key=len, reverse=True)
    return RegionForest(grey, tuple(found), _parents(found, grey.shape))


def _parents(regions: list[NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Extremal regions are nested or apart: any one pixel tells within which one another lies."""
    owner = np.full(shape, -1, dtype=np.int64)
    parents = np.empty(len(regions), dtype=np.int64)
    for i, region in enumerate(regions):
        parents[i] = owner[tuple(region[0])]
        owner[tuple(region.T)] = i
    return parents


def require_opencv() -> Any:
    """Return OpenCV's module, or say how to install it.

    Raises
    ------
    ImportError
        If it is not there.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise ImportError(
            "NERS needs OpenCV for its extremal regions: pip install opencv-python-headless"
        ) from error
