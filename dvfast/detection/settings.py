"""How a density becomes points; travels with the weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._arguments import (
    check_count,
    check_flag,
    check_gaussian,
    check_integer,
    check_number,
    check_stride,
    limit,
)
from .._padding import check_padding
from ..data.images import NORMALIZATIONS

__all__ = ["DetectionSettings"]

_MOST_CENTROID_RADIUS = 64


@dataclass(frozen=True)
class DetectionSettings:
    """What happens between an image and its nuclei. Lengths are pixels at the model's scale.

    Parameters
    ----------
    stride
        Distance between voters, at least 1. Densities are multiplied by its square, so that they,
        and an absolute threshold, do not depend on it.
    sigma, window
        The Gaussian of :func:`dvfast.vote_density`.
    threshold, relative, min_distance
        As for :func:`dvfast.find_peaks`.
    max_offset
        Votes longer than this, 0 or more, do not count; ``None``: all count.
    padding
        What surrounds the image; see :func:`dvfast.scan`.
    normalization
        ``"none"``, or ``"percentiles"``: every image is scaled by its own dark and bright ends
        first, see :func:`dvfast.data.normalize`. For fluorescence, where exposures differ.
    orientations
        1, 2, 4 or 8: in so many ways the image is looked at, turned and flipped, and the densities
        are averaged: often a little better, and as many times slower.
    centroid_radius
        A nucleus lies at the centroid of the density within so many pixels of its peak, 0 to 64:
        nearer to the middle of nuclei that are large against `sigma`, of which any part may hold
        the peak. Below 1 it lies at the peak itself.

    Raises
    ------
    TypeError
        If a setting is of another type.
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> import dvfast
    >>> dvfast.DetectionSettings(sigma=3.0, window=13).stride
    1
    """

    stride: int = 1
    sigma: float = 1.0
    window: int = 5
    threshold: float = 0.2
    relative: bool = True
    min_distance: int = 1
    max_offset: float | None = None
    padding: str = "reflect"
    normalization: str = "none"
    orientations: int = 1
    centroid_radius: float = 0.0

    def __post_init__(self) -> None:
        check_stride(self.stride)
        check_gaussian(self.sigma, self.window)
        check_number("threshold", self.threshold)
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be finite, got {self.threshold}")
        check_flag("relative", self.relative)
        check_count("min_distance", self.min_distance)
        limit("max_offset", self.max_offset)
        check_padding(self.padding)
        check_integer("orientations", self.orientations)
        if self.orientations not in (1, 2, 4, 8):
            raise ValueError(f"orientations must be 1, 2, 4 or 8, got {self.orientations!r}")
        check_number("centroid_radius", self.centroid_radius)
        if not 0 <= self.centroid_radius <= _MOST_CENTROID_RADIUS:
            raise ValueError(
                f"centroid_radius must be between 0 and {_MOST_CENTROID_RADIUS} pixels, got "
                f"{self.centroid_radius}"
            )
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {', '.join(NORMALIZATIONS)}, got "
                f"{self.normalization!r}"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind: Any = float if field.name == "max_offset" else type(field.default)
            if value is not None:  # NumPy's numbers, which JSON does not know
                object.__setattr__(self, field.name, kind(value))

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectionSettings:
        """The inverse of :meth:`to_dict`; unknown names are an error."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown detection settings: {', '.join(unknown)}")
        return cls(**values)
