"""Whole slides: images of which only parts are held in memory."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .decoding import check_tiff, holds_several, is_tiff_of_bytes, ome_pixel_size
from .images import SLIDE_SUFFIXES, as_image, image_size, read_image
from .paths import existing_file

__all__ = ["ArraySlide", "Slide", "open_slide", "slide_of"]

# Of this many pixels the float image alone takes 1.2 GB, and detection at once three times that.
_LARGE = 100_000_000

_BAND_PIXELS = 1 << 24


class Slide(ABC):
    """An image that is read part by part, at one of several resolutions.

    Attributes
    ----------
    size : tuple of int
        (H, W) at full resolution.
    pixel_size : float or None
        Micrometres per pixel at full resolution, if the file tells.
    downsamples : sequence of float
        Of every level, from 1 upwards: pixels of full resolution per pixel of the level.
    sizes : sequence of tuple of int
        (H, W) of every level.
    name : str
        What errors call it: its file, where there is one.
    """

    name: str = "image"
    size: tuple[int, int]
    pixel_size: float | None = None
    downsamples: Sequence[float] = (1.0,)
    sizes: Sequence[tuple[int, int]]

    @abstractmethod
    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> NDArray[Any]:
        """Pixels of a level, a part that lies within it: ``[height, width]`` or ``[..., 3]``.

        May be called by several threads at a time.
        """

    def picture(self, region: tuple[int, int, int, int], side: int = 2048) -> NDArray[Any]:
        """A region of full resolution, thinned out until its longer side is at most `side`."""
        wanted = max(region[2:]) / side
        level = max(i for i, factor in enumerate(self.downsamples) if factor <= max(wanted, 1))
        factor = self.downsamples[level]
        top, left, height, width = (int(n / factor) for n in region)
        height, width = max(height, 1), max(width, 1)
        step = -(-max(height, width) // side)
        rows = max(step, _BAND_PIXELS // width // step * step)
        bands = [
            self.read(top + i, left, min(rows, height - i), width, level)[::step, ::step]
            for i in range(0, height, rows)
        ]
        return np.concatenate(bands)

    def close(self) -> None:  # noqa: B027  what is held in memory has nothing to close
        """Give back what the file holds open."""

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ArraySlide(Slide):
    """An array ``[H, W]`` or ``[H, W, C]``; a memory map is read as it is needed."""

    def __init__(self, pixels: NDArray[Any], name: str = "image") -> None:
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise InputError(
                f"{name}: came with shape {list(pixels.shape)}, expected [H, W] or [H, W, 3]"
            )
        self.name, self._pixels = name, pixels
        self.size = (pixels.shape[0], pixels.shape[1])
        self.sizes = [self.size]

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> NDArray[Any]:
        return self._pixels[top : top + height, left : left + width]


class _FileSlide(Slide):
    """A file that OpenSlide reads, within the bounds of what was scanned of it."""

    def __init__(self, path: Path, file: Any) -> None:
        properties = file.properties
        self.name, self._file = str(path), file
        self._left, self._top, width, height = (
            int(properties.get(f"openslide.bounds-{name}", whole))
            for name, whole in zip(
                ("x", "y", "width", "height"), (0, 0, *file.dimensions), strict=True
            )
        )
        self._background = f"#{properties.get('openslide.background-color', 'ffffff')}"
        self.size = (height, width)
        self.pixel_size = _pixel_size(properties)
        self.downsamples = tuple(float(factor) for factor in file.level_downsamples)
        self.sizes = [
            (min(whole[1], math.ceil(height / factor)), min(whole[0], math.ceil(width / factor)))
            for whole, factor in zip(file.level_dimensions, self.downsamples, strict=True)
        ]

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> NDArray[Any]:
        factor = self.downsamples[level]
        place = (self._left + round(left * factor), self._top + round(top * factor))
        try:
            part = self._file.read_region(place, level, (width, height))
        except Exception as error:
            raise InputError(f"{self.name}: the slide is damaged or truncated: {error}") from error
        # What was never scanned is transparent.
        opaque = Image.new("RGB", part.size, self._background)
        opaque.paste(part, mask=part.getchannel("A"))
        return np.array(opaque)

    def close(self) -> None:
        self._file.close()


def open_slide(image: NDArray[Any] | Image.Image | str | os.PathLike[str]) -> Slide:
    """Open an image to be read part by part.

    Parameters
    ----------
    image
        ``[H, W]`` or ``[H, W, 3]``, a memory map for instance; Pillow's; or a file that OpenSlide
        reads (SVS, NDPI, MRXS, SCN, BIF, VMS, tiled TIFF and more), or any other image file, which
        is then held in memory as it was stored.

    Returns
    -------
    Slide
        To be closed, or used in a ``with`` statement.

    Raises
    ------
    InputError
        If the file cannot be read, or needs OpenSlide where that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> with open_slide(np.zeros((90, 120, 3), np.uint8)) as slide:
    ...     slide.size, slide.read(80, 100, 10, 20).shape
    ((90, 120), (10, 20, 3))
    """
    if not isinstance(image, (str, os.PathLike)):
        return ArraySlide(as_image(image))
    path = existing_file(image)
    if slide := _open_with_openslide(path):
        return slide
    whole = ArraySlide(read_image(path), str(path))
    whole.pixel_size = ome_pixel_size(path)
    return whole


def slide_of(path: str | os.PathLike[str]) -> Slide | None:
    """Open a file as a slide if a scanner made it, it was exported of one, or it is huge."""
    path = existing_file(path)
    height, width = image_size(path)
    scanned = _is_named_as_slide(path) or _format(path) not in (None, "generic-tiff")
    # The first image of several is the slide, and others its label; no image alone has those.
    scanned = scanned or (ome_pixel_size(path) is not None and holds_several(path))
    return open_slide(path) if scanned or height * width >= _LARGE else None


def _is_named_as_slide(path: Path) -> bool:
    return path.suffix.lower() in SLIDE_SUFFIXES


def _format(path: Path) -> str | None:
    """What OpenSlide calls it; None if it cannot read the file, or is not there to ask."""
    try:
        import openslide
    except ImportError:
        return None
    vendor: str | None = openslide.OpenSlide.detect_format(str(path))
    return vendor


def _open_with_openslide(path: Path) -> Slide | None:
    named = _is_named_as_slide(path)
    try:
        import openslide
    except ImportError:
        if named:
            raise InputError(
                f"{path}: whole slides need OpenSlide: pip install openslide-python openslide-bin"
            ) from None
        return None
    try:
        kind = _format(path)
        if kind is None:
            if named:
                raise InputError(f"{path}: is none of the slides that OpenSlide can read")
            return None
        if kind == "generic-tiff":
            if not is_tiff_of_bytes(path):
                return None  # OpenSlide would leave 8 bits of 16, and cannot read floats
            check_tiff(path)
        slide = _FileSlide(path, openslide.OpenSlide(str(path)))
        if kind == "generic-tiff":
            slide.pixel_size = ome_pixel_size(path)
        return slide
    except openslide.OpenSlideError as error:
        raise InputError(f"{path}: the slide is damaged or truncated: {error}") from error


def _pixel_size(properties: Any) -> float | None:
    """The mean of both directions, which differ by less than a scanner's own tolerance."""
    try:
        sizes = [float(properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
    except (KeyError, ValueError):
        return None
    return sum(sizes) / 2 if min(sizes) > 0 and np.isfinite(sizes).all() else None
