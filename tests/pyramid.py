"""Slides as scanners write them, and OME-TIFF, small enough for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray


def write_svs(path: Path, pixels: NDArray[np.uint8], pixel_size: float | None = 0.5) -> Path:
    """An Aperio SVS of an image, with levels of half and a quarter its size and a thumbnail."""
    height, width = pixels.shape[:2]
    known = "" if pixel_size is None else f"|MPP = {pixel_size}"
    how: dict[str, Any] = {
        "description": f"Aperio Image Library v11\r\n{width}x{height} (64x64)|AppMag = 20{known}",
        "photometric": "rgb",
        "compression": "zlib",
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(64, 64), **how)
        tiff.write(np.ascontiguousarray(pixels[::8, ::8]), rowsperstrip=16, **how)
        for factor in (2, 4):
            tiff.write(shrunk(pixels, factor), tile=(64, 64), **how)
    return path


def write_ome(path: Path, pixels: NDArray[Any], pixel_size: float) -> Path:
    """An OME-TIFF, grey or RGB, that tells the micrometres per pixel."""
    size = {f"PhysicalSize{axis}": pixel_size for axis in "XY"}
    metadata = {"axes": "YXS"[: pixels.ndim], **size}
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, metadata=metadata, ome=True)
    return path


def shrunk(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The means of squares of pixels; what is left over at the far sides is dropped."""
    height, width = (n // factor for n in pixels.shape[:2])
    squares = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    means: NDArray[np.uint8] = np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)
    return means
