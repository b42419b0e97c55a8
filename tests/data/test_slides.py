"""Slides: parts of files and arrays, their levels, and what is a slide at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pyramid import shrunk, write_svs

from dvfast.data import image_to_tensor, open_slide, read_image, slides
from dvfast.data.decoding import check_tiff, is_tiff_of_bytes
from dvfast.data.images import image_size
from dvfast.data.slides import slide_of
from dvfast.errors import InputError

openslide = pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (203, 310, 3), dtype=np.uint8)


@pytest.fixture
def svs(tmp_path: Path, pixels: NDArray[np.uint8]) -> Path:
    return write_svs(tmp_path / "a.svs", pixels, pixel_size=0.25)


def test_arrays_are_read_in_parts(pixels: NDArray[np.uint8]) -> None:
    with open_slide(pixels) as slide:
        assert slide.size == (203, 310)
        assert slide.pixel_size is None
        part = slide.read(200, 10, 3, 40)
        np.testing.assert_array_equal(part, pixels[200:, 10:50])
        assert np.shares_memory(part, pixels)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_tiled_tiff_keeps_its_bits(
    tmp_path: Path, pixels: NDArray[np.uint8], kind: type[Any]
) -> None:
    values = pixels.astype(kind)
    if kind != np.uint8:
        values *= kind(257 / 65535 if kind == np.float32 else 5)
        values[3, 4] = kind(1 if kind == np.float32 else 1001)
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, values, tile=(64, 64), photometric="rgb")
    with open_slide(path) as slide:
        part = slide.read(0, 0, 203, 310)
    assert part.dtype == kind
    np.testing.assert_array_equal(part, values)


@pytest.mark.parametrize("shape", [(4,), (0, 5), (2, 3, 4, 5)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="image"):
        open_slide(np.zeros(shape, np.uint8))


def test_a_slide_has_levels_and_a_pixel_size(svs: Path, pixels: NDArray[np.uint8]) -> None:
    with open_slide(svs) as slide:
        assert slide.size == (203, 310)
        assert slide.pixel_size == 0.25
        assert list(slide.sizes) == [(203, 310), (101, 155), (50, 77)]
        np.testing.assert_allclose(slide.downsamples, [1, 2, 4], rtol=0.02)
        np.testing.assert_array_equal(slide.read(17, 33, 100, 90), pixels[17:117, 33:123])
        half = shrunk(pixels, 2)
        np.testing.assert_array_equal(slide.read(0, 0, 100, 150, 1), half[:100, :150])


def test_a_slide_may_be_silent_about_its_pixels(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    with open_slide(write_svs(tmp_path / "a.svs", pixels, pixel_size=None)) as slide:
        assert slide.pixel_size is None


class OfAScanner:
    """What OpenSlide says of a slide of which only a part was scanned."""

    dimensions = (1000, 800)
    level_dimensions = ((1000, 800), (250, 200))
    level_downsamples = (1.0, 4.0)

    def __init__(self, pixels: NDArray[np.uint8], **properties: str) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.properties = {f"openslide.{k.replace('_', '-')}": v for k, v in properties.items()}
        self._pixels = pixels

    def read_region(self, *asked: Any) -> Image.Image:
        self.asked.append(asked)
        return Image.fromarray(self._pixels)

    def close(self) -> None:
        pass


def test_what_was_not_scanned_has_the_colour_of_the_background() -> None:
    transparent = np.zeros((5, 6, 4), np.uint8)
    transparent[0] = (10, 20, 30, 255)
    file = OfAScanner(
        transparent, bounds_x="100", bounds_y="200", bounds_width="400", bounds_height="300",
        background_color="F0E0D0",
    )  # fmt: skip
    slide = slides._FileSlide(Path("a.mrxs"), file)
    assert slide.size == (300, 400)
    assert list(slide.sizes) == [(300, 400), (75, 100)]
    read = slide.read(8, 16, 5, 6, level=1)
    # Places are pixels of the whole slide at full resolution.
    assert file.asked == [((100 + 64, 200 + 32), 1, (6, 5))]
    np.testing.assert_array_equal(read[0], np.tile(np.uint8([10, 20, 30]), (6, 1)))
    assert (read[1:] == [0xF0, 0xE0, 0xD0]).all()


@pytest.mark.parametrize("size", ["", "nothing", "0", "-1", "nan", "inf"])
def test_pixel_sizes_that_are_none(size: str) -> None:
    file = OfAScanner(np.zeros((1, 1, 4), np.uint8), mpp_x=size, mpp_y="0.25")
    assert slides._FileSlide(Path("a.svs"), file).pixel_size is None


@pytest.mark.parametrize("region", [(0, 0, 203, 310), (50, 20, 120, 7), (202, 309, 1, 1)])
@pytest.mark.parametrize("side", [16, 100, 1000])
def test_pictures(
    svs: Path, pixels: NDArray[np.uint8], region: tuple[int, int, int, int], side: int
) -> None:
    for source in (svs, pixels):
        with open_slide(source) as slide:
            picture = slide.picture(region, side)
        assert max(picture.shape[:2]) <= side
        if max(region[2:]) <= side:
            top, left, height, width = region
            np.testing.assert_array_equal(picture, pixels[top : top + height, left : left + width])
        else:
            assert max(picture.shape[:2]) > side // 3


def test_pictures_are_read_in_bands(
    monkeypatch: pytest.MonkeyPatch, pixels: NDArray[np.uint8]
) -> None:
    whole = open_slide(pixels).picture((0, 0, 203, 310), 100)
    monkeypatch.setattr(slides, "_BAND_PIXELS", 310 * 11)
    np.testing.assert_array_equal(open_slide(pixels).picture((0, 0, 203, 310), 100), whole)


def test_what_is_a_slide(
    tmp_path: Path, svs: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, tiled, renamed = (tmp_path / name for name in ("a.png", "tiled.tif", "scanned.tif"))
    Image.fromarray(pixels).save(image)
    tifffile.imwrite(tiled, pixels, tile=(64, 64), photometric="rgb")
    renamed.write_bytes(svs.read_bytes())
    assert slide_of(image) is None
    assert slide_of(tiled) is None
    for path in (svs, renamed):
        slide = slide_of(path)
        assert slide is not None
        assert slide.pixel_size == 0.25
        slide.close()
    monkeypatch.setattr(slides, "_LARGE", 203 * 310)
    for path in (image, tiled):
        slide = slide_of(path)
        assert slide is not None
        np.testing.assert_array_equal(slide.read(0, 0, 203, 310), pixels)
        slide.close()


def test_without_openslide(
    tmp_path: Path, svs: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(InputError, match=r"a\.svs.*pip install openslide-python"):
        slide_of(svs)
    image = tmp_path / "a.png"
    Image.fromarray(pixels).save(image)
    assert slide_of(image) is None
    assert open_slide(image).size == (203, 310)


@pytest.mark.parametrize("kept", [1, 200, 20_000])
def test_damaged_slides(tmp_path: Path, svs: Path, kept: int) -> None:
    damaged = tmp_path / "damaged.svs"
    damaged.write_bytes(svs.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"damaged\.svs"), open_slide(damaged) as slide:
        slide.read(0, 0, *slide.size)


def test_damaged_tiles(tmp_path: Path, svs: Path) -> None:
    content = bytearray(svs.read_bytes())
    with tifffile.TiffFile(svs) as tiff:
        first = tiff.pages[0]
        offset, length = first.dataoffsets[0], first.databytecounts[0]
    content[offset : offset + length] = bytes(length)
    damaged = tmp_path / "damaged.svs"
    damaged.write_bytes(content)
    with open_slide(damaged) as slide, pytest.raises(InputError, match=r"damaged\.svs.*damaged"):
        slide.read(0, 0, *slide.size)


@pytest.mark.parametrize("name", ["none.svs", "folder.svs", "empty.svs"])
def test_files_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.svs").mkdir()
    (tmp_path / "empty.svs").touch()
    for opened in (open_slide, slide_of):
        with pytest.raises(InputError, match=name):
            opened(tmp_path / name)


def test_whole_slides_are_refused_as_images(svs: Path) -> None:
    with pytest.raises(InputError, match="detect_slide"):
        read_image(svs)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_the_size_by_the_head_of_a_file(
    tmp_path: Path, pixels: NDArray[np.uint8], suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)
    assert image_size(path) == (203, 310) == image_to_tensor(read_image(path), 3).shape[1:]
    path.write_bytes(path.read_bytes()[:6])
    assert image_size(path) == (0, 0)


def test_a_tiff_that_is_no_grey_or_rgb_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "multi.ome.tif"
    pixels = np.zeros((3, 512, 512), np.uint8)
    tifffile.imwrite(
        path, pixels, photometric="minisblack", metadata={"axes": "CYX"}, tile=(256,) * 2
    )
    with pytest.raises(InputError, match="multi-page TIFF of shape 3x512x512"):
        open_slide(path)


def test_the_resolution_of_a_print_is_not_taken_for_that_of_a_microscope(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = np.zeros((512, 512, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), resolution=(72, 72), resolutionunit="INCH")
    with open_slide(path) as slide:
        assert slide.size == (512, 512)
        assert slide.pixel_size is None


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("unit", "told"), [("µm", 0.3), ("nm", 300.0), (None, 0.3)])
def test_the_size_of_pixels_in_the_words_of_ome(
    tmp_path: Path, tiled: bool, unit: str | None, told: float
) -> None:
    path = tmp_path / "a.ome.tif"
    metadata: dict[str, Any] = {"axes": "YXS", "PhysicalSizeX": told, "PhysicalSizeY": told}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tile = (256, 256) if tiled else None
    pixels = np.zeros((300, 400, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=metadata, tile=tile)
    with open_slide(path) as slide:
        assert slide.pixel_size == pytest.approx(0.3)
    assert slide_of(path) is None  # whatever it tells, it is an image like others
    metadata["PhysicalSizeX"] = 0.0
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=metadata)
    with open_slide(path) as slide:
        assert slide.pixel_size is None


def test_what_was_exported_of_a_slide_with_its_label_is_a_slide(tmp_path: Path) -> None:
    path, silent = tmp_path / "a.ome.tif", tmp_path / "silent.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    for target, told in ((path, size), (silent, {})):
        with tifffile.TiffWriter(target, ome=True) as tiff:
            for image in (pixels, pixels[::4, ::4]):
                metadata: dict[str, Any] = {"axes": "YXS", **told}
                tiff.write(image, tile=(256, 256), photometric="rgb", metadata=metadata)
    slide = slide_of(path)
    assert slide is not None
    with slide:
        assert slide.pixel_size == 0.25
        np.testing.assert_array_equal(slide.read(0, 0, 300, 400), pixels)
    assert slide_of(silent) is None


@pytest.mark.parametrize("function", [check_tiff, is_tiff_of_bytes])
def test_a_tiff_that_cannot_be_read_is_one_clear_line(tmp_path: Path, function: Any) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\x10\0\0\0" + bytes(6))
    with pytest.raises(InputError, match=r"a\.tif: the TIFF is damaged or truncated"):
        function(path)
