from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import geojson
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dvfast.data.click_features import _holds
from dvfast.data.clicks import (
    from_corner_origin,
    read_points,
    to_corner_origin,
    write_csv,
    write_geojson,
)
from dvfast.errors import InputError

Points = NDArray[np.float64]


def read(folder: Path, text: str | bytes, name: str = "clicks.csv") -> list[list[float]]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    points = read_points(path)
    assert points.dtype == np.float64
    assert points.ndim == 2
    assert points.shape[1] == 2
    return points.tolist()


# Every format there and back


def napari(path: Path, points: Points) -> None:
    rows = [f"{i},{y!r},{x!r}" for i, (y, x) in enumerate(points.tolist())]
    path.write_text("\n".join(["index,axis-0,axis-1", *rows]))


def qupath_tsv(path: Path, points: Points) -> None:
    rows = [f"{x + 0.5!r}\t{y + 0.5!r}\tTumor\t\t-65536" for y, x in points.tolist()]
    path.write_text("\n".join(["x\ty\tclass\tname\tcolor", *rows]))


def qupath_measurements(path: Path, points: Points) -> None:
    rows = [f"a.tif\t{x + 0.5!r}\t{y + 0.5!r}\t12" for y, x in points.tolist()]
    path.write_text("\n".join(["Image\tCentroid X px\tCentroid Y px\tArea px^2", *rows]))


def qupath_multipoint(path: Path, points: Points) -> None:
    positions = [[x + 0.5, y + 0.5] for y, x in points.tolist()]
    geometry = {"type": "MultiPoint", "coordinates": positions}
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}))


def squares(path: Path, points: Points) -> None:
    features = []
    for y, x in points.tolist():
        ring = [[x + 0.5 + i, y + 0.5 + j] for i, j in [(-2, -2), (2, -2), (2, 2), (-2, 2)]]
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "geometry": geometry})
    path.write_text(json.dumps(features))


def ours_csv(path: Path, points: Points) -> None:
    write_csv(path, points, np.zeros(len(points)))


def ours_geojson(path: Path, points: Points) -> None:
    write_geojson(path, points, np.zeros(len(points)))


