"""Blobs of several sizes by scikit-image's Laplacian of a Gaussian: what a practitioner tries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from ._arguments import check_at_least, check_positive
from .stain import Stain, nucleus_density

__all__ = ["detect_blob_log"]

# As scipy's filters reach by default, in standard deviations.
_REACH = 4.0


def detect_blob_log(
    image: NDArray[Any],
    *,
    stain: Stain = "haematoxylin+dab",
    min_sigma: float = 3.0,
    max_sigma: float = 6.0,
    num_sigma: int = 4,
    threshold: float = 0.2,
    overlap: float = 0.3,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Find nuclei as blobs of the density, by :func:`skimage.feature.blob_log`.

    T. Lindeberg: Feature detection with automatic scale selection. International Journal of
    Computer Vision 30 (2), 79-116, 1998.

    A blob is a maximum over place and scale of the scale-normalised filter response

    .. math:: -\sigma^2 \, \nabla^2 (G_\sigma * \text{density})

    A disc of radius r and contrast c answers most at :math:`\sigma = r / \sqrt 2`, with
    :math:`2 c / e \approx 0.74 c`.

    Parameters
    ----------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or floating in [0, 1]
    stain : str
        Where the nuclei are, see :func:`dvfast.baselines.nucleus_density`.
    min_sigma, max_sigma : float
        The smallest and the largest Gaussian, in pixels, > 0; 0.7 times the radii that are sought.
    num_sigma : int
        How many Gaussians, evenly spaced, >= 1.
    threshold : float
        The least response, > 0, in units of the density.
    overlap : float
        Of two blobs that share more than this part of the smaller one's area, the smaller one is
        dropped, however strong it is; from 0 to 1.

    Returns
    -------
    points : numpy.ndarray [n, 2], float64
        (y, x) in pixels of the image, the strongest first.
    scores : numpy.ndarray [n], float64
        The response at the points, at the scale of the blob. Because of the overlap, a higher
        threshold may find what a lower one does not.

    Raises
    ------
    InputError
        If the image cannot be used or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[:40, :60]
    >>> image = np.where((y - 20) ** 2 + (x - 15) ** 2 < 36, 50, 230).astype(np.uint8)
    >>> points, scores = detect_blob_log(image, stain="dark")
    >>> points.tolist()
    [[20.0, 15.0]]
    """
    check_positive(min_sigma=min_sigma, threshold=threshold)
    check_at_least(min_sigma, max_sigma=max_sigma)
    check_at_least(1, num_sigma=num_sigma)
    check_at_least(0, overlap=overlap)
    if overlap > 1:
        raise InputError(f"overlap: came as {overlap}, expected at most 1")
    from skimage.feature import blob_log

    density = nucleus_density(image, stain)
    blobs = blob_log(
        density,
        min_sigma=min_sigma,
        max_sigma=max_sigma,
        num_sigma=int(num_sigma),
        threshold=threshold,
        overlap=overlap,
    )
    scores = _responses(density, blobs)
    order = np.argsort(-scores, kind="stable")
    return blobs[order, :2].astype(np.float64), scores[order]


def _responses(density: NDArray[np.float64], blobs: NDArray[Any]) -> NDArray[np.float64]:
    """The filter at the blobs, [n]; scikit-image has it, but keeps it."""
    scores = np.empty(len(blobs))
    for sigma in np.unique(blobs[:, 2]):
        members = np.flatnonzero(blobs[:, 2] == sigma)
        reach = int(_REACH * sigma + 0.5)
        impulse = np.zeros((2 * reach + 1, 2 * reach + 1))
        impulse[reach, reach] = 1.0
        kernel = -(sigma**2) * ndimage.gaussian_laplace(impulse, sigma, mode="constant")
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(density, reach, mode="symmetric"), kernel.shape
        )
        y, x = blobs[members, :2].astype(np.int64).T
        scores[members] = np.einsum("nij,ij->n", windows[y, x], kernel)
    return scores
