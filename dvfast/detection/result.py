"""What a detection found, and the files it can be written to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import read_image, write_csv, write_geojson
from ..errors import InputError
from .overlay import draw_overlay, write_png

__all__ = ["DetectionResult"]


@dataclass(frozen=True)
class DetectionResult:
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
        Votes that were NaN or infinite and did not count; 0 for a sound network.
    """

    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    density: NDArray[np.float32]
    image: NDArray[Any]
    num_void: int = 0

    def __len__(self) -> int:
        return len(self.points)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write ``y,x,score``, one line per nucleus."""
        write_csv(path, self.points, self.scores)

    def to_geojson(self, path: str | os.PathLike[str]) -> None:
        """Write points that QuPath opens as detections (its origin is the corner of a pixel)."""
        write_geojson(path, self.points, self.scores)

    def to_png(self, path: str | os.PathLike[str]) -> None:
        """Write the image with a dot on every nucleus."""
        write_png(path, self.plot())

    def plot(self, truth: NDArray[Any] | None = None, radius: float | None = None) -> NDArray[Any]:
        """Draw the nuclei on the image: yellow dots, and annotations as green circles if given."""
        return draw_overlay(self.image, self.points, truth=truth, radius=radius)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the format that the extension names: .csv, .geojson (or .json), .png."""
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


def as_image(image: NDArray[Any] | str | os.PathLike[str]) -> NDArray[Any]:
    """The pixels of an image that came as an array or as a file."""
    return image if isinstance(image, np.ndarray) else read_image(image)
