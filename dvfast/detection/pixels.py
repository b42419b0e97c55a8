"""An image as a network wants it: normalized, at its scale, on its device."""

from __future__ import annotations

import math
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
    """``[C, H, W]``, of which a warning says that it is nearly black, if it is."""
    original = image_to_tensor(pixels, net.in_channels, name)
    normalization = settings.normalization
    full = {"u": _FULL, "f": 1.0}.get(pixels.dtype.kind, math.inf)
    highest = pixels.max() if has_16_bits(pixels.dtype) or pixels.dtype.kind == "f" else full
    if normalization == "none" and 0 < highest <= full / 4:
        kind = "16 bits" if has_16_bits(pixels.dtype) else "floating point"
        warnings.warn(
            f"{name}: pixels of {kind} that are at most {highest:g}, as of a camera of fewer "
            "bits, are nearly black to a network; scale them to the whole range",
            UserWarning,
            stacklevel=4,  # past detect and the frame of no_grad
        )
    normal = normalize(original, normalization, least_contrast(pixels.dtype))
    return resample(normal, scale).to(tensor_of(net))
