from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dvfast.detection.overlay import density_to_rgb, draw_crowd, draw_overlay, write_png
from dvfast.errors import InputError

BLACK = np.zeros((400, 500), np.uint8)


def is_yellow(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (rgb[..., 0] > 180) & (rgb[..., 1] > 160) & (rgb[..., 2] < 60)


def is_green(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (rgb[..., 1] > 100) & (rgb[..., 0] < 60)


def middle(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    positions: NDArray[np.float64] = np.argwhere(mask).mean(axis=0)
    return positions


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((400, 500), 2), ((1, 1), 768), ((767, 3), 2), ((768, 3), 1), ((5, 900), 1)],
)
def test_small_images_are_enlarged(shape: tuple[int, int], factor: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = draw_overlay(image, [])
    assert result.dtype == np.uint8
    assert np.array_equal(result, image.repeat(factor, 0).repeat(factor, 1))


@pytest.mark.parametrize("point", [(40.0, 50.0), (40.25, 49.6), (3.0, 3.0), (92.0, 76.0)])
def test_the_dot_lies_on_the_point(point: tuple[float, float]) -> None:
    result = draw_overlay(np.zeros((96, 80), np.uint8), [point], truth=[])
    expected = (np.array(point) + 0.5) * 8 - 0.5
    assert np.abs(middle(is_yellow(result)) - expected).max() < 0.75


def test_ring_has_the_radius_and_the_dot_an_outline() -> None:
    result = draw_overlay(np.full((400, 500), 255, np.uint8), [(200, 250)], radius=30)
    line = result[401]
    ring = np.flatnonzero(is_yellow(line))
    assert abs((ring.max() - ring.min()) / 2 - 60) < 2.5
    assert (line.max(axis=1) < 80).any()
    assert np.array_equal(line[ring.max() + 5], [255, 255, 255])
    assert np.array_equal(line[ring.max() - 20], [255, 255, 255])


def test_truth_takes_the_rings() -> None:
    alone = draw_overlay(BLACK, [(200, 100)], radius=20)
    both = draw_overlay(BLACK, [(200, 100)], radius=20, truth=[(200, 300)])
    assert not is_green(alone).any()
    assert np.abs(middle(is_green(both)) - (400.5, 600.5)).max() < 1
    assert is_yellow(both).sum() < is_yellow(alone).sum()
    assert np.ptp(np.argwhere(is_yellow(both)), axis=0).max() < 30


def test_crowded_points_get_smaller_markers() -> None:
    image = np.zeros((1500, 1500), np.uint8)
    grid = np.stack(np.meshgrid(np.arange(5, 1500, 10), np.arange(5, 1500, 10)), -1).reshape(-1, 2)
    sparse, crowded = draw_overlay(image, grid[:1]), draw_overlay(image, grid)
    assert is_yellow(sparse).sum() > is_yellow(crowded).sum() / len(grid)
    assert is_yellow(crowded).mean() < 0.6


def test_markers_beyond_the_border_are_cut_off() -> None:
    points = [(-5.0, -5.0), (-1e12, 3.0), (404.0, 200.0), (1e12, 1e12)]
    result = draw_overlay(BLACK, points, radius=10)
    assert result.any()
    assert not draw_overlay(BLACK, [(-1e12, 3.0)], radius=10).any()
    assert not result[100:700, 200:].any()


def test_input_is_not_modified_and_kinds_agree() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    before = image.copy()
    expected = draw_overlay(image, [(3, 4)])
    assert np.array_equal(image, before)
    assert np.array_equal(draw_overlay(image / 255, torch.tensor([[3, 4]])), expected)
    assert np.array_equal(draw_overlay(image.astype(np.uint16) * 257, [(3.0, 4.0)]), expected)
    grey = draw_overlay(image[..., 0], [])
    assert np.array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.zeros((4, 4), np.int32), []), {}, "image: came as int32"),
        ((np.zeros((4, 4, 2)), []), {}, "image: came with shape"),
        ((np.zeros((0, 4)), []), {}, "image: has no pixels"),
        ((BLACK, [(1, 2, 3)]), {}, "points: came with shape"),
        ((BLACK, [(np.nan, 2)]), {}, "points: row 0"),
        ((BLACK, []), {"truth": [(np.inf, 2)]}, "truth: row 0"),
        ((BLACK, []), {"radius": 0}, "radius: came as 0, expected a positive number"),
        ((BLACK, []), {"radius": float("nan")}, "radius"),
    ],
)
def test_draw_overlay_refuses(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_overlay(*arguments, **options)


# density_to_rgb


def test_density_colours_rise_with_the_density() -> None:
    ramp = np.linspace(0, 7, 256)[None]
    colours = density_to_rgb(ramp)
    assert colours.shape == (1, 256, 3)
    assert colours.dtype == np.uint8
    luminance = colours[0] @ [0.2125, 0.7154, 0.0721]
    assert (np.diff(luminance) > -1).all()
    assert luminance[0] < 3
    assert luminance[-1] > 240
    assert np.array_equal(density_to_rgb(ramp * 1e-9), colours)
    assert np.array_equal(density_to_rgb(torch.from_numpy(ramp)), colours)


def test_density_without_votes_is_dark() -> None:
    assert density_to_rgb(np.zeros((3, 4))).max() < 10
    assert density_to_rgb(np.full((3, 4), -1.0)).max() < 10
    assert np.array_equal(density_to_rgb([[-5.0, 1.0]]), density_to_rgb([[0.0, 1.0]]))


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (np.zeros((2, 3, 4)), r"density: came with shape \[2, 3, 4\]"),
        (np.zeros((0, 4)), "density: came with shape"),
        ([[1.0, np.nan]], "density: holds NaN"),
        ([[1.0, np.inf]], "density: holds NaN or infinity"),
    ],
)
def test_density_to_rgb_refuses(density: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        density_to_rgb(density)


# write_png


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[::-1, ::2],
        np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000,
    ],
)
def test_write_png(tmp_path: Path, array: NDArray[Any]) -> None:
    path = tmp_path / "a.PNG"
    write_png(path, array)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.array(image), array)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4)),
        np.zeros((3, 4, 2), np.uint8),
        np.zeros((3, 4, 3), np.uint16),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_write_png_refuses_arrays(tmp_path: Path, array: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"array: came as .* expected uint8"):
        write_png(tmp_path / "a.png", array)
    assert not list(tmp_path.iterdir())


def test_write_png_refuses_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg: expected a file name that ends in \.png"):
        write_png(tmp_path / "a.jpg", BLACK)
    with pytest.raises(InputError, match="does not exist; create it first"):
        write_png(tmp_path / "none" / "a.png", BLACK)


# Imports


def test_data_does_not_import_plotting_or_imaging_packages() -> None:
    code = (
        "import sys, dvfast.data, dvfast.detection.overlay; "
        "print([m for m in ('matplotlib', 'skimage', 'tifffile', 'geojson') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_images_of_few_of_16_bits_are_not_shown_black() -> None:
    counts = np.random.default_rng(0).integers(100, 1300, (400, 400)).astype(np.uint16)
    assert np.median(draw_overlay(counts, [])) > 80
    assert np.median(draw_crowd(counts, [])) > 80
    bright = np.linspace(0, 65535, 160_000).reshape(400, 400).astype(np.uint16)
    as_bytes = (bright >> 8).astype(np.uint8)
    difference = draw_overlay(bright, []).astype(int) - draw_overlay(as_bytes, [])
    assert np.abs(difference).max() <= 1
