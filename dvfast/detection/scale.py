"""Pixels of an image, and those that a network learnt from."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

__all__: list[str] = []

_NUMBERS = (int, float, np.integer, np.floating)
_MOST = 64  # beyond, sizes are in another unit than they should be


def check_pixel_size(name: str, value: float | None) -> None:
    """Raise an InputError unless it is a size, or None."""
    if value is not None and not (isinstance(value, _NUMBERS) and 0 < value < np.inf):
        raise InputError(f"{name} must be a positive number of micrometres, got {value!r}")


def scale_between(size: float, own: float) -> float:
    """Pixels of `own` micrometres per pixel of `size`.

    Raises
    ------
    InputError
        If it is beyond reason.
    """
    scale = size / own
    if not 1 / _MOST <= scale <= _MOST:
        raise InputError(
            f"pixel_size: came as {size:g}, which scales images by {scale:.3g}, expected "
            f"between 1/{_MOST} and {_MOST}; it is in micrometres"
        )
    return scale
