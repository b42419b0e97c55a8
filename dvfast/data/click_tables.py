"""Points in tables: CSV, napari points CSV, QuPath TSV, ImageJ results."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .points import from_corner_origin
from .qupath import is_ignored_class

__all__ = ["parse_table"]

# What must not change from row to row, where QuPath tells the class, and what it measures beside
# nuclei.
_ONE_IMAGE = ("image", "z", "t", "slice", "ch", "channel", "frame")
_CLASSES = ("class", "classification")
_NEVER_NUCLEI = ("image", "root", "tile", "tma core", "tmacore")

_EXPECTED = (
    "expected columns 'y,x' (ours), 'axis-0,axis-1' (napari), 'x' and 'y' separated by tabs or "
    "'Centroid X px' and 'Centroid Y px' (QuPath), or ' ', 'X' and 'Y' (ImageJ)"
)


def parse_table(text: str, path: Path) -> NDArray[np.float64]:
    """Parse a table with a header line.

    The separator is the first of tab, semicolon and comma that the header holds. Tabs mean QuPath,
    hence a corner origin; so do columns named ``Centroid X px``, and a first column without a name
    beside ``X`` and ``Y``, which are ImageJ's. Where the comma does not separate, it may be the
    decimal sign, as spreadsheets write numbers in much of Europe. Rows of a class that QuPath
    ignores (``Ignore*``) are passed over, and so is what it measures beside nuclei.

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
        On missing, doubled or three-dimensional columns, and on cells that are not finite numbers.
    """
    separator = _separator(text)
    rows = _rows(text, separator, path)
    where, header = next(rows, (str(path), []))
    columns = [cell.strip().lower() for cell in header]
    y, x, corner = _coordinate_columns(columns, separator == "\t" or _of_imagej(header), where)
    planes = {i: "" for i, name in enumerate(columns) if name in _ONE_IMAGE}
    kinds = [i for i, name in enumerate(columns) if name == "object type"]
    classes = [i for i, name in enumerate(columns) if name in _CLASSES]
    points: list[tuple[float, float]] = []
    for where, row in rows:
        if len(row) > len(columns):
            raise InputError(
                f"{where}: {len(row)} cells under {len(columns)} column names, expected as many; "
                "numbers with decimal commas need ';' or tab between them"
            )
        for i, before in planes.items():
            planes[i] = row[i].strip() if i < len(row) else ""
            if before and planes[i] != before:
                raise InputError(
                    f"{where}: column '{columns[i]}' changes from {before} to {planes[i]}, but "
                    "points must lie in one 2-D image; export those of one image and plane"
                )
        if any(row[i].strip().lower() in _NEVER_NUCLEI for i in kinds if i < len(row)):
            continue
        if any(is_ignored_class(row[i]) for i in classes if i < len(row)):
            continue
        points.append((_number(row, y, separator, where), _number(row, x, separator, where)))
    array = np.array(points, dtype=np.float64).reshape(-1, 2)
    return from_corner_origin(array[:, ::-1]) if corner else array


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield f"{path}, line {reader.line_num}", row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not a table: {error}") from None


def _separator(text: str) -> str:
    header = text.lstrip().split("\n", 1)[0]
    return next((mark for mark in "\t;," if mark in header), ",")


def _of_imagej(header: list[str]) -> bool:
    """Whether it heads ImageJ's results: its rows have numbers, whose column has no name.

    So have the tables of pandas, but few of those write coordinates in capitals.
    """
    names = [cell.strip() for cell in header]
    return names[:1] == [""] and "X" in names and "Y" in names


def _coordinate_columns(columns: list[str], corner: bool, where: str) -> tuple[int, int, bool]:
    """Of y and x, and whether they count from a corner: `corner` says it of plain 'y' and 'x'."""
    if "shape-type" in columns or "vertex-index" in columns:
        raise InputError(
            f"{where}: vertices of napari's shapes (column 'shape-type'), expected points; export "
            "a Points layer"
        )
    if "axis-2" in columns:
        raise InputError(
            f"{where}: points with three or more axes (column 'axis-2'), but only 2-D points are "
            "supported; export the points of one plane"
        )
    conventions = (
        ("y", "x", corner),
        ("axis-0", "axis-1", False),
        ("centroid y px", "centroid x px", True),
    )
    for y, x, from_corner in conventions:
        if y in columns and x in columns:
            doubled = [name for name in (y, x) if columns.count(name) > 1]
            if doubled:
                raise InputError(f"{where}: column '{doubled[0]}' comes twice, expected it once")
            return columns.index(y), columns.index(x), from_corner
    found = ", ".join(repr(name) for name in columns[:8])
    # The micro sign and the Greek letter are two characters that look the same.
    if any(name.startswith(("centroid x \u00b5m", "centroid x \u03bcm")) for name in columns):
        raise InputError(
            f"{where}: centroids are in micrometres, expected pixels ('Centroid X px'); remove the "
            "pixel size in QuPath before measuring, or export the objects as GeoJSON"
        )
    if all(_is_number(name) for name in columns):
        raise InputError(f"{where}: no header, the first line is {found}; {_EXPECTED}")
    raise InputError(f"{where}: the columns are {found}; {_EXPECTED}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(row: list[str], column: int, separator: str, where: str) -> float:
    text = row[column].strip() if column < len(row) else ""
    plain = text if separator == "," else text.replace(",", ".")
    # Python reads '1_0' as 10; in a table it is a typing error.
    if not _is_number(plain) or "_" in plain:
        raise InputError(f"{where}: {text!r} is not a number, expected a coordinate in pixels")
    value = float(plain)
    if not math.isfinite(value):
        raise InputError(f"{where}: a coordinate is {text}, expected a finite number")
    return value
