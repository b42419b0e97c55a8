"""Clicks in, detections out: every point file the library reads and writes."""

from __future__ import annotations

import csv
import os

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .click_features import parse_geojson
from .click_tables import parse_table
from .paths import atomic_path, existing_file
from .points import (
    check_points,
    check_scores,
    from_corner_origin,
    to_corner_origin,
)

__all__ = [
    "POINT_SUFFIXES",
    "from_corner_origin",
    "read_points",
    "to_corner_origin",
    "write_csv",
    "write_geojson",
]

POINT_SUFFIXES = (".csv", ".tsv", ".txt", ".geojson", ".json")

_COLOUR = (255, 200, 0)


def read_points(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read points from CSV, napari CSV, QuPath TSV, ImageJ results or GeoJSON.

    What opens with a brace or a bracket, or is named ``.geojson`` or ``.json``, is GeoJSON; the
    rest is a table whose header names the columns:

    ==============================  ===============  =========================================
    columns                         separator        origin
    ==============================  ===============  =========================================
    ``y``, ``x``                    comma, semicolon centre of the first pixel
    ``axis-0``, ``axis-1`` (napari) any              centre of the first pixel
    ``x``, ``y`` (QuPath)           tab              corner of the first pixel
    ``Centroid X px``, ... (QuPath) any              corner of the first pixel
    ``X``, ``Y`` (ImageJ)           any              corner of the first pixel
    ==============================  ===============  =========================================

    Columns may come in any order and among others. ImageJ's tables are those whose first column has
    no name. GeoJSON has its origin at the corner.

    Parameters
    ----------
    path : str or os.PathLike
        A UTF-8 text file, with or without byte order mark.

    Returns
    -------
    numpy.ndarray [n, 2], float64
        (y, x) in pixels, pixel centres at integers. A header, or a collection, with nothing in it
        gives n = 0.

    Raises
    ------
    InputError
        If the file is missing, empty or not text, or if its content is not as above. The message
        names the file and, where there is one, the line.
    """
    path = existing_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text (byte {error.start}); expected CSV, TSV or GeoJSON, save it "
            "with the encoding UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty, expected at least a header")
    if text.lstrip()[0] in "{[" or path.suffix.lower() in (".geojson", ".json"):
        return parse_geojson(text, path)
    return parse_table(text, path)


def write_csv(
    path: str | os.PathLike[str],
    points: ArrayLike | torch.Tensor,
    scores: ArrayLike | torch.Tensor,
) -> None:
    """Write detections as CSV with the header ``y,x,score``.

    Numbers have the fewest digits that read back to the same value in their own precision.

    Parameters
    ----------
    path : str or os.PathLike
        Replaced atomically if it exists.
    points : array_like or torch.Tensor [n, 2]
        (y, x) in pixels, pixel centres at integers.
    scores : array_like or torch.Tensor [n]

    Raises
    ------
    InputError
        On shapes that do not fit, values that are not finite, or a folder that cannot be written.
    """
    array = check_points(points)
    values = check_scores(scores, len(array))
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("y", "x", "score"))
        writer.writerows((str(y), str(x), str(s)) for (y, x), s in zip(array, values, strict=True))


def write_geojson(
    path: str | os.PathLike[str],
    points: ArrayLike | torch.Tensor,
    scores: ArrayLike | torch.Tensor,
    *,
    name: str = "Nucleus",
) -> None:
    """Write detections as GeoJSON that QuPath 0.4 and later opens as detection objects.

    One Point per nucleus, coordinates rounded to 1e-6 pixel, the score as a measurement.

    Parameters
    ----------
    path : str or os.PathLike
        Replaced atomically if it exists.
    points : array_like or torch.Tensor [n, 2]
        (y, x) in pixels, pixel centres at integers; written as x, y with a corner origin.
    scores : array_like or torch.Tensor [n]
    name : str
        The class that QuPath shows.

    Raises
    ------
    InputError
        On shapes that do not fit, values that are not finite, or a folder that cannot be written.
    """
    import geojson

    array = check_points(points)
    values = check_scores(scores, len(array))
    classification = {"name": name, "color": list(_COLOUR)}
    features = (
        geojson.Feature(
            geometry=geojson.Point((x, y), precision=6),
            properties={
                "objectType": "detection",
                "classification": classification,
                "measurements": {"score": score},
            },
        )
        for (x, y), score in zip(to_corner_origin(array).tolist(), values.tolist(), strict=True)
    )
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        # One by one: the features of a slide's million nuclei would take a gigabyte.
        file.write('{"type": "FeatureCollection", "features": [')
        for i, feature in enumerate(features):
            file.write(",\n" if i else "\n")
            file.write(geojson.dumps(feature, ensure_ascii=False))
        file.write("\n]}\n")
