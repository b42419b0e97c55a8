"""What detection found, and the files it can be written to."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import resample_points, write_csv, write_geojson
from ..errors import InputError
from .overlay import draw_crowd, draw_overlay, write_png

__all__ = ["DetectionResult", "SlideResult"]


# Where nuclei lie closer than this in the picture, dots would hide it.
_CLOSEST_DOTS = 12.0


@dataclass(frozen=True, eq=False, repr=False)
class Nuclei(ABC):
    """Points, their scores, and the files they can be written to."""

    points: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        height, width = self._size
        return f"{type(self).__name__}({len(self)} nuclei in {height} x {width} pixels)"

    @property
    @abstractmethod
    def _size(self) -> tuple[int, int]:
        """Of the image."""

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write ``y,x,score``, one line per nucleus."""
        write_csv(path, self.points, self.scores)

    def to_geojson(self, path: str | os.PathLike[str]) -> None:
        """Write points that QuPath opens as detections (its origin is the corner of a pixel)."""
        write_geojson(path, self.points, self.scores)

    def to_png(self, path: str | os.PathLike[str]) -> None:
        """Write what :meth:`plot` draws."""
        write_png(path, self.plot())

    @abstractmethod
    def plot(self) -> NDArray[Any]:
        """Draw the nuclei over the image."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the format that the extension names: .csv, .geojson (or .json), .png.

        Raises
        ------
        InputError
            On another extension, or if the file cannot be written.
        """
        writers = {
            ".csv": self.to_csv,
            ".geojson": self.to_geojson,
            ".json": self.to_geojson,
            ".png": self.to_png,
        }
        writer = writers.get(Path(path).suffix.lower())
        if writer is None:
            raise InputError(f"{path}: the extension must be one of {', '.join(writers)}")
        writer(path)


@dataclass(frozen=True, eq=False, repr=False)
class DetectionResult(Nuclei):
    """The nuclei of one image.

    Attributes
    ----------
    points
        ``[n, 2]`` float64, centres ``(y, x)`` in pixels of the image as it came, in raster order at
        the model's scale.
    scores
        ``[n]`` float64, the voting density at the centres.
    density
        ``[h, w]`` float32, the voting density at the model's scale.
    image
        The image as it came, ``[H, W]`` or ``[H, W, 3]``.
    num_void
        Votes that did not count, see :func:`dvfast.functional.count_void_votes`; 0 for a sound
        network.
    """

    density: NDArray[np.float32]
    image: NDArray[Any]
    num_void: int = 0

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.image.shape[:2]
        return height, width

    def plot(self, truth: NDArray[Any] | None = None, radius: float | None = None) -> NDArray[Any]:
        """Draw the nuclei on the image: yellow dots, and annotations as green circles if given.

        Parameters
        ----------
        truth
            ``[n, 2]`` annotations ``(y, x)``, in pixels of the image.
        radius
            Of their circles, in pixels; by default it follows the image.
        """
        return draw_overlay(self.image, self.points, truth=truth, radius=radius)


@dataclass(frozen=True, eq=False, repr=False)
class SlideResult(Nuclei):
    """The nuclei of a whole slide, or of a region of it.

    Attributes
    ----------
    points
        ``[n, 2]`` float64, centres ``(y, x)`` in pixels of the slide at full resolution, in raster
        order at the model's scale.
    scores
        ``[n]`` float64, the voting density at the centres.
    size
        (H, W) of the slide at full resolution.
    pixel_size
        Micrometres per pixel there, as the slide tells or as it was given; None: not known.
    region
        ``(top, left, height, width)``, the part that was looked at.
    share_looked_at
        Of that part, from 0 to 1; the rest was blank.
    picture
        The region, its longer side at most 2,048 pixels.
    num_void
        Votes that did not count, see :func:`dvfast.functional.count_void_votes`; 0 for a sound
        network.
    """

    size: tuple[int, int]
    pixel_size: float | None
    region: tuple[int, int, int, int]
    share_looked_at: float
    picture: NDArray[Any]
    num_void: int = 0

    @property
    def _size(self) -> tuple[int, int]:
        return self.size

    def plot(self) -> NDArray[Any]:
        """Draw the nuclei on the picture: dots, or where those would hide it, their number.

        Transparent where there are none, yellow where there are most, counted within discs of a few
        pixels.
        """
        shape = self.picture.shape[:2]
        inside = self.points - np.array(self.region[:2])
        points = resample_points(inside, self.region[2:], shape)
        area = shape[0] * shape[1] * self.share_looked_at
        if len(points) * _CLOSEST_DOTS**2 <= area:
            return draw_overlay(self.picture, points)
        return draw_crowd(self.picture, points)