@pytest.mark.parametrize(
    ("writer", "suffix"),
    [
        (ours_csv, ".csv"),
        (napari, ".csv"),
        (qupath_tsv, ".tsv"),
        (qupath_measurements, ".txt"),
        (ours_geojson, ".geojson"),
        (qupath_multipoint, ".json"),
        (squares, ".geojson"),
    ],
)
@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 6), st.just(2)), elements=st.floats(-0.5, 2e5)
    )
)
def test_every_format_brings_back_the_points(writer: Any, suffix: str, points: Points) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clicks{suffix}"
        writer(path, points)
        np.testing.assert_allclose(read_points(path), points, rtol=0, atol=1e-6)


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(0, 6), st.just(2)), elements=st.floats(0, 9e4, width=32)
    ),
    st.randoms(),
)
def test_csv_is_exact_in_single_precision(points: NDArray[np.float32], random: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        write_csv(path, points, [random.random() for _ in points])
        assert np.array_equal(read_points(path).astype(np.float32), points)


def test_corner_origin() -> None:
    # The centre of the top-left pixel lies half a pixel from its corner, and x comes first.
    assert to_corner_origin([[0, 3]]).tolist() == [[3.5, 0.5]]
    assert from_corner_origin([[3.5, 0.5]]).tolist() == [[0, 3]]
    assert to_corner_origin(np.empty((0, 2))).shape == (0, 2)


# What tables may look like


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y,x\n1,2\n3.5,-0.25\n", [[1, 2], [3.5, -0.25]]),
        ("x,y\n1,2\n", [[2, 1]]),
        ("score,x,label,y\n0.5,1,a,2\n", [[2, 1]]),
        ("\ufeffy,x\r\n1,2\r\n", [[1, 2]]),
        ("y;x\n1;2\n", [[1, 2]]),
        ("y;x\n1,5;2,25\n", [[1.5, 2.25]]),
        (" Y , X \n 1 , 2 \n\n  \n3,4", [[1, 2], [3, 4]]),
        ('"y","x","note"\n"1","2","a, b"\n', [[1, 2]]),
        ("y,x,score\n1,2\n", [[1, 2]]),
        ("y,x\n1e2,2E-1\n", [[100, 0.2]]),
        ("index,axis-0,axis-1,label\n0,1,2,a\n", [[1, 2]]),
        ("x\ty\n1\t2\n", [[1.5, 0.5]]),
        ("x\ty\tz\tt\tclass\n1\t2\t3\t0\ta\n1\t2\t3\t0\tb\n", [[1.5, 0.5], [1.5, 0.5]]),
        ("Image,Centroid X px,Centroid Y px\na,1,2\n", [[1.5, 0.5]]),
        (
            " ,Area,Mean,X,Y,Slice\n1,0,9,1.5,2,1\n2,0,9,3,4,1\n",
            [[1.5, 1], [3.5, 2.5]],
        ),
        (" \tMean\tX\tY\n1\t9\t1.5\t2\n", [[1.5, 1]]),
        ("x\ty\tclass\n1\t2\tTumor\n3\t4\tIgnore*\n5\t6\tTumor: Ignore*\n", [[1.5, 0.5]]),
        ("x\ty\tclass\n1\t2\tIgnored\n3\t4\n5\t6\t\n", [[1.5, 0.5], [3.5, 2.5], [5.5, 4.5]]),
        ("Centroid X px,Centroid Y px,Classification\n1,2,a\n3,4,Mine*\n", [[1.5, 0.5]]),
        (",X,Y\n1,1.5,2\n", [[1.5, 1]]),
        ('" ","X","Y"\n"1","1.5","2"\n', [[1.5, 1]]),
        (",x,y\n0,1.5,2\n", [[2, 1.5]]),  # of pandas
        ("X,Y\n1.5,2\n", [[2, 1.5]]),
        ("y,x\n", []),
        ("y,x", []),
        ("x\ty\tclass\n", []),
        ("index,axis-0,axis-1\n", []),
    ],
)
def test_tables(tmp_path: Path, text: str, expected: list[list[float]]) -> None:
    assert read(tmp_path, text) == expected
    assert read(tmp_path, text, "clicks.txt") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"clicks\.csv: the file is empty \(0 bytes\)"),
        (" \n\n", r"clicks\.csv: the file is empty"),
        (",,\n", "line 1: the columns are|no header|expected columns"),
        ("row,col\n1,2\n", "line 1: the columns are 'row', 'col'; expected columns 'y,x'"),
        ("y\n1\n", "line 1: the columns are 'y'"),
        ("1,2\n3,4\n", "line 1: no header, the first line is '1', '2'"),
        ("y,x,y\n1,2,3\n", "line 1: column 'y' comes twice"),
        ("y,x\n1,2\n3,four\n", "line 3: 'four' is not a number"),
        ("y,x\n1,\n", "line 2: '' is not a number"),
        ("y,x\n1\n", "line 2: '' is not a number"),
        ("y,x\n1_0,2\n", "line 2: '1_0' is not a number"),
        ("y,x\n\n1,nan\n", "line 3: a coordinate is nan, expected a finite number"),
        ("y,x\n-inf,1\n", "line 2: a coordinate is -inf"),
        ("y,x\n1,5,2,5\n", "line 2: 4 cells under 2 column names.*decimal commas"),
        ("y;x\n1.234,5;2\n", r"line 2: '1\.234,5' is not a number"),
        ("index,axis-0,axis-1,axis-2\n0,1,2,3\n", "line 1: .*'axis-2'.*only 2-D"),
        ("x\ty\tz\n1\t2\t0\n1\t2\t1\n", "line 3: column 'z' changes from 0 to 1.*2-D"),
        *(
            (f" ,X,Y,{name}\n1,1,2,1\n2,1,2,2\n", f"line 3: column '{name.lower()}' changes from 1")
            for name in ("Slice", "Ch", "Channel", "Frame")
        ),
        ("Centroid X \u00b5m\tCentroid Y \u00b5m\n1\t2\n", "line 1: centroids are in micrometres"),
        ("Centroid X \u03bcm\tCentroid Y \u03bcm\n1\t2\n", "line 1: centroids are in micrometres"),
        ('y,x\n"1,2\n', "not a table: unexpected end"),
        (b"y,x\n1,\xff\n", "not UTF-8 text"),
        ("y,x\n1,2\n".encode("utf-16"), "not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8 text"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "clicks.csv") in str(caught.value)


def test_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_points(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_points(tmp_path)
    (tmp_path / "a.csv").write_text("y,x\n")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match=r"a\.csv: cannot be opened: Permission denied"):
        read_points(tmp_path / "a.csv")
    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"a\.csv: cannot be opened: Permission denied"):
        read_points(tmp_path / "a.csv")


