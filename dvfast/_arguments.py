"""Checks of the arguments that several operators share; errors name the argument and what came."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

__all__ = [
    "Offset",
    "check_gaussian",
    "check_grid",
    "check_min_distance",
    "check_votes",
    "choice",
    "limit",
    "pair",
]

Offset = float | tuple[float, float]

_MIN_SIGMA = 0.01  # kMinSigma of csrc/core/gaussian.h
MAX_WINDOW = 255  # kMaxWindow of csrc/core/gaussian.h


def pair(offset: Offset) -> tuple[float, float]:
    """One number for both axes, or ``(y, x)``."""
    y, x = offset if isinstance(offset, tuple) else (offset, offset)
    if not (abs(y) < math.inf and abs(x) < math.inf):  # as torch.compile can follow it
        raise ValueError(f"offset must be finite, got {offset}")
    return float(y), float(x)


def limit(name: str, value: float | None) -> float:
    """A length that may be absent, as infinity."""
    if value is None:
        return math.inf
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, or None for no limit, got {value}")
    return float(value)


def choice(name: str, value: str, choices: Mapping[str, int]) -> int:
    """The number that the native library knows a choice by."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices[value]


def check_votes(votes: Tensor, size: tuple[int, int]) -> None:
    if votes.dim() != 4 or votes.shape[1] % 3:
        raise ValueError(f"votes must be [B, 3k, h, w], got {list(votes.shape)}")
    if len(size) != 2 or size[0] < 0 or size[1] < 0:
        raise ValueError(f"size must be (height, width), got {size}")


def check_grid(stride: int) -> None:
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")


def check_gaussian(sigma: float, window: int) -> None:
    if not _MIN_SIGMA <= sigma < math.inf:
        raise ValueError(f"sigma must be at least {_MIN_SIGMA} pixels and finite, got {sigma}")
    if not (1 <= window <= MAX_WINDOW and window % 2 == 1):
        raise ValueError(
            f"window must be an odd number of pixels from 1 to {MAX_WINDOW}, got {window}"
        )


def check_min_distance(min_distance: int) -> None:
    if min_distance < 1:
        raise ValueError(f"min_distance must be at least 1, got {min_distance}")


def check_capacity(capacity: int) -> None:
    if capacity < 0:
        raise ValueError(f"capacity must be at least 0, got {capacity}")
