"""Images from files, as tensors, and at another scale."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .decoding import decode_pillow, decode_tiff, pillow_size, pillow_to_array, tiff_size
from .paths import existing_file, visible_files

__all__ = [
    "EXPOSURE_PERCENTILES",
    "IMAGE_SUFFIXES",
    "NORMALIZATIONS",
    "SLIDE_SUFFIXES",
    "Exposure",
    "as_image",
    "channel_in_colour",
    "has_16_bits",
    "image_size",
    "image_to_tensor",
    "least_contrast",
    "list_images",
    "normalize",
    "read_image",
    "resample",
    "resample_points",
    "stretch",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")

NORMALIZATIONS = ("none", "percentiles")

# Few pixels may be darker or brighter than what becomes 0 and 1. An image of less contrast than the
# last numbers has no content: its noise is not stretched any further. Five of 255 counts; cameras
# of 16 bits have exposures that fill a few hundred of 65,535, and noise of a few.
EXPOSURE_PERCENTILES = (1.0, 99.8)
_LEAST_CONTRAST, _LEAST_CONTRAST_OF_16_BITS = 0.02, 0.02 / 16

# A channel that reaches so many times as high as both others holds the image alone: JPEG leaves up
# to a fifth in the others (quality 75, red).
_IN_COLOUR = 4

# Of what filters and resizing leave: so far beyond [0, 1] is no other range.
_ROUNDING = 1e-6

_DIVIDE = "; divide by the largest value the camera can give (255, 4095, 65535)"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_Points = TypeVar("_Points", NDArray[Any], torch.Tensor)


def read_image(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one 2-D image: PNG, JPEG or TIFF, recognised by content and not by name.

    Transparency is dropped (of a TIFF, where ExtraSamples says that it is one), palettes become
    RGB, 1-bit images become 0 and 255. A JPEG is turned
    the way its EXIF orientation says; PNG and TIFF are left as they lie. PNG with 16 bits per
    colour channel is read with 8 (16-bit grey keeps its 16 bits); store such images as TIFF.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or float32
        Values as stored; a floating image is not rescaled.

    Raises
    ------
    InputError
        If the file is missing, a folder, empty, truncated, of another format, has several pages,
        no pixels, or a colour space or number type other than the above. The message names the
        file.
    """
    path = existing_file(path)
    image = decode_tiff(path) if _is_tiff(path) else decode_pillow(path)
    if 0 in image.shape:
        raise InputError(f"{path}: the image has no pixels, its shape is {list(image.shape)}")
    return np.ascontiguousarray(image)


