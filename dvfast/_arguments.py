"""Checks of the arguments that several operators share; errors name the argument and what came."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

from ._library import HAS_CUDA_KERNELS, refuse_transforms

__all__ = [
    "MAX_WINDOW",
    "MIN_SIGMA",
    "NO_LIMIT",
    "Offset",
    "check_count",
    "check_flag",
    "check_gaussian",
    "check_integer",
    "check_integers",
    "check_is_tensor",
    "check_number",
    "check_size",
    "check_stride",
    "check_tensor",
    "check_votes",
    "choice",
    "limit",
    "pair",
    "wrong_type",
]

Offset = float | tuple[float, float]

MIN_SIGMA = 0.01  # kMinSigma of csrc/core/gaussian.h
MAX_WINDOW = 255  # kMaxWindow of csrc/core/gaussian.h
_FARTHEST = 2.0**40  # kFarthestLanding of csrc/core/landing.h
# So far beyond every landing that it limits nothing; and finite, as AOTInductor stores arguments as
# JSON, which has no infinity.
NO_LIMIT = 1e30
# Sizes are symbolic while torch.compile traces; NumPy's numbers are Integral or Real.
_INTEGERS = (int, torch.SymInt, Integral)
_NUMBERS = (float, int, torch.SymFloat, torch.SymInt, Real)


def wrong_type(name: str, value: object, expected: str, advice: str = "") -> TypeError:
    """The error that says so; of a long value, such as an array, it names the type alone."""
    kind, text = type(value).__name__, repr(value)
    came = kind if len(text) > 60 or "\n" in text else f"{text} ({kind})"
    return TypeError(f"{name} must be {expected}, got {came}{advice}")


def check_is_tensor(name: str, value: Tensor) -> None:
    """Of any kind: for what PyTorch itself computes."""
    if not isinstance(value, Tensor):
        raise wrong_type(name, value, "a tensor", f"; torch.as_tensor({name}) makes one of it")


def check_tensor(name: str, value: Tensor) -> None:
    """Of a kind that the operators can take."""
    check_is_tensor(name, value)
    if value.is_cuda and not HAS_CUDA_KERNELS:
        raise RuntimeError(
            f"{name} is on {value.device}, but this dvfast is built without CUDA kernels: build it "
            "where nvcc is on PATH, or move the tensor to the CPU"
        )
    refuse_transforms(name, value)


def check_number(name: str, value: float) -> None:
    if not isinstance(value, _NUMBERS):
        raise wrong_type(name, value, "a number")


def check_integer(name: str, value: int) -> None:
    if not isinstance(value, _INTEGERS):
        raise wrong_type(name, value, "an integer")


def check_integers(name: str, values: Sequence[int], expected: str) -> None:
    if not isinstance(values, (tuple, list)):
        raise wrong_type(name, values, expected)
    for value in values:
        if not isinstance(value, _INTEGERS):
            raise wrong_type(name, values, expected)


def check_count(name: str, value: int, least: int = 1) -> None:
    check_integer(name, value)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_stride(stride: int) -> None:
    check_count("stride", stride)
    if stride > _FARTHEST:
        raise ValueError(f"stride must be at most 2^40 pixels, got {stride}")


def check_flag(name: str, value: bool) -> None:
    if value not in (True, False):
        raise wrong_type(name, value, "True or False")


def pair(offset: Offset) -> tuple[float, float]:
    """One number for both axes, or ``(y, x)``."""
    both = offset if isinstance(offset, (tuple, list)) else (offset, offset)
    if len(both) != 2:
        raise ValueError(f"offset must be one number or (y, x), got {offset}")
    y, x = both
    if not (isinstance(y, _NUMBERS) and isinstance(x, _NUMBERS)):
        raise wrong_type("offset", offset, "one number or (y, x)")
    if not (abs(y) <= _FARTHEST and abs(x) <= _FARTHEST):  # as torch.compile can follow it
        raise ValueError(f"offset must be finite, at most 2^40 pixels, got {offset}")
    return float(y), float(x)


def limit(name: str, value: float | None) -> float:
    """A length that may be absent."""
    if value is None:
        return NO_LIMIT
    if not isinstance(value, _NUMBERS):
        raise wrong_type(name, value, "a number, or None for no limit")
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, or None for no limit, got {value}")
    return float(value) if value < NO_LIMIT else NO_LIMIT


def choice(name: str, value: str, choices: Mapping[str, int]) -> int:
    """The number that the native library knows a choice by."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices[value]


def check_size(size: tuple[int, int]) -> None:
    check_integers("size", size, "two integers, (height, width)")
    if len(size) != 2 or size[0] < 0 or size[1] < 0:
        raise ValueError(f"size must be (height, width), got {size}")
    if size[0] > _FARTHEST or size[1] > _FARTHEST:
        raise ValueError(f"size must be at most 2^40 pixels, got {size}")


def check_votes(votes: Tensor) -> None:
    check_tensor("votes", votes)
    if votes.dim() != 4 or votes.shape[1] % 3:
        raise ValueError(f"votes must be [B, 3k, h, w], got {list(votes.shape)}")


def check_gaussian(sigma: float, window: int) -> None:
    check_number("sigma", sigma)
    if not MIN_SIGMA <= sigma < math.inf:
        raise ValueError(f"sigma must be at least {MIN_SIGMA} pixels and finite, got {sigma}")
    check_integer("window", window)
    if not (1 <= window <= MAX_WINDOW and window % 2 == 1):
        raise ValueError(
            f"window must be an odd number of pixels from 1 to {MAX_WINDOW}, got {window}"
        )
