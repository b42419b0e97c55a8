"""Fields of settings: their names and their types, as JSON and the command line give them."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from ..errors import InputError

__all__ = ["check_names", "coerced"]


def check_names(where: str, values: Mapping[str, Any], kind: type) -> None:
    known = [item.name for item in fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"{where}: no setting is called {unknown[0]!r}; there are {known}")


def coerced(name: str, value: Any, kind: Any) -> Any:
    """`value` as the annotated type of the field, or an error that names the field."""
    options = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is Literal:
        if value not in options:
            raise InputError(f"{name}: came as {value!r}, expected one of {list(options)}")
        return value
    if origin is types.UnionType:
        return None if value is None else coerced(name, value, options[0])
    if origin is tuple:
        if not isinstance(value, (list, tuple, np.ndarray)):
            raise InputError(f"{name}: came as {value!r}, expected a list of whole numbers")
        return tuple(coerced(name, item, int) for item in value)
    # NumPy's numbers, too.
    truth = isinstance(value, bool)
    if kind is int and not truth and isinstance(value, Integral):
        value = int(value)
    if kind is float and not truth and isinstance(value, Real):
        value = float(value)
    if not isinstance(value, kind) or (truth and kind is not bool):
        words = {int: "a whole number", float: "a number"}.get(kind, f"a {kind.__name__}")
        raise InputError(f"{name}: came as {value!r}, expected {words}")
    if kind is float and not math.isfinite(value):
        raise InputError(f"{name}: came as {value}, expected a finite number")
    return value