def as_image(image: Any) -> NDArray[Any]:
    """The pixels of an image that came as an array, as Pillow's or as a file."""
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, Image.Image):
        return pillow_to_array(image, "image")
    if isinstance(image, (str, os.PathLike)):
        return read_image(image)
    way = "image.permute(1, 2, 0).cpu().numpy(), if it is [C, H, W], makes one"
    raise InputError(
        f"image: came as a {type(image).__name__}, expected a NumPy array [H, W] or [H, W, 3], a "
        f"Pillow image or a file{f'; {way}' if isinstance(image, torch.Tensor) else ''}"
    )


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of what :func:`read_image` would read, from the head of the file alone.

    (0, 0) where the head cannot be read: :func:`read_image` says why.
    """
    path = existing_file(path)
    return tiff_size(path) if _is_tiff(path) else pillow_size(path)


def _is_tiff(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) in _TIFF_SIGNATURES
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error


def image_to_tensor(image: NDArray[Any], channels: int, name: str = "image") -> torch.Tensor:
    """Convert an array to what the network takes.

    uint8 is divided by 255, uint16 by 65535, floating images must lie within [0, 1]
    already, but for rounding (1e-6).
    Grey is repeated for three channels, RGB is weighted (0.2125, 0.7154, 0.0721) for one, and a
    fourth channel, alpha, is dropped.

    Parameters
    ----------
    image : numpy.ndarray [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], uint8, uint16 or floating
        Never modified, never aliased.
    channels : {1, 3}
        Channels of the result.
    name : str
        What errors call the image: its file, where there is one.

    Returns
    -------
    torch.Tensor [C, H, W], float32, in [0, 1]

    Raises
    ------
    InputError
        On any other shape, size, number type, range or number of channels, and of masked pixels.

    Examples
    --------
    >>> image_to_tensor(np.array([[0, 51]], dtype=np.uint8), channels=1)
    tensor([[[0.0000, 0.2000]]])
    """
    if channels not in (1, 3):
        raise InputError(f"channels: came as {channels}, expected 1 (grey) or 3 (RGB)")
    if np.ma.is_masked(image):
        raise InputError(
            f"{name}: has masked pixels, which a network cannot pass over; image.filled(value) "
            "says what they are"
        )
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        way = "; np.moveaxis(image, 0, -1) puts them there"
        raise InputError(
            f"{name}: came with shape {list(image.shape)}, expected [H, W], [H, W, 1], [H, W, 3] "
            f"or [H, W, 4], channels last{way if image.shape[:1] in ((1,), (3,), (4,)) else ''}"
        )
    if 0 in image.shape:
        raise InputError(f"{name}: has no pixels, its shape is {list(image.shape)}")
    full_scale = _full_scale(image, name)
    planes = np.array(np.moveaxis(image[..., :3], -1, 0), dtype=np.float32, order="C")
    planes /= full_scale
    if image.dtype.kind == "f":
        planes.clip(0, 1, out=planes)
    if channels == 1 and len(planes) == 3:
        from skimage.color import rgb2gray

        # The three weights add up to 1 in real numbers but may not in float32.
        planes = np.minimum(rgb2gray(planes, channel_axis=0), np.float32(1))[None]
    tensor = torch.from_numpy(planes)
    return tensor.repeat(channels, 1, 1) if len(tensor) < channels else tensor


def _full_scale(image: NDArray[Any], name: str) -> float:
    if has_16_bits(image.dtype):
        return 65535.0
    if image.dtype == np.uint8:
        return 255.0
    if image.dtype.kind != "f":
        ways = {"b": "; image * np.uint8(255) makes it uint8", "i": _DIVIDE, "u": _DIVIDE}
        raise InputError(
            f"{name}: came as {image.dtype}, expected uint8, uint16 or floating point in [0, 1]"
            f"{ways.get(image.dtype.kind, '')}"
        )
    if not np.isfinite(image).all():
        raise InputError(f"{name}: holds NaN or infinity, expected finite values in [0, 1]")
    low, high = float(image.min()), float(image.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"{name}: floating values span [{low:.9g}, {high:.9g}], expected [0, 1]{_DIVIDE}"
        )
    return 1.0


def has_16_bits(dtype: np.dtype[Any]) -> bool:
    """Whether these are positive numbers of 16 bits, whichever byte comes first."""
    return dtype.kind == "u" and dtype.itemsize == 2


def least_contrast(dtype: np.dtype[Any]) -> float:
    """The share of their range that pixels of this kind must span to be stretched to all of it."""
    return _LEAST_CONTRAST_OF_16_BITS if has_16_bits(dtype) else _LEAST_CONTRAST


def normalize(
    image: torch.Tensor, normalization: str, least: float = _LEAST_CONTRAST
) -> torch.Tensor:
    """Make images of different exposure alike.

    Parameters
    ----------
    image : torch.Tensor [C, H, W], floating, in [0, 1]
    normalization : {"none", "percentiles"}
        ``"percentiles"`` maps the 1st percentile of all values to 0 and the 99.8th to 1, linearly;
        what lies beyond is clipped. A grey image that is stored in a colour, as fluorescence often
        is, becomes grey: of three channels two have nothing.
    least : float
        A range of less counts as this much: noise is no content. See :func:`least_contrast`.

    Returns
    -------
    torch.Tensor [C, H, W], in [0, 1]
        `image` itself for ``"none"``.

    Raises
    ------
    InputError
        If there is no such normalization.

    Examples
    --------
    >>> dark = torch.linspace(0, 0.1, 1001).reshape(1, 7, 143)
    >>> normalize(dark, "percentiles").amax()
    tensor(1.)
    """
    if normalization not in NORMALIZATIONS:
        raise InputError(
            f"normalization: came as {normalization!r}, expected one of {list(NORMALIZATIONS)}"
        )
    if normalization == "none":
        return image
    channel = channel_in_colour(image.flatten(1).amax(dim=1).tolist())
    shown = image if channel is None else image[channel]
    # NumPy's, as torch.quantile takes 16 million values at most.
    low, high = np.percentile(shown.detach().cpu().numpy(), EXPOSURE_PERCENTILES)
    return stretch(image, Exposure(float(low), float(high), channel), least)


class Exposure(NamedTuple):
    """What becomes 0 and 1, and the only channel that counts, if there is one."""

    dark: float
    bright: float
    channel: int | None = None


def channel_in_colour(highest: Sequence[float]) -> int | None:
    """Which of three channels holds a grey image that is stored in a colour, as of a dye.

    By the highest value of every channel: the other two hold nothing but what compression leaves.
    None where the colours say something.
    """
    if len(highest) != 3:
        return None
    *others, brightest = sorted(highest)
    in_colour = brightest > 0 and _IN_COLOUR * max(others) <= brightest
    return highest.index(brightest) if in_colour else None


def stretch(image: torch.Tensor, exposure: Exposure, least: float) -> torch.Tensor:
    """Map the dark end to 0 and the bright end to 1, linearly; clip the rest."""
    dark, bright, channel = exposure
    grey = image if channel is None else image[channel].expand_as(image)
    return ((grey - dark) / max(bright - dark, least)).clamp(0, 1)


def list_images(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, slides: bool = False
) -> list[Path]:
    """Expand files, folders and glob patterns into image files.

    A file is taken as given; of a folder, the images directly inside; of a pattern (``*``, ``?``,
    ``[...]``, ``**``), the images among its matches. Images go by `IMAGE_SUFFIXES`, in either case.

    Parameters
    ----------
    inputs : path or iterable of paths
        In the order in which the images are wanted.
    slides : bool
        Whether the files of slide scanners are images too: `SLIDE_SUFFIXES`.

    Returns
    -------
    list of pathlib.Path
        Sorted by name within a folder or a pattern; a file that is named twice comes once.

    Raises
    ------
    InputError
        If one of `inputs`, or all of them together, gives no image.
    """
    items = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    suffixes = (*IMAGE_SUFFIXES, *SLIDE_SUFFIXES) if slides else IMAGE_SUFFIXES
    found: dict[str, Path] = {}
    for item in items:
        for path in _expand(item, suffixes):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise InputError("inputs: came empty, expected image files, folders or patterns")
    return list(found.values())


def _expand(item: str | os.PathLike[str], suffixes: tuple[str, ...]) -> list[Path]:
    if not os.fspath(item):
        raise InputError("inputs: one came empty, expected an image file, a folder or a pattern")
    path = Path(item)
    if path.is_dir():
        candidates, what = visible_files(path), "holds no images"
    elif path.exists():
        return [path]
    elif glob.has_magic(str(item)):
        matches = sorted(glob.glob(str(item), recursive=True))
        candidates, what = [Path(m) for m in matches if os.path.isfile(m)], "matches no images"
    else:
        raise InputError(f"{item}: no such file or folder")
    images = [p for p in candidates if p.suffix.lower() in suffixes]
    if not images:
        raise InputError(f"{item}: {what} ({', '.join(suffixes)})")
    return images


def resample(image: torch.Tensor, scale: float) -> torch.Tensor:
    """Resize an image bilinearly, with anti-aliasing when it shrinks.

    Sizes are rounded, so the true scale is the ratio of the sizes: map points with
    `resample_points`, not with `scale`.

    Parameters
    ----------
    image : torch.Tensor [C, H, W], floating
    scale : float
        New pixels per old pixel, > 0.

    Returns
    -------
    torch.Tensor [C, max(1, round(H * scale)), max(1, round(W * scale))]
        `image` itself for a scale of 1.

    Raises
    ------
    InputError
        On another number of dimensions, an image without pixels, or a scale that is not positive
        and finite.

    Examples
    --------
    >>> resample(torch.rand(3, 40, 61), 0.5).shape
    torch.Size([3, 20, 30])
    """
    if image.ndim != 3 or 0 in image.shape:
        raise InputError(f"image: came with shape {list(image.shape)}, expected [C, H, W]")
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"scale: came as {scale}, expected a positive number")
    if scale == 1:
        return image
    size = [max(1, round(length * scale)) for length in image.shape[1:]]
    return torch.nn.functional.interpolate(
        image[None], size=size, mode="bilinear", align_corners=False, antialias=scale < 1
    )[0]


def resample_points(points: _Points, from_size: Sequence[int], to_size: Sequence[int]) -> _Points:
    """Map points between two sizes of one image; pixel corners fall onto pixel corners.

    Per axis, ``(p + 0.5) * to / from - 0.5``. The same call with the sizes exchanged is the
    inverse.

    Parameters
    ----------
    points : numpy.ndarray or torch.Tensor [n, 2]
        (y, x), pixel centres at integers.
    from_size, to_size : sequence of two ints
        (H, W), at least 1.

    Returns
    -------
    numpy.ndarray or torch.Tensor [n, 2]
        Of the type of `points`, floating.

    Raises
    ------
    InputError
        On another shape, or sizes that are not two positive numbers.

    Examples
    --------
    >>> resample_points(np.array([[0.0, 9.0]]), (10, 10), (5, 20))
    array([[-0.25, 18.5 ]])
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"points: came with shape {list(points.shape)}, expected [n, 2]")
    for name, size in (("from_size", from_size), ("to_size", to_size)):
        if len(size) != 2 or min(size) < 1:
            raise InputError(f"{name}: came as {tuple(size)}, expected (H, W), both at least 1")
    centred = points + 0.5
    if isinstance(centred, torch.Tensor):
        return centred * centred.new_tensor(to_size) / centred.new_tensor(from_size) - 0.5
    return centred * np.asarray(to_size, centred.dtype) / np.asarray(from_size, centred.dtype) - 0.5
