"""What numbers the settings of a training run may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InputError

__all__ = ["RANGES", "check_range"]

_POSITIVE = (lambda value: value > 0, "a number above 0")
_NOT_NEGATIVE = (lambda value: value >= 0, "0 or more")
_AT_LEAST_1 = (lambda value: value >= 1, "at least 1")
_FRACTION = (lambda value: 0 <= value < 1, "at least 0 and below 1")
_WIDTHS = (lambda value: all(width >= 1 for width in value), "widths of at least 1")

RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_votes": _AT_LEAST_1,
    "in_channels": (lambda value: value in (1, 3), "1 (grey) or 3 (RGB)"),
    "channels": _WIDTHS,
    "hidden": _WIDTHS,
    "dropout": _FRACTION,
    "r1": _POSITIVE,
    "r2": _POSITIVE,
    "beta": _NOT_NEGATIVE,
    "lam": _NOT_NEGATIVE,
    "density_weight": _NOT_NEGATIVE,
    "batch_size": _AT_LEAST_1,
    "crop_size": _AT_LEAST_1,
    "crop_stride": _AT_LEAST_1,
    "steps": _AT_LEAST_1,
    "learning_rate": _POSITIVE,
    "target_radius": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "ema": _FRACTION,
    "validation_fraction": _FRACTION,
    "validate_every": _AT_LEAST_1,
    "seed": _NOT_NEGATIVE,
    "image_pixel_size": _POSITIVE,
    "pixel_size": _POSITIVE,
    "radius": _POSITIVE,
}


def check_range(name: str, value: Any) -> None:
    """Raise an InputError if a setting, of the right type, is out of range; None never is."""
    if name in RANGES and value is not None:
        accepts, expected = RANGES[name]
        if not accepts(value):
            raise InputError(f"{name}: came as {value}, expected {expected}")
