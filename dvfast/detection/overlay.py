"""Detections drawn over the image, and density maps as pictures."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from ..data.images import EXPOSURE_PERCENTILES, image_to_tensor, resample_points
from ..data.own_files import PNG_SOFTWARE
from ..data.paths import atomic_path
from ..data.points import check_points
from ..errors import InputError

__all__ = ["density_to_rgb", "draw_crowd", "draw_overlay", "write_png"]

_YELLOW = (255, 225, 0)
_GREEN = (0, 200, 60)
_DARK = (20, 20, 20)
_DARK_IMAGE = 0.25  # of the range, where nearly all pixels are darker

# Pillow draws without anti-aliasing: a marker is drawn this many times larger, then shrunk.
_SUPERSAMPLING = 8

_SMALLEST_SIDE = 768

# Of the picture of a slide: a few nuclei at a time.
_CROWD_SIGMA = 4.0


def draw_overlay(
    image: NDArray[Any],
    points: ArrayLike | torch.Tensor,
    *,
    radius: float | None = None,
    truth: ArrayLike | torch.Tensor | None = None,
    dot: float | None = None,
) -> NDArray[np.uint8]:
    """Draw detections, and annotations if there are any, over an image.

    A detection is a yellow dot with a dark outline in a thin ring. With `truth` the rings go to
    the annotations, in green, and the detections are dots alone, as in the paper's figure 2. Images
    whose longer side is short of 768 pixels are enlarged by a whole factor first, without
    smoothing, so that markers can be told apart.

    Parameters
    ----------
    image : numpy.ndarray [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or floating in [0, 1]
    points : array_like or torch.Tensor [n, 2]
        (y, x) in pixels of `image`, pixel centres at integers.
    radius : float, optional
        Radius of the rings in pixels of `image`, > 0. By default it follows the image size and
        the distance between detections.
    truth : array_like or torch.Tensor [m, 2], optional
        The annotations, as `points`.
    dot : float, optional
        Radius of the dots, as `radius`.

    Returns
    -------
    numpy.ndarray [f * H, f * W, 3], uint8
        With f the whole factor; markers beyond the border are cut off.

    Raises
    ------
    InputError
        If the image, a point set or a radius is not as above.

    Examples
    --------
    >>> draw_overlay(np.zeros((384, 200)), [(10, 20)]).shape
    (768, 400, 3)
    """
    detections = check_points(points)
    annotations = None if truth is None else check_points(truth, "truth")
    for name, value in (("radius", radius), ("dot", dot)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}: came as {value}, expected a positive number of pixels")
    planes = _as_shown(image, channels=3)
    pixels = planes.permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
    height, width = pixels.shape[:2]
    factor = -(-_SMALLEST_SIDE // max(height, width))
    canvas = Image.fromarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
    size = min(max(canvas.size) / 96, 20.0, factor * _room(detections))
    point = max(0.3 * size, 1.5) if dot is None else factor * dot
    ring = max(size, 4.0) if radius is None else factor * radius
    sizes = (height, width), (height * factor, width * factor)
    if annotations is not None:
        _stamp(canvas, _marker(_GREEN, ring=ring), resample_points(annotations, *sizes))
    marker = _marker(_YELLOW, dot=point, ring=ring if annotations is None else 0)
    _stamp(canvas, marker, resample_points(detections, *sizes))
    return np.array(canvas)


def _as_shown(image: NDArray[Any], channels: int) -> torch.Tensor:
    """What few but the highest values of 16 bits, or of floats, fill would look black."""
    planes = image_to_tensor(image, channels)
    low, high = np.percentile(planes.numpy(), EXPOSURE_PERCENTILES)
    dark = np.asarray(image).dtype != np.uint8 and 0 <= low < high < _DARK_IMAGE
    return ((planes - low) / (high - low)).clamp(0, 1) if dark else planes


def _room(points: NDArray[Any]) -> float:
    """Return the radius at which rings around half of the points would just not touch."""
    if len(points) < 2:
        return float("inf")
    distances = KDTree(points).query(points, k=2)[0][:, 1]
    return float(np.median(distances)) / 2


def _marker(colour: tuple[int, int, int], *, dot: float = 0, ring: float = 0) -> Image.Image:
    line = 1.5
    half = int(np.ceil(max(dot + line, ring + line))) + 1
    side = (2 * half + 1) * _SUPERSAMPLING
    # Transparent pixels carry the marker's colour, otherwise shrinking would fringe it with black.
    sprite = Image.new("RGBA", (side, side), (*colour, 0))
    draw = ImageDraw.Draw(sprite)

    def circle(radius: float, **style: Any) -> None:
        centre, reach = (side - 1) / 2, radius * _SUPERSAMPLING
        draw.ellipse((centre - reach, centre - reach, centre + reach, centre + reach), **style)

    if ring:
        circle(ring + line / 2, outline=(*colour, 255), width=round(line * _SUPERSAMPLING))
    if dot:
        circle(dot + line, fill=(*_DARK, 255))
        circle(dot, fill=(*colour, 255))
    return sprite.resize((2 * half + 1, 2 * half + 1), Image.Resampling.BOX)


def _stamp(canvas: Image.Image, marker: Image.Image, points: NDArray[Any]) -> None:
    half = marker.width // 2
    # Far outside, Pillow's 32-bit coordinates would overflow; such a marker is cut off anyway.
    reach = np.array((canvas.height, canvas.width)) + half
    near = points[((points >= -half) & (points <= reach)).all(axis=1)]
    for y, x in np.rint(near).astype(int).tolist():
        canvas.paste(marker, (x - half, y - half), marker)


def draw_crowd(image: NDArray[Any], points: ArrayLike | torch.Tensor) -> NDArray[np.uint8]:
    """Colour an image by how many points lie where, when they are too many to be told apart.

    Parameters
    ----------
    image : numpy.ndarray [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or floating in [0, 1]
    points : array_like or torch.Tensor [n, 2]
        (y, x) in pixels of `image`; those outside are left out.

    Returns
    -------
    numpy.ndarray [H, W, 3], uint8
        The image in grey, covered where there are points with Matplotlib's "magma": black where
        they are few, yellow where most.

    Raises
    ------
    InputError
        If the image or the points are not as above.

    Examples
    --------
    >>> draw_crowd(np.zeros((40, 50)), np.full((1000, 2), 20.0))[20, 20]
    array([188, 189, 143], dtype=uint8)
    """
    where = np.rint(check_points(points)).astype(np.int64)
    planes = _as_shown(image, channels=1).numpy()[0]
    counts = np.zeros(planes.shape)
    inside = ((where >= 0) & (where < planes.shape)).all(axis=1)
    np.add.at(counts, tuple(where[inside].T), 1)
    crowd = gaussian_filter(counts, _CROWD_SIGMA)
    highest = crowd.max(initial=0)
    # The square root, so that a few are seen beside many.
    strength = np.sqrt(crowd / highest) if highest > 0 else crowd
    colours = density_to_rgb(crowd)
    cover = np.minimum(strength * 2, 1)[..., None] * 0.75
    grey = (planes * 255)[..., None]
    return np.asarray(np.rint(cover * colours + (1 - cover) * grey), np.uint8)


def density_to_rgb(density: ArrayLike | torch.Tensor) -> NDArray[np.uint8]:
    """Colour a density map with Matplotlib's perceptually uniform "magma", from 0 to its maximum.

    Parameters
    ----------
    density : array_like or torch.Tensor [H, W]
        Finite. Negative values count as 0; a map of zeros comes out black.

    Returns
    -------
    numpy.ndarray [H, W, 3], uint8

    Raises
    ------
    InputError
        On another number of dimensions, no pixels, NaN or infinity.

    Examples
    --------
    >>> density_to_rgb([[0.0, 2.0]]).tolist()
    [[[0, 0, 3], [251, 252, 191]]]
    """
    from matplotlib import colormaps

    if isinstance(density, torch.Tensor):
        density = density.detach().float().cpu().numpy()
    values = np.asarray(density, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"density: came with shape {list(values.shape)}, expected [H, W]")
    if not np.isfinite(values).all():
        raise InputError("density: holds NaN or infinity, expected finite values")
    highest = values.max()
    scaled = values.clip(0) / highest if highest > 0 else np.zeros_like(values)
    coloured: NDArray[np.uint8] = np.asarray(colormaps["magma"](scaled, bytes=True))
    return np.ascontiguousarray(coloured[..., :3])


def write_png(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an image as PNG.

    Parameters
    ----------
    path : str or os.PathLike
        Ends in ``.png``. Replaced atomically if it exists.
    array : numpy.ndarray [H, W] or [H, W, 3] uint8, or [H, W] uint16

    Raises
    ------
    InputError
        On another suffix, shape or number type, or a folder that cannot be written.
    """
    if not str(path).lower().endswith(".png"):
        raise InputError(f"{path}: expected a file name that ends in .png")
    grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    colour = array.ndim == 3 and array.shape[2:] == (3,) and array.dtype == np.uint8
    if not (grey or colour) or 0 in array.shape:
        raise InputError(
            f"array: came as {array.dtype} with shape {list(array.shape)}, expected uint8 [H, W] "
            "or [H, W, 3], or uint16 [H, W]"
        )
    with atomic_path(path) as temporary:
        chunks = PngInfo()
        chunks.add_text("Software", PNG_SOFTWARE)
        Image.fromarray(np.ascontiguousarray(array)).save(temporary, format="PNG", pnginfo=chunks)