# What GeoJSON may look like


def feature(kind: str, coordinates: Any, **more: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {}, **more}


POINT = feature("Point", [1, 2])
SHAPE = [[[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]]]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (POINT, [[1.5, 0.5]]),
        ([POINT, POINT], [[1.5, 0.5]] * 2),
        ({"type": "FeatureCollection", "features": [POINT]}, [[1.5, 0.5]]),
        ({"type": "FeatureCollection", "features": []}, []),
        ([], []),
        (feature("Point", [1.5, 2.5, 7]), [[2, 1]]),
        (feature("MultiPoint", [[1, 2], [3, 4]]), [[1.5, 0.5], [3.5, 2.5]]),
        (feature("MultiPoint", []), []),
        (feature("Polygon", SHAPE), [[0.5, 1.5]]),
        (feature("Polygon", [SHAPE[0][::-1]]), [[0.5, 1.5]]),
        (feature("Polygon", [[[0, 0], [6, 0], [0, 3]]]), [[0.5, 1.5]]),
        (feature("Polygon", [[[1, 1], [3, 1], [1, 1]]]), [[0.5, 1.5]]),
        (feature("Polygon", [[[1, 1]] * 4]), [[0.5, 0.5]]),
        (
            feature("Polygon", SHAPE, nucleusGeometry={"type": "Point", "coordinates": [1, 2]}),
            [[1.5, 0.5]],
        ),
    ],
)
def test_geojson(tmp_path: Path, document: Any, expected: list[list[float]]) -> None:
    assert read(tmp_path, json.dumps(document), "a.geojson") == expected
    # The content decides, whatever the name.
    assert read(tmp_path, "\ufeff\n" + json.dumps(document), "a.txt") == expected


def square(x: float, y: float, side: float, kind: Any, **more: Any) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return feature("Polygon", [ring]) | {"properties": kind and {"objectType": kind}} | more


NUCLEUS = square(10, 20, 4, "detection")
MIDDLE = [21.5, 11.5]
# Around and beside the nucleus, which lies in the corner that is missing.
BAY = [[0, 0], [40, 0], [40, 15], [5, 15], [5, 40], [0, 40]]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([square(0, 0, 40, "annotation")], [MIDDLE]),
        ([square(0, 0, 40, "annotation"), square(5, 5, 30, "annotation")], [MIDDLE]),
        ([square(0, 0, 40, None, id="PathAnnotationObject")], [MIDDLE]),
        ([square(0, 0, 40, None, properties={"object_type": "annotation"})], [MIDDLE]),
        ([square(0, 0, 40, "tmaCore"), square(60, 0, 9, "tile")], [MIDDLE]),
        # Outlines of nuclei, drawn by hand: beside, overlapping, drawn twice.
        ([square(30, 20, 4, "annotation")], [MIDDLE, [21.5, 31.5]]),
        ([square(8, 21, 8, "annotation")], [MIDDLE, [24.5, 11.5]]),
        ([square(10, 20, 4, "annotation")], [MIDDLE, MIDDLE]),
        # The middle of the nucleus lies within, and one of its four sides without.
        *(
            ([square(x, y, 8, "annotation")], [MIDDLE, [y + 3.5, x + 3.5]])
            for x, y in ((11, 18), (5, 18), (8, 21), (8, 15))
        ),
        # Around the nucleus, but not called annotations; and one that goes round it.
        ([square(0, 0, 40, "detection")], [MIDDLE, [19.5, 19.5]]),
        ([square(0, 0, 40, None)], [MIDDLE, [19.5, 19.5]]),
        ([feature("Polygon", [BAY]) | {"properties": {"objectType": "annotation"}}], 2),
    ],
)
def test_regions_are_no_nuclei(tmp_path: Path, others: list[Any], expected: Any) -> None:
    points = read(tmp_path, json.dumps([NUCLEUS, *others]), "a.geojson")
    assert (len(points) if isinstance(expected, int) else points) == expected


@pytest.mark.parametrize(
    ("kind", "ignored"),
    [
        ({"name": "Ignore*", "color": [180, 180, 180]}, True),
        ({"name": "Tumor: Artefact*"}, True),
        ({"names": ["Tumor", "Ignore*"]}, True),
        ("Ignore*", True),
        (["Ignore*"], True),
        ({"name": "Tumor"}, False),
        ({"name": "Ignore"}, False),
        ({"names": []}, False),
        ([], False),
        ({}, False),
        (None, False),
        (3, False),
    ],
)
def test_classes_that_qupath_ignores(tmp_path: Path, kind: Any, ignored: bool) -> None:
    properties = {"objectType": "annotation", "classification": kind}
    for other in (feature("Point", [1, 2]), square(30, 40, 4, None)):
        document = json.dumps([POINT, other | {"properties": properties}])
        assert len(read(tmp_path, document, "a.geojson")) == 2 - ignored


