"""An image as a network wants it: normalized, at its scale, on its device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data import image_to_tensor, normalize, resample
from ..data.images import has_16_bits, least_contrast
from ..nn import VotingNetwork
from ..nn.network import tensor_of
from .settings import DetectionSettings

__all__: list[str] = []

_FULL = np.iinfo(np.uint16).max


def pixels_for(
    net: VotingNetwork,
    settings: DetectionSettings,
    pixels: NDArray[Any],
    scale: float,
    name: str = "image",
) -> Tensor:
    """``[C, H, W]``."""
    original = image_to_tensor(pixels, net.in_channels, name)
    normal = normalize(original, settings.normalization, least_contrast(pixels.dtype))
    return resample(normal, scale).to(tensor_of(net))


def warn_of_dark(pixels: NDArray[Any], settings: DetectionSettings, name: str = "image") -> None:
    """Say that pixels are nearly black, if they are and nothing evens out their exposure."""
    deep = has_16_bits(pixels.dtype)
    if settings.normalization != "none" or not (deep or pixels.dtype.kind == "f"):
        return
    highest = pixels.max()
    if 0 < highest <= (_FULL if deep else 1.0) / 4:
        warnings.warn(
            f"{name}: pixels of {'16 bits' if deep else 'floating point'} that are at most "
            f"{highest:g}, as of a camera of fewer bits, are nearly black to a network; scale them "
            "to the whole range",
            UserWarning,
            stacklevel=4,  # past detect and the frame of no_grad
        )
