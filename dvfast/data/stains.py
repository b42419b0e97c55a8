"""RGB taken apart into stains, and put together again (Ruifrok and Johnston, 2001)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["merge_stains", "separate_stains"]

# An 8-bit zero has no finite optical density; half a grey level stands in for it.
_DARKEST = 0.5 / 255


def separate_stains(image: Tensor) -> Tensor:
    """Return the optical densities of haematoxylin, eosin and DAB.

    Parameters
    ----------
    image
        ``[3, H, W]``, floating, in [0, 1].

    Returns
    -------
    Tensor
        ``[3, H, W]``, in powers of ten: 1 lets a tenth of the light through. Negative where a
        colour is none that these stains can mix.

    Examples
    --------
    >>> separate_stains(torch.ones(3, 1, 1)).abs().flatten()
    tensor([0., 0., 0.])
    """
    stains_from_rgb, _ = (matrix.to(image) for matrix in _stain_matrices())
    return torch.einsum("cs,chw->shw", stains_from_rgb, -torch.log10(image.clamp(min=_DARKEST)))


def merge_stains(stains: Tensor) -> Tensor:
    """Return the RGB image ``[3, H, W]`` in [0, 1]; the inverse of :func:`separate_stains`."""
    _, rgb_from_stains = (matrix.to(stains) for matrix in _stain_matrices())
    return torch.pow(10, -torch.einsum("sc,shw->chw", rgb_from_stains, stains)).clamp(0, 1)


@cache
def _stain_matrices() -> tuple[Tensor, Tensor]:
    from skimage.color import hed_from_rgb, rgb_from_hed

    return torch.from_numpy(hed_from_rgb.copy()), torch.from_numpy(rgb_from_hed.copy())
