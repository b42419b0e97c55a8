"""Checks of arguments that the baselines share."""

from __future__ import annotations

import math

from ..errors import InputError

__all__ = ["check_at_least", "check_positive"]


def check_positive(**values: float) -> None:
    """Refuse what is not a positive, finite number."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name}: came as {value}, expected a positive number")


def check_at_least(least: float, **values: float) -> None:
    """Refuse what is not a finite number of at least `least`."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise InputError(f"{name}: came as {value}, expected a number of at least {least:g}")
