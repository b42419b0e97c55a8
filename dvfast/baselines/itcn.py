"""ITCN, the Image-based Tool for Counting Nuclei: a blob filter and its maxima."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._arguments import check_at_least
from .peaks import greedy_maxima
from .stain import Stain, nucleus_density

__all__ = ["blob_response", "detect_itcn"]

_NARROWEST = 3


def detect_itcn(
    image: NDArray[Any],
    *,
    stain: Stain = "haematoxylin+dab",
    width: float = 15.0,
    min_distance: float = 7.5,
    threshold: float = 0.2,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find nuclei as the maxima of a blob filter, a least distance apart.

    J. Byun, M. R. Verardo, B. Sumengen, G. P. Lewis, B. S. Manjunath, S. K. Fisher: Automated tool
    for the detection of cell nuclei in digital microscopic images: application to retinal images.
    Molecular Vision 12, 949-960, 2006.

    The filter is :func:`blob_response`. Then the highest maximum is a nucleus, all maxima nearer
    to it than `min_distance` are dropped, and so on down to the threshold.

    Parameters
    ----------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or floating in [0, 1]
    stain : str
        Where the nuclei are, see :func:`dvfast.baselines.nucleus_density`: ``"dark"`` and
        ``"bright"`` are the original's two kinds of image.
    width : float
        Of a nucleus, in pixels, >= 3.
    min_distance : float
        Between two nuclei, in pixels, >= 0; the original advises half a width.
    threshold : float
        The least response, >= 0: the contrast between nucleus and surroundings, in units of the
        density.

    Returns
    -------
    points : numpy.ndarray [n, 2], float64
        (y, x) in pixels of the image, the strongest first.
    scores : numpy.ndarray [n], float64
        The response at the points.

    Raises
    ------
    InputError
        If the image cannot be used or a parameter is out of range.

    Notes
    -----
    Two things differ from the original. The image is continued by its mirror image, so that nuclei
    at the border are found too. And the filter is scaled so that its response is a contrast,
    which lets one threshold serve every width.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[:40, :60]
    >>> image = np.where((y - 20) ** 2 + (x - 15) ** 2 < 36, 50, 230).astype(np.uint8)
    >>> points, scores = detect_itcn(image, stain="dark", width=13)
    >>> points.tolist()
    [[20.0, 15.0]]
    """
    check_at_least(0, threshold=threshold, min_distance=min_distance)
    return greedy_maxima(
        blob_response(nucleus_density(image, stain), width), threshold, min_distance
    )


def blob_response(density: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    r"""Filter with an inverted Laplacian of a Gaussian that is cut to a square.

    .. math:: K(y, x) = \left(2 - \frac{y^2 + x^2}{\sigma^2}\right)
                \exp\left(-\frac{y^2 + x^2}{2 \sigma^2}\right) - c,
              \qquad \sigma = \frac{\text{width} - 1}{3}

    on the square of ``width`` pixels (or the next odd number); `c` makes the sum zero,
    and the whole is divided by the sum of its positive part. A bright blob that covers the positive
    part on a dark ground thus gives their difference.

    Parameters
    ----------
    density : numpy.ndarray [H, W], float64
    width : float
        In pixels, >= 3.

    Returns
    -------
    numpy.ndarray [H, W], float64
        Zero where the density is constant.

    Raises
    ------
    InputError
        If the width is not a number of at least 3.

    Examples
    --------
    >>> import numpy as np
    >>> density = np.zeros((7, 7))
    >>> density[3, 3] = 1.0
    >>> blob_response(density, width=3).round(2)[2:5, 2:5]
    array([[-0.17, -0.08, -0.17],
           [-0.08,  1.  , -0.08],
           [-0.17, -0.08, -0.17]])
    """
    check_at_least(_NARROWEST, width=width)
    half = math.ceil((width - 1) / 2)
    sigma = (width - 1) / 3
    along = np.arange(-half, half + 1)
    gaussian = np.exp(-(along**2) / (2 * sigma**2))
    curved = (1 - along**2 / sigma**2) * gaussian
    kernel = np.outer(curved, gaussian) + np.outer(gaussian, curved)
    mean = kernel.mean()
    scale = np.maximum(kernel - mean, 0).sum()
    # The kernel is a sum of three products of a column and a row, so six short passes do.
    ones = np.ones(len(along))
    # Without its mean the density rounds less, and a constant one not at all.
    centred = density - density.mean()
    total = np.zeros_like(centred)
    for column, row, share in (
        (curved, gaussian, 1.0),
        (gaussian, curved, 1.0),
        (ones, ones, -mean),
    ):
        rows = ndimage.correlate1d(centred, row, axis=1, mode="reflect")
        total += share * ndimage.correlate1d(rows, column, axis=0, mode="reflect")
    return np.asarray(total / scale)
