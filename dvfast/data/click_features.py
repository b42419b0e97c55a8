"""Points in GeoJSON, as QuPath exports them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .points import from_corner_origin

__all__ = ["parse_geojson"]


def parse_geojson(text: str, path: Path) -> NDArray[np.float64]:
    """Parse a FeatureCollection, a list of Features or a single Feature.

    Points count one by one; of a polygon, the centroid of its outer ring, so that segmentations
    can stand in for clicks; of a QuPath cell, its nucleus.

    Parameters
    ----------
    text : str
        The whole file.
    path : pathlib.Path
        Its name, for the error messages.

    Returns
    -------
    numpy.ndarray [n, 2], float64
        (y, x), pixel centres at integers.

    Raises
    ------
    InputError
        On invalid JSON, on JSON that is not GeoJSON features, on other geometries, and on
        coordinates that are not finite numbers.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    positions: list[tuple[float, float]] = []
    for number, feature in enumerate(_features(document, path)):
        positions += _positions(feature, f"{path}, feature {number}")
    return from_corner_origin(np.array(positions, dtype=np.float64).reshape(-1, 2))


def _features(document: Any, path: Path) -> list[Any]:
    if isinstance(document, list):
        return document
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "Feature":
        return [document]
    if kind == "FeatureCollection" and isinstance(document.get("features"), list):
        features: list[Any] = document["features"]
        return features
    raise InputError(
        f"{path}: JSON but not GeoJSON features, expected a FeatureCollection, a list of Features "
        "or a Feature; in QuPath, File > Export objects as GeoJSON"
    )


def _positions(feature: Any, where: str) -> list[tuple[float, float]]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise InputError(f"{where}: not a GeoJSON Feature, expected an object of type 'Feature'")
    geometry = feature.get("nucleusGeometry") or feature.get("geometry")
    if not isinstance(geometry, dict):
        geometry = {}
    kind = geometry.get("type")
    if kind not in ("Point", "MultiPoint", "Polygon"):
        raise InputError(
            f"{where}: geometry {kind!r}, expected Point, MultiPoint or Polygon; remove it, or "
            "replace it with one point per nucleus"
        )
    coordinates = geometry.get("coordinates")
    if kind == "Point":
        return [_position(coordinates, where)]
    if kind == "Polygon":
        if not isinstance(coordinates, list) or not coordinates:
            raise InputError(f"{where}: a Polygon without rings, expected an outer ring")
        coordinates = coordinates[0]
    if not isinstance(coordinates, list):
        raise InputError(f"{where}: coordinates are {coordinates!r}, expected a list of positions")
    positions = [_position(position, where) for position in coordinates]
    if kind == "MultiPoint":
        return positions
    if len(positions) < 3:
        raise InputError(f"{where}: a ring of {len(positions)} positions, expected 3 or more")
    return [_centroid(positions)]


def _position(value: Any, where: str) -> tuple[float, float]:
    numbers = value[:2] if isinstance(value, list) else []
    if len(numbers) == 2 and all(type(number) in (int, float) for number in numbers):
        try:
            x, y = float(numbers[0]), float(numbers[1])
        except OverflowError:
            x = y = math.inf
        if math.isfinite(x) and math.isfinite(y):
            return x, y
    raise InputError(f"{where}: position {value!r}, expected two finite numbers [x, y]")


def _centroid(ring: list[tuple[float, float]]) -> tuple[float, float]:
    vertices = np.array(ring)
    start = vertices[0]
    # Relative to a vertex the products stay small: no digits are lost far out on a slide.
    here = vertices - start
    there = np.roll(here, -1, axis=0)
    cross = here[:, 0] * there[:, 1] - there[:, 0] * here[:, 1]
    doubled_area = cross.sum()
    extent = np.abs(here).max()
    if abs(doubled_area) <= 1e-12 * extent * extent:
        # A ring without area has no centroid: take the middle of its extent.
        x, y = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    else:
        x, y = start + ((here + there) * cross[:, None]).sum(axis=0) / (3 * doubled_area)
    return float(x), float(y)
