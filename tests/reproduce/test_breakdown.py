"""Which nuclei are found, on images whose nuclei are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dvfast.data import pair_by_stem
from dvfast.reproduce import breakdown
from dvfast.reproduce.breakdown import (
    Breakdown,
    Nuclei,
    break_down,
    breakdown_table,
    contrast_text,
    measure_nuclei,
)
from dvfast.reproduce.data_sets import KNOWN

RADIUS = 8.0
DATA_SET = replace(KNOWN["bbbc038_histology"], radius=RADIUS, stain="dark")

THREE = ("contrast", "size", "distance")

# Three disks, apart by 60, 60 and 25 pixels from their nearest.
CENTRES = np.array([[40.0, 40.0], [100.0, 40.0], [100.0, 65.0]])


def write_disks(folder: Path, radii: list[float], levels: list[int]) -> None:
    y, x = np.mgrid[:140, :140]
    image = np.full((140, 140), 220, np.uint8)
    for (cy, cx), radius, level in zip(CENTRES, radii, levels, strict=True):
        image[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = level
    Image.fromarray(np.stack([image] * 3, axis=-1)).save(folder / "disks.png")
    rows = "".join(f"{y},{x}\n" for y, x in CENTRES)
    (folder / "disks.csv").write_text("y,x\n" + rows)


def thirds_of(folder: Path, name: str) -> list[int]:
    return measure_nuclei(DATA_SET, pair_by_stem(folder)).thirds[name][0].tolist()


def test_nuclei_are_sorted_by_contrast(tmp_path: Path) -> None:
    write_disks(tmp_path, [8, 8, 8], [150, 20, 90])
    assert thirds_of(tmp_path, "contrast") == [0, 2, 1]


def test_nuclei_are_sorted_by_size(tmp_path: Path) -> None:
    write_disks(tmp_path, [8, 12, 4], [60, 60, 60])
    assert thirds_of(tmp_path, "size") == [1, 2, 0]


def test_nuclei_are_sorted_by_their_distance(tmp_path: Path) -> None:
    write_disks(tmp_path, [8, 8, 8], [60, 60, 60])
    assert thirds_of(tmp_path, "distance") == [2, 0, 1]  # equal ones in order of place


def test_nuclei_smaller_than_a_pixel(tmp_path: Path) -> None:
    write_disks(tmp_path, [8, 8, 8], [150, 20, 90])
    with np.errstate(invalid="raise"):
        tiny = measure_nuclei(replace(DATA_SET, radius=0.2), pair_by_stem(tmp_path))
    assert sorted(tiny.thirds["contrast"][0].tolist()) == [0, 1, 2]


def test_a_blob_has_the_size_of_its_disk(tmp_path: Path) -> None:
    density = np.zeros((120, 120))
    y, x = np.mgrid[:120, :120]
    for radius in (5, 8, 14):
        density[:] = (y - 60) ** 2 + (x - 60) ** 2 <= radius**2
        (size,) = breakdown._size(density, np.array([[60.0, 60.0]]), RADIUS)
        assert size * RADIUS == pytest.approx(radius, rel=0.12)  # the grid's ratio is 1.14


def test_nuclei_at_the_border_and_images_without_any() -> None:
    density = np.random.default_rng(0).random((5, 7))
    corners = np.array([[-0.4, -0.4], [4.4, 6.4]])
    for measure in (breakdown._contrast, breakdown._size):
        assert np.isfinite(measure(density, corners, RADIUS)).all()
        assert len(measure(density, np.empty((0, 2)), RADIUS)) == 0
    assert len(breakdown._distance(np.empty((0, 2)))) == 0
    assert breakdown._distance(np.array([[1.0, 1.0]])).tolist() == [np.inf]
    assert [len(of) for of in breakdown._thirds([np.empty(0), np.arange(4.0)])] == [0, 4]


@pytest.mark.parametrize("radius", [3.0, 4.0, 4.6])
def test_contrast_is_of_means_over_a_disk_and_a_ring(radius: float) -> None:
    """Half the mean radius around the click, less one to two mean radii; to the pixel."""
    density = np.random.default_rng(3).random((40, 37))
    clicks = np.array([[12.0, 14.0], [20.4, 18.6], [1.0, 35.0]])
    reflected = np.pad(density, 20, mode="symmetric")
    y, x = np.mgrid[-20:60, -20:57]
    for click, measured in zip(clicks, breakdown._contrast(density, clicks, radius), strict=True):
        row, column = np.floor(click + 0.5)
        squared = (y - row) ** 2 + (x - column) ** 2
        within = squared <= (0.5 * radius) ** 2
        ring = (squared > radius**2) & (squared <= (2 * radius) ** 2)
        assert measured == pytest.approx(reflected[within].mean() - reflected[ring].mean())


def test_thirds_go_over_all_images() -> None:
    images = [np.array([5.0, 1.0]), np.empty(0), np.array([3.0, 9.0, 7.0, 2.0])]
    assert [of.tolist() for of in breakdown._thirds(images)] == [[1, 0], [], [1, 2, 2, 0]]
    equal = breakdown._thirds([np.zeros(20), np.zeros(40)])  # so many that an unstable sort shows
    assert np.concatenate(equal).tolist() == [0] * 20 + [1] * 20 + [2] * 20


def test_a_distance_that_is_the_limit_belongs_to_the_nearer_side() -> None:
    thirds = [np.array([0, 1, 2])]
    nuclei = Nuclei([CENTRES], dict.fromkeys(THREE, thirds))
    points = [[44.0, 40.0], [40.0, 32.0]]  # half a radius and a radius from the first
    counted = break_down(nuclei, [{"images": [{"points": points}]}], RADIUS)
    assert counted.recall["size"].tolist() == [1, 0, 0]
    assert counted.displaced == pytest.approx(100 / 3)
    assert counted.elsewhere == 0
    thirds = [np.empty(0, int), *thirds]
    none = Nuclei([np.empty((0, 2)), CENTRES], dict.fromkeys(THREE, thirds))
    images = [{"points": points}, {"points": CENTRES.tolist()}]
    counted = break_down(none, [{"images": images}], RADIUS)
    assert (counted.displaced, counted.elsewhere) == pytest.approx((0, 200 / 3))
    assert counted.recall["size"].tolist() == [1, 1, 1]


def test_the_text_is_about_what_separates_two_methods_most() -> None:
    ours = Breakdown(
        {
            "contrast": np.array([0.9, 0.9, 0.9]),
            "size": np.array([0.5, 0.9, 0.9]),
            "distance": np.array([0.9, 0.9, 0.9]),
        },
        4.0,
        2.0,
    )
    theirs = Breakdown(
        {
            "contrast": np.array([0.1, 0.1, 0.1]),  # further off, but alike for all thirds
            "size": np.array([0.4, 0.9, 0.4]),
            "distance": np.array([0.7, 0.9, 0.9]),
        },
        30.0,
        1.0,
    )
    text = contrast_text("itcn", "ners", {"itcn": ours, "ners": theirs})
    assert "is size (small, middling, large): 0.50, 0.90, 0.90 against 0.40, 0.90, 0.40" in text
    assert "4 displaced and 2 elsewhere against 30 and 1." in text


def test_counts() -> None:
    third = [np.array([0, 1, 2])]
    nuclei = Nuclei([CENTRES], dict.fromkeys(THREE, third))
    # The first is found, the second missed by more than half a radius, and one stands nowhere.
    points = [[40.0, 43.9], [100.0, 45.0], [20.0, 120.0]]
    found = break_down(nuclei, [{"images": [{"points": points}]}], RADIUS)
    assert found.recall["size"].tolist() == [1, 0, 0]
    assert (found.displaced, found.elsewhere) == pytest.approx((100 / 3, 100 / 3))
    nothing = break_down(nuclei, [{"images": [{"points": []}]}], RADIUS)
    assert nothing.recall["size"].tolist() == [0, 0, 0]
    assert (nothing.displaced, nothing.elsewhere) == (0, 0)
    both = break_down(nuclei, [{"images": [{"points": of}]} for of in (points, [])], RADIUS)
    assert both.recall["size"].tolist() == [0.5, 0, 0]
    rows = breakdown_table({"itcn": found, "ners": nothing}).rows
    assert rows[0] == ["ITCN", *["1.000", "0.000", "0.000"] * 3, "33.3", "33.3"]
    assert "against 0.00, 0.00, 0.00" in contrast_text(
        "itcn", "ners", {"itcn": found, "ners": nothing}
    )
