"""Points in GeoJSON, as QuPath exports them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .points import from_corner_origin
from .qupath import is_ignored_class

__all__ = ["parse_geojson"]

# What QuPath calls its kinds of objects: since 0.3, and before that in place of an id.
_ANNOTATIONS = ("annotation", "PathAnnotationObject")
_NEVER_NUCLEI = ("tile", "tmaCore", "PathTileObject", "TMACoreObject")


def parse_geojson(text: str, path: Path) -> NDArray[np.float64]:
    """Parse a FeatureCollection, a list of Features or a single Feature.

    Points count one by one; of a polygon, the centroid of its outer ring, so that segmentations
    can stand in for clicks; of a QuPath cell, its nucleus. Passed over are QuPath's tiles and TMA
    cores, objects of a class that QuPath ignores (``Ignore*``), and polygons that QuPath calls
    annotations where another object lies within: these are regions of interest, and not nuclei
    that somebody outlined.

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
    places: list[_Place] = []
    plane = None
    for number, feature in enumerate(_features(document, path)):
        found = _places(feature, f"{path}, feature {number}")
        if found and plane not in (None, _plane(feature)):
            raise InputError(
                f"{path}, feature {number}: lies in plane {_plane(feature)}, others in {plane}, "
                "but points must lie in one 2-D image; export the objects of one plane"
            )
        plane = _plane(feature) if found else plane
        places += found
    positions = np.array([place.centre for place in places], dtype=np.float64).reshape(-1, 2)
    return from_corner_origin(np.delete(positions, _regions(places, positions), axis=0))


class _Place(NamedTuple):
    """Where an object lies, x before y."""

    centre: tuple[float, float]
    extent: tuple[float, float, float, float]  # the least x and y, the greatest x and y
    annotated: NDArray[np.float64] | None = None  # the ring of a QuPath annotation


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


def _places(feature: Any, where: str) -> list[_Place]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise InputError(f"{where}: not a GeoJSON Feature, expected an object of type 'Feature'")
    object_type = _object_type(feature)
    if object_type in _NEVER_NUCLEI or is_ignored_class(_class_name(feature)):
        return []
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
        return [_point(_position(coordinates, where))]
    if kind == "Polygon":
        if not isinstance(coordinates, list) or not coordinates:
            raise InputError(f"{where}: a Polygon without rings, expected an outer ring")
        coordinates = coordinates[0]
    if not isinstance(coordinates, list):
        raise InputError(f"{where}: coordinates are {coordinates!r}, expected a list of positions")
    positions = [_position(position, where) for position in coordinates]
    if kind == "MultiPoint":
        return [_point(position) for position in positions]
    if len(positions) < 3:
        raise InputError(f"{where}: a ring of {len(positions)} positions, expected 3 or more")
    ring = np.array(positions)
    extent = (*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist())
    return [_Place(_centroid(ring), extent, ring if object_type in _ANNOTATIONS else None)]


def _plane(feature: dict[str, Any]) -> tuple[Any, Any]:
    """QuPath's (z, t), which it leaves out where there is one plane alone."""
    geometry = feature.get("geometry")
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    return (plane.get("z", 0), plane.get("t", 0)) if isinstance(plane, dict) else (0, 0)


def _class_name(feature: dict[str, Any]) -> Any:
    """Of a class that derives from others, as 'Tumor: Ignore*' or in a list, its own, the last."""
    kind = _properties(feature).get("classification")
    if isinstance(kind, dict):
        kind = kind.get("name") or kind.get("names")
    return kind[-1] if isinstance(kind, list) and kind else kind


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _object_type(feature: dict[str, Any]) -> Any:
    properties = _properties(feature)
    for name in ("objectType", "object_type"):
        if name in properties:
            return properties[name]
    return feature.get("id")


def _point(position: tuple[float, float]) -> _Place:
    return _Place(position, (*position, *position))


def _regions(places: list[_Place], centres: NDArray[np.float64]) -> list[int]:
    """Which places are annotations that hold another object as a whole."""
    if all(place.annotated is None for place in places):
        return []
    extents = np.array([place.extent for place in places])
    order = np.argsort(centres[:, 0])
    ordered = centres[order, 0]
    regions = []
    for number, place in enumerate(places):
        if place.annotated is None:
            continue
        low, high = extents[number, :2], extents[number, 2:]
        near = order[slice(*np.searchsorted(ordered, (low[0], high[0])))]
        within = ((extents[near, :2] >= low) & (extents[near, 2:] <= high)).all(axis=1)
        # An outline that was drawn twice holds the other no more than itself.
        smaller = (extents[near] != extents[number]).any(axis=1)
        if any(_holds(place.annotated, centre) for centre in centres[near[within & smaller]]):
            regions.append(number)
    return regions


def _holds(ring: NDArray[np.float64], point: NDArray[np.float64]) -> bool:
    """Whether a line from the point to the right crosses the ring an odd number of times."""
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    crossed = (y > point[1]) != (next_y > point[1])
    x, y, next_x, next_y = (values[crossed] for values in (x, y, next_x, next_y))
    right = x + (point[1] - y) / (next_y - y) * (next_x - x) > point[0]
    return bool(right.sum() % 2)


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


def _centroid(vertices: NDArray[np.float64]) -> tuple[float, float]:
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
