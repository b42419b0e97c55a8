"""Point sets: their check, and the two conventions for where the origin lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

__all__ = ["check_points", "check_scores", "from_corner_origin", "to_corner_origin"]


def check_points(points: ArrayLike | torch.Tensor, name: str = "points") -> NDArray[Any]:
    """Return `points` as a floating array of shape [n, 2], or say what is wrong with it.

    Parameters
    ----------
    points : array_like or torch.Tensor [n, 2]
        (y, x) in pixels. Any device. An empty set may have the shape [0] too.
    name : str
        What the error message calls the argument.

    Returns
    -------
    numpy.ndarray [n, 2], float32 or float64
        float32 stays float32; everything else becomes float64.

    Raises
    ------
    InputError
        On another shape, on what is not a number, on NaN or infinity.

    Examples
    --------
    >>> check_points([(1, 2), (3, 4)])
    array([[1., 2.],
           [3., 4.]])
    """
    array = _as_floats(points, name)
    if array.shape == (0,):
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(
            f"{name}: came with shape {list(array.shape)}, expected [n, 2], one (y, x) per row"
        )
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise InputError(
            f"{name}: row {row} is {tuple(array[row].tolist())}, expected finite coordinates"
        )
    return array


def check_scores(scores: ArrayLike | torch.Tensor, count: int) -> NDArray[Any]:
    """Return `scores` as a floating array of shape [count], or say what is wrong with it.

    Raises
    ------
    InputError
        On another shape, on what is not a number, on NaN or infinity.
    """
    array = _as_floats(scores, "scores")
    if array.shape != (count,):
        raise InputError(
            f"scores: came with shape {list(array.shape)}, expected [{count}], one per point"
        )
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise InputError(f"scores: row {row} is {array[row]}, expected finite numbers")
    return array


def to_corner_origin(points: ArrayLike) -> NDArray[np.float64]:
    """Convert (y, x) with pixel centres at integers to QuPath's and ImageJ's (x, y).

    Those put the origin at the corner of the top-left pixel, whose centre is then (0.5, 0.5).

    Examples
    --------
    >>> to_corner_origin([[0.0, 7.0]])
    array([[7.5, 0.5]])
    """
    return np.asarray(points, dtype=np.float64)[:, ::-1] + 0.5


def from_corner_origin(points: ArrayLike) -> NDArray[np.float64]:
    """Convert (x, y) with a corner origin to (y, x) with pixel centres at integers.

    The inverse of `to_corner_origin`.

    Examples
    --------
    >>> from_corner_origin([[7.5, 0.5]])
    array([[0., 7.]])
    """
    return np.asarray(points, dtype=np.float64)[:, ::-1] - 0.5


def _as_floats(values: ArrayLike | torch.Tensor, name: str) -> NDArray[Any]:
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        array = np.asarray(values)
        return array if array.dtype == np.float32 else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected a rectangular array of numbers: {error}") from None
