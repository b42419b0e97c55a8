"""Decoders: Pillow for PNG and JPEG, tifffile for TIFF."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError

__all__ = [
    "decode_pillow",
    "decode_tiff",
    "ome_pixel_size",
    "pillow_size",
    "pillow_to_array",
    "tiff_size",
]

# What a camera of 14 bits leaves in the upper 8 of 16.
_FEW = 63

# Compressions that every Pillow reads, so that they are damaged where it does not.
_OF_PILLOW = ("LZW", "JPEG", "CCITTRLE", "CCITT_T4", "CCITT_T6")

_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3}


def decode_pillow(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> NDArray[Any]:
    """Decode a file with Pillow.

    Parameters
    ----------
    path : pathlib.Path
        An existing file.
    formats : tuple of str
        Pillow's names of the formats to try.

    Returns
    -------
    numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or float32

    Raises
    ------
    InputError
        If it cannot be decoded, to the last pixel, into one of these.
    """
    try:
        with Image.open(path, formats=formats) as image:
            # A multi-picture JPEG carries previews after its picture, a TIFF that comes here the
            # levels of a pyramid; PNG pages are an animation.
            pages = getattr(image, "n_frames", 1) if image.format == "PNG" else 1
            if pages != 1:
                raise InputError(f"{path}: holds {pages} frames, expected a single image")
            cut = _loses_bits(image)
            image.load()
            upright = ImageOps.exif_transpose(image) if image.format in ("JPEG", "MPO") else image
            pixels = pillow_to_array(upright, path)
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: not an image that can be read, expected PNG, JPEG or TIFF"
        ) from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: {error}; store it as uncompressed TIFF") from None
    except Exception as error:
        # Decoders raise anything on corrupt data: OSError, SyntaxError, struct.error, zlib.error.
        raise InputError(f"{path}: the image is damaged or truncated: {error}") from error
    if cut and pixels.max() <= _FEW:
        warnings.warn(
            f"{path}: of the 16 bits of its colours 8 can be read, in which its pixels are at most "
            f"{pixels.max()}, as of a camera of fewer bits; store it as TIFF",
            UserWarning,
            stacklevel=3,  # past read_image
        )
    return pixels


def _loses_bits(image: Image.Image) -> bool:
    """Whether Pillow will leave 8 of 16 bits, as it does with all but grey PNG alone."""
    tiles = getattr(image, "tile", [])
    return image.format == "PNG" and any(
        ";16" in str(tile[-1]) and not image.mode.startswith("I") for tile in tiles
    )


def pillow_size(path: Path) -> tuple[int, int]:
    """(H, W) by the head of a PNG or JPEG, not turned; (0, 0) if there is none."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            return image.height, image.width
    except Exception:
        return 0, 0


def pillow_to_array(image: Image.Image, name: str | Path) -> NDArray[Any]:
    """The pixels of Pillow's image, whose name is for errors, as :func:`decode_pillow` has them."""
    try:
        # Pillow's own images of JPEG files lie as they were stored.
        image = ImageOps.exif_transpose(image) if image.format in ("JPEG", "MPO") else image
        image.load()
    except OSError as error:
        raise InputError(f"{name}: the image is damaged or truncated: {error}") from error
    mode = image.mode
    if mode == "1":
        return np.array(image.convert("L"))
    if mode in ("L", "RGB", "F"):
        return np.array(image)
    if mode == "LA":
        return np.array(image.getchannel(0))
    if mode in ("P", "PA", "RGBA", "RGBX"):
        return np.array(image.convert("RGB"))
    # Older Pillows open 16-bit grey PNG as 32-bit integers.
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        return np.array(image).astype(np.uint16)
    raise InputError(
        f"{name}: pixels of kind {mode!r}, expected grey or RGB with 8 or 16 bits or grey floats; "
        "convert the image to RGB"
    )


def decode_tiff(path: Path) -> NDArray[Any]:
    """Decode a TIFF file that holds one 2-D image, grey or RGB; of a pyramid, its base.

    What tifffile wants the package imagecodecs for (LZW, JPEG, packed bits) goes through Pillow
    where that package is missing, as far as Pillow reads it.

    Parameters
    ----------
    path : pathlib.Path
        An existing file.

    Returns
    -------
    numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or float32

    Raises
    ------
    InputError
        On several pages, other colour spaces, number types or channels than grey or RGB and alpha,
        damaged or truncated files, and where only imagecodecs could read it.
    """
    with _opened(path) as tiff:
        _refuse_several(path, tiff)
        series = tiff.series[0]
        _check_series(path, series)
        try:
            pixels = series.asarray()
        except (ValueError, NotImplementedError, ImportError) as error:
            # Python's own decoders, which tifffile knows too, are not in every Python.
            if not isinstance(error, ImportError) and "imagecodecs" not in str(error):
                raise
            return _decode_without_imagecodecs(path, series.keyframe)
        return _tiff_to_array(path, series.keyframe, series.axes, pixels)


