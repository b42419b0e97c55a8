"""Folders of images with their clicks."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .clicks import POINT_SUFFIXES, read_points
from .images import IMAGE_SUFFIXES, read_image
from .paths import visible_files

__all__ = ["Sample", "load_clicks", "load_sample", "pair_by_stem", "refuse_shared_images"]

# So many clicks, and all in this share of both sides: by chance one in a hundred million images.
_MANY, _CORNER = 10, 0.4


@dataclass(frozen=True)
class Sample:
    """An image file and the file with its clicks.

    Examples
    --------
    >>> Sample(Path("set/tile_7.png"), Path("set/tile_7.csv")).stem
    'tile_7'
    """

    image: Path
    points: Path

    @property
    def stem(self) -> str:
        """The name that both files share, without folder and suffix."""
        return self.image.stem


def pair_by_stem(folder: str | os.PathLike[str]) -> list[Sample]:
    """Pair the images of a folder with the click files of the same stem.

    Pairing by sort order would shift every later pair when one file is missing; here anything
    that does not pair is refused. Files with other suffixes, hidden files and subfolders are
    passed over.

    Parameters
    ----------
    folder : str or os.PathLike
        Holds both kinds of files: `IMAGE_SUFFIXES`, and .csv, .tsv, .txt, .geojson, .json.

    Returns
    -------
    list of Sample
        Sorted by name; at least one.

    Raises
    ------
    InputError
        If the folder is missing or holds no pairs, if an image or a click file stands alone, or if
        two of a kind share a stem. The message lists the first few.
    """
    images: dict[str, list[Path]] = defaultdict(list)
    points: dict[str, list[Path]] = defaultdict(list)
    for path in visible_files(folder):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images[path.stem].append(path)
        elif suffix in POINT_SUFFIXES:
            points[path.stem].append(path)
    if not images and not points:
        raise InputError(
            f"{folder}: no images with clicks, expected images ({', '.join(IMAGE_SUFFIXES)}) and "
            f"beside each a click file of the same name ({', '.join(POINT_SUFFIXES)})"
        )
    for kind, group in (("images", images), ("click files", points)):
        doubled = [path for paths in group.values() if len(paths) > 1 for path in paths]
        if doubled:
            raise InputError(
                f"{folder}: {kind} share a name: {_first(doubled)}; keep one of each name"
            )
    _refuse_orphans(folder, "images without a click file", images, points)
    _refuse_orphans(folder, "click files without an image", points, images)
    return [Sample(paths[0], points[stem][0]) for stem, paths in images.items()]


def _refuse_orphans(
    folder: str | os.PathLike[str],
    what: str,
    group: dict[str, list[Path]],
    partners: dict[str, list[Path]],
) -> None:
    orphans = [path for stem, paths in group.items() if stem not in partners for path in paths]
    if orphans:
        raise InputError(
            f"{folder}: {len(orphans)} {what} of the same name: {_first(orphans)}; add the "
            "missing files (a header alone says 'no nuclei') or move these away"
        )


def _first(paths: Iterable[Path], count: int = 5) -> str:
    names = [path.name for path in paths]
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def refuse_shared_images(train: Iterable[Sample], test: Iterable[Sample]) -> None:
    """Raise an InputError if an image of one, to the byte, is among those of the other."""
    seen = {hashlib.sha256(sample.image.read_bytes()).digest(): sample for sample in train}
    for sample in test:
        same = seen.get(hashlib.sha256(sample.image.read_bytes()).digest())
        if same is not None:
            raise InputError(
                f"{sample.image}: is the same image as {same.image}; what is measured on must not "
                "be trained on, so take it out of one of the two folders"
            )


def load_sample(sample: Sample) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read the image and the clicks of a sample, and check that they belong together.

    Parameters
    ----------
    sample : Sample

    Returns
    -------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or float32
    points : numpy.ndarray [n, 2], float64
        (y, x) in pixels, pixel centres at integers, all within the image: -0.5 <= y < H - 0.5,
        -0.5 <= x < W - 0.5.

    Raises
    ------
    InputError
        If either file cannot be read, or if a click lies outside the image.

    Warns
    -----
    UserWarning
        If clicks are equal: each counts. And if all of many lie in the top left of the image, as
        those do that count micrometres.
    """
    image = read_image(sample.image)
    return image, load_clicks(sample, image.shape)


def load_clicks(sample: Sample, shape: Sequence[int]) -> NDArray[np.float64]:
    """Read the clicks of a sample as :func:`load_sample` does, by the shape of its image."""
    points = read_points(sample.points)
    height, width = shape[:2]
    outside = ((points < -0.5) | (points >= (height - 0.5, width - 0.5))).any(axis=1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        y, x = points[row]
        raise InputError(
            f"{sample.points}: {int(outside.sum())} of {len(points)} points lie outside the image, "
            f"first point {row} at (y, x) = ({y:g}, {x:g}); {sample.image.name} has height "
            f"{height} and width {width}; check the order of the columns and the scale"
        )
    different = len(np.unique(points, axis=0))
    if different < len(points):
        warnings.warn(
            f"{sample.points}: {len(points) - different} of {len(points)} points are there twice, "
            "of which a detection can find one",
            UserWarning,
            stacklevel=2,
        )
    if len(points) >= _MANY and (points < (_CORNER * height, _CORNER * width)).all():
        y, x = points.max(axis=0)
        warnings.warn(
            f"{sample.points}: all {len(points)} points lie in the top left of "
            f"{sample.image.name}, y up to {y:g} of {height} and x up to {x:g} of {width}, as of "
            "another unit, such as micrometres; expected pixels",
            UserWarning,
            stacklevel=2,
        )
    return points
