"""From an image to one plane in which nuclei are the bright things."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..data.images import EXPOSURE_PERCENTILES, image_to_tensor, least_contrast
from ..data.stains import separate_stains
from ..errors import InputError

__all__ = ["Stain", "nucleus_density"]

Stain = Literal["haematoxylin", "haematoxylin+dab", "fluorescence", "dark", "bright"]


def check_stain(stain: str) -> None:
    """Raise an InputError if there is none of this name."""
    if stain not in get_args(Stain):
        raise InputError(f"stain: came as {stain!r}, expected one of {', '.join(get_args(Stain))}")


def nucleus_density(image: NDArray[Any], stain: Stain = "haematoxylin+dab") -> NDArray[np.float64]:
    r"""Return how much nuclear stain there is at every pixel.

    For bright-field RGB, colour deconvolution: with the optical density of the colour channels
    :math:`-\log_{10} I_c` and the matrix :math:`M` of the stains' colours,

    .. math:: s = M^{-1} (-\log_{10} I), \qquad \text{density} = \max(0, s_H \, [\, + \, s_{DAB}])

    A. C. Ruifrok, D. A. Johnston: Quantification of histochemical staining by color deconvolution.
    Analytical and Quantitative Cytology and Histology 23 (4), 291-299, 2001.

    Parameters
    ----------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or floating in [0, 1]
    stain : {"haematoxylin", "haematoxylin+dab", "fluorescence", "dark", "bright"}
        - ``"haematoxylin"``, ``"haematoxylin+dab"``: the optical density, in powers of ten, of the
          stain, or of the two together; RGB only. Typical nuclei have 0.1 to 1.
        - ``"fluorescence"``: the luminance, stretched so that its 1st percentile is 0 and its
          99.8th is 1 (exposures differ tenfold between images), clipped to [0, 1]. Zero everywhere
          if these percentiles are less than a fiftieth of full scale apart (of 16 bits: an 800th).
        - ``"dark"``, ``"bright"``: 1 minus the luminance, and the luminance, in [0, 1], for images
          that have been prepared elsewhere.

    Returns
    -------
    numpy.ndarray [H, W], float64, >= 0

    Raises
    ------
    InputError
        If the image is empty, of another shape or type, not finite or outside of [0, 1], has no
        colours where a stain needs them, or if the stain is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((1, 2, 3), 255, dtype=np.uint8)
    >>> image[0, 1] = (100, 80, 160)
    >>> nucleus_density(image, "haematoxylin").round(2)
    array([[0.  , 0.61]])
    """
    check_stain(stain)
    if stain.startswith("haematoxylin"):
        if np.ndim(image) != 3 or np.shape(image)[2] == 1:
            raise InputError(
                f"image: came with shape {list(np.shape(image))}, expected [H, W, 3] for the stain "
                f"{stain!r}; take 'dark' for grey images of dark nuclei"
            )
        haematoxylin, _, dab = separate_stains(image_to_tensor(image, 3).double())
        total = haematoxylin if stain == "haematoxylin" else haematoxylin + dab
        density: NDArray[np.float64] = total.clamp(min=0).numpy()
        return density
    luminance: NDArray[np.float64] = image_to_tensor(image, 1)[0].double().numpy()
    if stain == "bright":
        return luminance
    if stain == "dark":
        return 1.0 - luminance
    low, high = np.percentile(luminance, EXPOSURE_PERCENTILES)
    if high - low < least_contrast(np.asarray(image).dtype):  # noise, and no nuclei
        return np.zeros_like(luminance)
    return np.asarray(np.clip((luminance - low) / (high - low), 0.0, 1.0))