def tiff_size(path: Path) -> tuple[int, int]:
    """(H, W) of the first page, by its head; (0, 0) if there is none."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = tiff.pages.first
            return int(page.imagelength), int(page.imagewidth)
    except Exception:
        return 0, 0


def check_tiff(path: Path) -> None:
    """Raise an InputError if the first image is not grey or RGB alone; levels may follow it."""
    with _opened(path) as tiff:
        _check_series(path, tiff.series[0])


def ome_pixel_size(path: Path) -> float | None:
    """Micrometres per pixel, the mean of both directions, where a TIFF tells it in OME's words.

    Its resolution alone is more often that of a print than of a microscope.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            description = ElementTree.fromstring(tiff.ome_metadata or "")
        pixels = next(item for item in description.iter() if item.tag.endswith("}Pixels"))
        sizes = [
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * _MICROMETRES[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
        ]
    except Exception:  # another file, or a description that says nothing of use
        return None
    return sum(sizes) / 2 if min(sizes) > 0 and np.isfinite(sizes).all() else None


def holds_several(path: Path) -> bool:
    """Whether a TIFF has other images than the first and its levels."""
    with _opened(path) as tiff:
        return len(tiff.series) > 1


def is_tiff_of_bytes(path: Path) -> bool:
    """Whether the first page has 8 bits per number."""
    with _opened(path) as tiff:
        page: Any = tiff.pages.first
        return bool(page.dtype == np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A TIFF file, whatever is wrong with which is an InputError."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Decoders raise anything on corrupt data: ValueError, IndexError, struct.error, zlib.error.
        raise InputError(f"{path}: the TIFF is damaged or truncated: {error}") from error


def _refuse_several(path: Path, tiff: Any) -> None:
    if len(tiff.series) != 1:
        shapes = ", ".join("x".join(map(str, series.shape)) for series in tiff.series[:4])
        raise InputError(
            f"{path}: holds {len(tiff.series)} images ({shapes or 'no pages'}), expected one; "
            "export the one to be analysed, or give a whole slide to Detector.detect_slide"
        )


def _check_series(path: Path, series: Any) -> None:
    shape, axes = series.shape, series.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise InputError(
            f"{path}: a multi-page TIFF of shape {'x'.join(map(str, shape))} with axes {axes}, "
            "expected one 2-D image; export a single plane, or merge the channels to RGB"
        )
    _check_colours(path, series.keyframe, shape[axes.index("S")] if "S" in axes else 1)


def _check_colours(path: Path, page: Any, channels: int) -> None:
    photometric = _name(page.photometric)
    if photometric not in ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "YCBCR"):
        raise InputError(
            f"{path}: colour space {photometric}, expected grey or RGB; convert the image to RGB"
        )
    extra = [_name(sample) for sample in page.extrasamples]
    alpha = extra in (["ASSOCALPHA"], ["UNASSALPHA"])
    if channels not in (_colours(photometric), _colours(photometric) + alpha):
        raise InputError(
            f"{path}: {channels} channels of kind {photometric} and ExtraSamples "
            f"{', '.join(extra) or 'none'}, expected grey or RGB, with or without alpha; merge the "
            "channels to RGB"
        )
    if photometric == "MINISWHITE" and page.dtype is not None and page.dtype.kind == "f":
        raise InputError(
            f"{path}: floating pixels of which 0 is white, expected 0 to be black, as nobody knows "
            "which number would be; store the image as MINISBLACK"
        )


def _name(value: Any) -> str:
    """Of an enumeration; what tifffile does not know comes as a number."""
    return getattr(value, "name", str(value))


def _colours(photometric: str) -> int:
    return 3 if photometric in ("RGB", "YCBCR") else 1


def _tiff_to_array(path: Path, page: Any, axes: str, pixels: NDArray[Any]) -> NDArray[Any]:
    photometric = _name(page.photometric)
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    elif pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    else:
        raise InputError(
            f"{path}: pixels of type {pixels.dtype}, expected uint8, uint16 or floating point; "
            "convert the image first"
        )
    if axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if _colours(photometric) == 3 else pixels[..., 0]
    if photometric == "PALETTE":
        colours16: NDArray[np.uint16] = page.colormap[:, pixels]
        return np.moveaxis(colours16 >> 8, 0, -1).astype(np.uint8)
    pixels = _at_full_range(pixels, page.bitspersample)
    if photometric == "MINISWHITE":
        return np.iinfo(pixels.dtype).max - pixels
    return pixels


def _at_full_range(pixels: NDArray[Any], bits: Any) -> NDArray[Any]:
    """Numbers of 2, 4 or 12 bits as if they had all of those that they are kept in."""
    several = not isinstance(bits, int)  # where channels differ, tifffile scales them
    if several or pixels.dtype.kind != "u" or bits == 1 or bits >= 8 * pixels.dtype.itemsize:
        return pixels
    scaled: NDArray[Any] = np.rint(pixels * (np.iinfo(pixels.dtype).max / (2**bits - 1)))
    return scaled.astype(pixels.dtype)


def _decode_without_imagecodecs(path: Path, page: Any) -> NDArray[Any]:
    # Pillow would quietly cut 16-bit colour to 8 bits, take 16-bit white for black, and turn an
    # image as its tag asks, where tifffile leaves it as it lies.
    photometric, compression = _name(page.photometric), _name(page.compression)
    bits = page.bitspersample
    deep = bits > 8 and (page.samplesperpixel > 1 or photometric == "MINISWHITE")
    turned = page.tags.valueof("Orientation", 1) != 1
    if not (deep or turned):
        try:
            pixels = decode_pillow(path, formats=("TIFF",))
        except InputError:
            if compression in _OF_PILLOW and bits in (1, 8, 16):
                raise
        else:
            # Pillow fills 8 bits by itself.
            return _at_full_range(pixels, bits) if bits > 8 else pixels
    packed = "" if compression == "NONE" else f" compressed with {compression}"
    raise InputError(
        f"{path}: {bits}-bit pixels of kind {photometric}{', turned by a tag,' if turned else ''}"
        f"{packed} need the package imagecodecs: pip install imagecodecs"
    )
