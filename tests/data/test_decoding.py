from __future__ import annotations

import re
import struct
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from dvfast.data.decoding import _tiff_to_array, decode_pillow
from dvfast.data.images import (
    read_image,
)
from dvfast.errors import InputError

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (21, 34), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (21, 34, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (21, 34), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (21, 34, 3), dtype=np.uint16)
FLOAT = RNG.random((21, 34), dtype=np.float32)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def retag(path: Path, tag: str, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags[tag].overwrite(value)


def write_png16(path: Path, pixels: NDArray[Any], bits: int = 16) -> None:
    """Grey, grey with alpha, RGB or RGBA, as Pillow writes none of 16 bits but the first."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2" if bits == 16 else np.uint8)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"IEND", b""),
    )
    content = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def without_imagecodecs(*args: Any, **kwargs: Any) -> None:
    raise ValueError("requires the 'imagecodecs' package")


needs_no_imagecodecs = pytest.mark.skipif(
    find_spec("imagecodecs") is not None, reason="imagecodecs is installed"
)


# read_image: what comes out is what went in


@pytest.mark.parametrize("array", [GREY8, RGB8, GREY16], ids=["grey8", "rgb8", "grey16"])
def test_png_round_trip(tmp_path: Path, array: NDArray[Any]) -> None:
    image = read_image(save(tmp_path / "a.png", Image.fromarray(array)))
    assert image.dtype == array.dtype
    assert np.array_equal(image, array)


@pytest.mark.parametrize(
    "array",
    [GREY8, RGB8, GREY16, RGB16, FLOAT, GREY16.astype(">u2")],
    ids=["grey8", "rgb8", "grey16", "rgb16", "float32", "big-endian"],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_round_trip(tmp_path: Path, array: NDArray[Any], compression: str | None) -> None:
    byteorder = ">" if array.dtype.byteorder == ">" else "<"
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, byteorder=byteorder)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == array.dtype.newbyteorder("=")
    assert image.dtype.isnative
    assert image.flags.c_contiguous
    assert np.array_equal(image, array)


@pytest.mark.parametrize("array", [GREY8, RGB8, GREY16], ids=["grey8", "rgb8", "grey16"])
def test_lzw_tiff_is_read_with_or_without_imagecodecs(tmp_path: Path, array: NDArray[Any]) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(array), compression="tiff_lzw")
    assert np.array_equal(read_image(path), array)
    assert np.array_equal(decode_pillow(path, formats=("TIFF",)), array)


def test_float64_and_float16_tiff_become_float32(tmp_path: Path) -> None:
    for dtype in (np.float64, np.float16):
        tifffile.imwrite(tmp_path / "a.tif", FLOAT.astype(dtype))
        image = read_image(tmp_path / "a.tif")
        assert image.dtype == np.float32
        assert np.array_equal(image, FLOAT.astype(dtype).astype(np.float32))


def test_planar_and_pyramidal_tiff(tmp_path: Path) -> None:
    planes = np.moveaxis(RGB8, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_image(tmp_path / "p.tif"), RGB8)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(RGB8, photometric="rgb", subifds=1)
        writer.write(RGB8[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "pyramid.tif"), RGB8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_whose_colours_lose_bits_that_it_needs(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.png"

    def told(highest: int) -> bool:
        pixels = RNG.integers(0, highest + 1, (9, 11, channels))
        pixels[4, 5] = highest
        write_png16(path, pixels)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read_image(path)
        message = "a.png: of the 16 bits of its colours 8 .* at most [0-9]+, .*store it as TIFF"
        assert [re.search(message, str(each.message)) for each in caught].count(None) == 0
        assert all(each.filename == __file__ for each in caught)
        return bool(caught)

    expected = channels > 1  # grey keeps its bits
    assert [told(highest) for highest in (255, 4095, 16383)] == [expected] * 3
    assert not told(16384)
    assert not told(65535)
    write_png16(path, RNG.integers(0, 2, (9, 11, channels)), bits=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)


@pytest.mark.parametrize("bits", [2, 4, 7, 12])
def test_few_bits_fill_the_range(bits: int) -> None:
    """As tifffile gives them where imagecodecs is there to unpack them."""
    kind, most = (np.uint8, 255) if bits < 8 else (np.uint16, 65535)
    packed = np.arange(2**bits, dtype=kind)[None]
    page = SimpleNamespace(bitspersample=bits, photometric=SimpleNamespace(name="MINISBLACK"))
    pixels = _tiff_to_array(Path("a.tif"), page, "YX", packed)
    assert pixels.dtype == kind
    assert np.array_equal(pixels[0], np.rint(np.linspace(0, most, 2**bits)))
    page.photometric.name = "MINISWHITE"
    assert np.array_equal(_tiff_to_array(Path("a.tif"), page, "YX", packed), most - pixels)
    page.photometric.name = "PALETTE"
    page.colormap = np.tile(packed[0].astype(np.uint16) << 8, (3, 1))
    if bits < 8:
        shown = _tiff_to_array(Path("a.tif"), page, "YX", packed)
        assert np.array_equal(shown, np.repeat(packed[..., None], 3, -1))


def test_white_is_zero_tiff_is_inverted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY16, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif"), 65535 - GREY16)


@pytest.mark.parametrize(
    ("array", "message"),
    [(FLOAT, "floating pixels of which 0 is white"), (GREY16, "16-bit pixels .* imagecodecs")],
)
def test_white_is_zero_where_black_would_be_lost(
    tmp_path: Path, array: NDArray[Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(array), compression="tiff_lzw")
    retag(path, "PhotometricInterpretation", 0)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", without_imagecodecs)
    with pytest.raises(InputError, match=rf"a\.tif: {message}"):
        read_image(path)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = GREY8[::-1]
    rgba, la = np.dstack((RGB8, alpha)), np.dstack((GREY8, alpha))
    assert np.array_equal(read_image(save(tmp_path / "a.png", Image.fromarray(rgba))), RGB8)
    grey_alpha = Image.merge("LA", [Image.fromarray(plane) for plane in (GREY8, alpha)])
    assert np.array_equal(read_image(save(tmp_path / "b.png", grey_alpha)), GREY8)
    tifffile.imwrite(tmp_path / "c.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read_image(tmp_path / "c.tif"), RGB8)
    tifffile.imwrite(
        tmp_path / "d.tif",
        la,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    assert np.array_equal(read_image(tmp_path / "d.tif"), GREY8)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_channel_that_is_not_called_alpha_is_no_alpha(
    tmp_path: Path, mode: str, compression: str | None
) -> None:
    path = save(tmp_path / "a.tif", Image.new(mode, (5, 4)), compression=compression)
    assert read_image(path).shape[:2] == (4, 5)
    retag(path, "ExtraSamples", 0)
    with pytest.raises(InputError, match=rf"a\.tif: {len(mode)} channels .* UNSPECIFIED, expected"):
        read_image(path)


def test_palettes_become_rgb(tmp_path: Path) -> None:
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    indexed = Image.fromarray(GREY8, mode="L")
    indexed.putpalette(palette.tobytes())
    for suffix in ("png", "tif"):
        assert np.array_equal(read_image(save(tmp_path / f"a.{suffix}", indexed)), palette[GREY8])


def test_one_bit_images_become_0_and_255(tmp_path: Path) -> None:
    expected = np.where(GREY8 > 127, 255, 0)
    for suffix in ("png", "tif"):
        path = save(tmp_path / f"a.{suffix}", Image.fromarray(GREY8 > 127))
        assert np.array_equal(read_image(path), expected)


def test_jpeg_is_turned_as_exif_says(tmp_path: Path) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.rot90(upright))
    image = read_image(save(tmp_path / "a.jpg", stored, exif=exif, quality=95))
    assert np.abs(image.astype(int) - upright).max() < 10


def test_grey_jpeg_and_content_against_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.full((8, 9), 77, np.uint8)), format="JPEG")
    assert np.array_equal(read_image(str(path)), np.full((8, 9), 77))


def test_old_pillow_opens_16_bit_png_as_integers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(GREY16.astype(np.int32))
    image.format = "PNG"
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: image)
    assert np.array_equal(decode_pillow(tmp_path / "a.png"), GREY16)


# read_image: what is refused


def encoded(kind: str, folder: Path) -> Path:
    path = folder / f"whole.{kind.split('-')[0]}"
    if kind == "tif":
        tifffile.imwrite(path, RGB8)
    elif kind == "tif-zlib":
        tifffile.imwrite(path, RGB8, compression="zlib")
    elif kind == "tif-tiles":
        tifffile.imwrite(path, np.tile(RGB8, (2, 1, 1)), tile=(16, 16))
    else:
        options: dict[str, Any] = {
            "jpg-progressive": {"progressive": True},
            "tif-lzw": {"compression": "tiff_lzw"},
        }.get(kind, {})
        Image.fromarray(RGB8).save(path, **options)
    return path


@pytest.mark.parametrize(
    "kind", ["png", "jpg", "jpg-progressive", "tif", "tif-zlib", "tif-tiles", "tif-lzw"]
)
def test_truncated_files_are_refused_wherever_they_are_cut(tmp_path: Path, kind: str) -> None:
    path = encoded(kind, tmp_path)
    data, whole = path.read_bytes(), read_image(path)
    cut = tmp_path / f"cut{path.suffix}"
    refused = 0
    lengths = {1, 4, 7, 8, 9, *range(11, len(data), 1 + len(data) // 60)}
    for length in sorted(lengths):
        cut.write_bytes(data[:length])
        try:
            image = read_image(cut)
        except InputError:
            refused += 1
        else:
            # Only trailing bytes that hold no pixels may be missed.
            assert np.array_equal(image, whole), length
            assert length > 0.9 * len(data)
    assert refused >= 0.9 * len(lengths)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_empty_missing_folder_and_garbage(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        read_image(path)
    path.mkdir()
    with pytest.raises(InputError, match=rf"{name}: is a folder"):
        read_image(path)
    path.rmdir()
    path.touch()
    with pytest.raises(InputError, match=rf"{name}: the file is empty"):
        read_image(path)
    path.write_text("y,x\n1,2\n")
    with pytest.raises(InputError, match=rf"{name}: not an image that can be read"):
        read_image(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded("png", tmp_path)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=r"whole\.png: cannot be opened: Permission denied"):
        read_image(path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB8), format="BMP")
    with pytest.raises(InputError, match="expected PNG, JPEG or TIFF"):
        read_image(path)


@pytest.mark.parametrize("imagej", [False, True])
def test_multi_page_tiff(tmp_path: Path, imagej: bool) -> None:
    stack = np.zeros((5, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=imagej, photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: a multi-page TIFF of shape 5x8x9"):
        read_image(tmp_path / "a.tif")


def test_tiff_of_several_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY8)
        writer.write(GREY8[::2])
    with pytest.raises(InputError, match=r"holds 2 images \(21x34, 11x34\), expected one"):
        read_image(tmp_path / "a.tif")


def test_animated_png(tmp_path: Path) -> None:
    frames = [Image.fromarray(RGB8), Image.fromarray(255 - RGB8)]
    path = save(tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="holds 2 frames"):
        read_image(path)


def test_cmyk(tmp_path: Path) -> None:
    cmyk = Image.fromarray(RGB8).convert("CMYK")
    with pytest.raises(InputError, match=r"a\.jpg: pixels of kind 'CMYK'"):
        read_image(save(tmp_path / "a.jpg", cmyk))
    with pytest.raises(InputError, match=r"a\.tif: colour space SEPARATED"):
        read_image(save(tmp_path / "a.tif", cmyk))


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.complex64])
def test_tiff_of_other_number_types(tmp_path: Path, dtype: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY8.astype(dtype))
    with pytest.raises(InputError, match=f"pixels of type {np.dtype(dtype)}, expected uint8"):
        read_image(tmp_path / "a.tif")


def test_tiff_of_five_channels(tmp_path: Path) -> None:
    channels = np.zeros((8, 9, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", channels, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match="5 channels of kind MINISBLACK"):
        read_image(tmp_path / "a.tif")


def test_huge_png_is_refused_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded("png", tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="store it as uncompressed TIFF"):
        read_image(path)


def test_compressed_16_bit_colour_names_imagecodecs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB16)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", without_imagecodecs)
    with pytest.raises(InputError, match=r"a\.tif: 16-bit pixels .* pip install imagecodecs"):
        read_image(tmp_path / "a.tif")


@needs_no_imagecodecs
def test_a_turned_tiff_that_only_pillow_reads_is_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"compression": "tiff_lzw", "tiffinfo": {274: 6}}
    path = save(tmp_path / "a.tif", Image.fromarray(RGB8), **options)
    with pytest.raises(
        InputError, match=r"turned by a tag, compressed with LZW need .*imagecodecs"
    ):
        read_image(path)


@needs_no_imagecodecs
def test_of_a_pyramid_that_only_pillow_reads_the_base_is_taken(tmp_path: Path) -> None:
    image = np.repeat(np.repeat(RGB8, 4, 0), 4, 1)
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "a.tif") as file:
        for step in (1, 2, 4):
            level = Image.fromarray(image[::step, ::step])
            level.save(file, "TIFF", compression="tiff_lzw", tiffinfo={254: int(step > 1)})
            file.newFrame()
    assert np.array_equal(read_image(tmp_path / "a.tif"), image)


def write_packed(path: Path, pixels: NDArray[Any], bits: int, **tags: int) -> Path:
    """A TIFF of numbers that share bytes, every row in bytes of its own; or what says it is one."""
    height, width = pixels.shape[:2]
    planes = (pixels.reshape(height, -1)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    if tags.get("compression") == 8:
        data = zlib.compress(data)
    samples = pixels.size // (height * width)
    start = 8 + 2 + 9 * 12 + 4
    entries = {
        256: width, 257: height, 258: bits, 259: tags.get("compression", 1),
        262: tags.get("photometric", 1 if samples == 1 else 2), 273: start, 277: samples,
        278: height, 279: len(data),
    }  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    path.write_bytes(b"II*\0\x08\0\0\0\x09\0" + directory + bytes(4) + data)
    return path


@pytest.mark.parametrize("compression", [1, 8], ids=["plain", "deflate"])
@pytest.mark.parametrize("width", [16, 17])
@pytest.mark.parametrize("bits", [2, 4, 12])
def test_packed_bits_are_read_with_or_without_imagecodecs(
    tmp_path: Path, bits: int, width: int, compression: int
) -> None:
    pixels = RNG.integers(0, 2**bits, (9, width))
    image = read_image(write_packed(tmp_path / "a.tif", pixels, bits, compression=compression))
    kind, most = (np.uint8, 255) if bits < 8 else (np.uint16, 65535)
    assert image.dtype == kind
    assert np.array_equal(image, np.rint(pixels * (most / (2**bits - 1))))


@needs_no_imagecodecs
@pytest.mark.parametrize(
    ("bits", "samples", "tags", "message"),
    [
        (10, 1, {}, "10-bit pixels of kind MINISBLACK need"),
        (12, 3, {}, "12-bit pixels of kind RGB need"),
        (12, 1, {"photometric": 0}, "12-bit pixels of kind MINISWHITE need"),
        (8, 1, {"compression": 50000}, "8-bit pixels of kind MINISBLACK compressed with ZSTD need"),
        (16, 3, {"compression": 50000}, "16-bit pixels of kind RGB compressed with ZSTD need"),
        (8, 3, {"compression": 34712}, "8-bit pixels of kind RGB compressed with JPEG2000 need"),
        (8, 3, {"compression": 50001}, "8-bit pixels of kind RGB compressed with WEBP need"),
        (12, 1, {"compression": 7}, "12-bit pixels of kind MINISBLACK compressed with JPEG need"),
    ],
)
def test_what_only_imagecodecs_reads_is_not_called_damaged(
    tmp_path: Path, bits: int, samples: int, tags: dict[str, int], message: str
) -> None:
    pixels = RNG.integers(0, 2**bits, (9, 16, samples))
    path = write_packed(tmp_path / "a.tif", pixels, bits, **tags)
    with pytest.raises(
        InputError, match=rf"a\.tif: {message} the package imagecodecs: pip install"
    ):
        read_image(path)


@needs_no_imagecodecs
@pytest.mark.parametrize("compression", [5, 7], ids=["lzw", "jpeg"])
def test_what_pillow_reads_is_damaged_where_it_does_not(tmp_path: Path, compression: int) -> None:
    path = write_packed(tmp_path / "a.tif", GREY8.astype(int), 8, compression=compression)
    with pytest.raises(InputError, match=r"a\.tif: the image is damaged or truncated"):
        read_image(path)


def test_too_little_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("Unable to allocate 64 GiB")

    tifffile.imwrite(tmp_path / "a.tif", GREY8)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", allocate)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "a.tif")
    monkeypatch.setattr("dvfast.data.decoding.pillow_to_array", allocate)
    with pytest.raises(MemoryError):
        read_image(encoded("png", tmp_path))


def test_image_without_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded("png", tmp_path)
    monkeypatch.setattr("dvfast.data.images.decode_pillow", lambda path: np.zeros((0, 5)))
    with pytest.raises(InputError, match="the image has no pixels"):
        read_image(path)