def test_regions_around_nuclei_that_are_annotations_too(tmp_path: Path) -> None:
    outlines = [square(0, 0, 40, "annotation"), square(10, 20, 4, "annotation")]
    assert read(tmp_path, json.dumps(outlines), "a.geojson") == [MIDDLE]


@pytest.mark.parametrize("seed", range(5))
def test_what_a_ring_holds(seed: int) -> None:
    """As the angles say under which a point sees the ring: they add up to a turn, or to nothing."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    star = rng.uniform(1, 9, (9, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ring = np.concatenate([star, star[:1]]) + 100  # closed, as GeoJSON has them
    held = 0
    for point in rng.uniform(90, 110, (200, 2)):
        seen = (ring - point) @ [1, 1j]
        turns = np.angle(seen[1:] / seen[:-1]).sum() / (2 * np.pi)
        assert _holds(ring, point) == (abs(turns) > 0.5)
        held += abs(turns) > 0.5
    assert 5 < held < 150


def test_regions_around_points(tmp_path: Path) -> None:
    clicks = feature("MultiPoint", [[2, 3], [5, 6]]) | {"properties": {"objectType": "annotation"}}
    region = square(0, 0, 40, "annotation")
    assert read(tmp_path, json.dumps([region, clicks]), "a.geojson") == [[2.5, 1.5], [5.5, 4.5]]


def test_centroid_is_accurate_far_from_the_origin(tmp_path: Path) -> None:
    far = [[x + 2e5, y + 1e5] for x, y in [(0, 0), (6, 0), (0, 3)]]
    ((y, x),) = read(tmp_path, json.dumps(feature("Polygon", [far])), "a.json")
    assert y == pytest.approx(1e5 + 0.5, abs=1e-9)
    assert x == pytest.approx(2e5 + 1.5, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":\n"Feature"', "line 2: not valid JSON"),
        ("y,x\n1,2\n", "line 1: not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": 1}', "not GeoJSON features, expected a FeatureCollection"),
        ("3", "not GeoJSON features"),
        ('{"type": "FeatureCollection"}', "not GeoJSON features"),
        ('{"type": "Point", "coordinates": [1, 2]}', "not GeoJSON features"),
        ("[3]", "feature 0: not a GeoJSON Feature"),
        (json.dumps([POINT, {"type": "Feature", "geometry": None}]), "feature 1: geometry None"),
        (json.dumps(feature("LineString", [[1, 2], [3, 4]])), "geometry 'LineString', expected"),
        (json.dumps(feature("MultiPolygon", [SHAPE])), "geometry 'MultiPolygon'"),
        (json.dumps(feature("Polygon", [])), "without rings"),
        (json.dumps(feature("Polygon", [[[0, 0], [1, 1]]])), "a ring of 2 positions"),
        (json.dumps(feature("Polygon", [3])), "coordinates are 3, expected a list"),
        (json.dumps(feature("MultiPoint", None)), "coordinates are None"),
        (json.dumps(feature("Point", [1])), r"position \[1\], expected two finite numbers"),
        (json.dumps(feature("Point", None)), "position None"),
        (json.dumps(feature("Point", ["1", "2"])), "position"),
        (json.dumps(feature("Point", [True, 2])), "position"),
        (json.dumps(feature("Point", [1, float("nan")])), "position .*nan"),
        (json.dumps(feature("Point", [10**400, 1])), "position"),
        (json.dumps(feature("Point", [float("inf"), 1])), "position .*inf"),
    ],
)
def test_geojson_that_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text, "a.geojson")
    assert str(tmp_path / "a.geojson") in str(caught.value)


# Writers


def test_csv_as_written(tmp_path: Path) -> None:
    points = torch.tensor([[0.1, 2.0], [1e5, 3.25]])
    write_csv(tmp_path / "a.csv", points, torch.tensor([0.7, 1.0]))
    expected = b"y,x,score\n0.1,2.0,0.7\n100000.0,3.25,1.0\n"
    assert (tmp_path / "a.csv").read_bytes() == expected


def test_geojson_as_written(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", [(10.25, 3), (0, 0)], [0.75, 1], name="Kern \u00fc")
    document = geojson.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
    assert document.is_valid
    assert document["type"] == "FeatureCollection"
    first = document["features"][0]
    assert first["geometry"] == {"type": "Point", "coordinates": [3.5, 10.75]}
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"]["name"] == "Kern \u00fc"
    assert len(first["properties"]["classification"]["color"]) == 3
    assert first["properties"]["measurements"] == {"score": 0.75}
    assert document["features"][1]["geometry"]["coordinates"] == [0.5, 0.5]


@pytest.mark.parametrize("write", [write_csv, write_geojson])
def test_empty_sets_are_written(tmp_path: Path, write: Any) -> None:
    for points in ([], np.empty((0, 2)), torch.empty(0, 2)):
        write(tmp_path / "a", points, [])
        assert read_points(tmp_path / "a").shape == (0, 2)


@pytest.mark.parametrize("write", [write_csv, write_geojson])
@pytest.mark.parametrize(
    ("points", "scores", "message"),
    [
        ([[1, 2, 3]], [1], r"points: came with shape \[1, 3\]"),
        ([1, 2], [1], r"points: came with shape \[2\]"),
        ([[1, 2], [3]], [1, 2], "points: expected a rectangular array of numbers"),
        ([["a", "b"]], [1], "points: expected a rectangular array of numbers"),
        ([[1, 2], [np.nan, 2]], [1, 1], r"points: row 1 is \(nan, 2.0\)"),
        ([[1, 2]], [1, 2], r"scores: came with shape \[2\], expected \[1\]"),
        ([[1, 2]], [np.inf], "scores: row 0 is inf"),
        ([[1, 2]], 1.0, r"scores: came with shape \[\]"),
    ],
)
def test_writers_refuse(tmp_path: Path, write: Any, points: Any, scores: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a", points, scores)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_csv, write_geojson])
def test_writers_name_a_missing_folder(tmp_path: Path, write: Any) -> None:
    with pytest.raises(InputError, match="does not exist; create it first"):
        write(tmp_path / "none" / "a.csv", [[1, 2]], [1])


def test_vertices_of_naparis_shapes_are_no_clicks(tmp_path: Path) -> None:
    path = tmp_path / "shapes.csv"
    path.write_text("index,shape-type,vertex-index,axis-0,axis-1\n0,ellipse,0,1,2\n")
    with pytest.raises(InputError, match="vertices of napari's shapes"):
        read_points(path)


def test_of_qupaths_measurements_only_nuclei_of_one_image_count(tmp_path: Path) -> None:
    path = tmp_path / "measurements.tsv"
    header = "Image\tObject type\tCentroid X px\tCentroid Y px\n"
    rows = ["a.png\tImage\t1\t1\n", "a.png\tDetection\t10.5\t20.5\n", "a.png\tTile\t5\t5\n"]
    path.write_text(header + "".join(rows))
    np.testing.assert_array_equal(read_points(path), [[20, 10]])
    path.write_text(header + "".join(rows) + "b.png\tDetection\t1\t1\n")
    with pytest.raises(InputError, match=r"column 'image' changes from a\.png to b\.png"):
        read_points(path)


def test_geojson_of_several_planes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.geojson"
    points = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Point",
                "coordinates": [3, 4],
                "plane": {"c": -1, "z": z, "t": 0},
            },
        }
        for z in (0, 5)
    ]
    path.write_text(json.dumps(points[:1] * 2))
    assert len(read_points(path)) == 2
    path.write_text(json.dumps(points))
    with pytest.raises(InputError, match=r"lies in plane \(5, 0\), others in \(0, 0\)"):
        read_points(path)


@pytest.mark.parametrize("plane", [None, {}, {"z": 0}, {"t": 0}, {"c": -1, "z": 0, "t": 0}])
def test_what_names_no_plane_lies_in_the_first(tmp_path: Path, plane: Any) -> None:
    def point(plane: Any) -> dict[str, Any]:
        place = {"type": "Point", "coordinates": [3, 4]}
        return {"type": "Feature", "geometry": place | ({} if plane is None else {"plane": plane})}

    first = point({"z": 0, "t": 0})
    assert read(tmp_path, json.dumps([first, point(plane)]), "a.geojson") == [[3.5, 2.5]] * 2
    for other in ({"z": 1}, {"t": 1}):
        with pytest.raises(InputError, match="lies in plane"):
            read(tmp_path, json.dumps([point(plane), point(other)]), "a.geojson")
