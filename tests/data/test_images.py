from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.color import rgb2gray

from dvfast.data.images import (
    image_to_tensor,
    least_contrast,
    list_images,
    normalize,
    resample,
    resample_points,
)
from dvfast.errors import InputError

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (21, 34), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (21, 34, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (21, 34, 3), dtype=np.uint16)


# image_to_tensor

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)


@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)),
    st.sampled_from([1, 3]),
)
def test_grey_becomes_fractions_of_full_scale(image: NDArray[Any], channels: int) -> None:
    before = image.copy()
    tensor = image_to_tensor(image, channels)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor.shape == (channels, *image.shape)
    expected = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    for plane in tensor:
        assert np.array_equal(plane.numpy(), expected)
    assert torch.equal(image_to_tensor(image[..., None], channels), tensor)
    tensor.zero_()
    assert np.array_equal(image, before)


def test_colour_keeps_its_order_and_loses_alpha() -> None:
    expected = torch.from_numpy(np.moveaxis(RGB8, -1, 0).astype(np.float32) / 255)
    assert torch.equal(image_to_tensor(RGB8, 3), expected)
    assert torch.equal(image_to_tensor(np.dstack((RGB8, GREY8)), 3), expected)


def test_colour_to_grey_uses_luminance_weights() -> None:
    tensor = image_to_tensor(RGB8, 1)
    assert tensor.shape == (1, 21, 34)
    np.testing.assert_allclose(tensor[0].numpy(), rgb2gray(RGB8), atol=1e-6)
    assert image_to_tensor(np.full((1, 1, 3), 255, np.uint8), 1).max() <= 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_pass_unscaled_and_unshared(dtype: Any) -> None:
    image = np.array([[0, 0.25], [0.5, 1]], dtype)
    tensor = image_to_tensor(image, 1)
    assert tensor.tolist() == [image.tolist()]
    tensor.zero_()
    assert image.max() == 1


def test_what_rounding_adds_to_floats_is_cut_off() -> None:
    rounded = np.array([[1 + 2.0**-23, -1e-9, 0.5]], np.float32)
    assert image_to_tensor(rounded, 1).tolist() == [[[1.0, 0.0, 0.5]]]


def test_awkward_memory_layouts() -> None:
    expected = image_to_tensor(np.ascontiguousarray(RGB16[::-1, ::2]), 3)
    assert torch.equal(image_to_tensor(RGB16[::-1, ::2], 3), expected)
    frozen = RGB16.astype(">u2")[::-1, ::2]
    frozen.flags.writeable = False
    assert torch.equal(image_to_tensor(frozen, 3), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), bool), r"came as bool, expected uint8.*; image \* np.uint8\(255\)"),
        (np.zeros((4, 4), np.int64), "came as int64, expected uint8.*; divide by the largest"),
        (np.zeros((4, 4), complex), r"came as complex128, expected .* point in \[0, 1\]$"),
        (np.zeros((4, 4), np.uint32), "came as uint32, expected uint8"),
        (np.full((4, 4), np.nan), "NaN or infinity"),
        (np.full((4, 4), 200.0), r"span \[200, 200\], expected \[0, 1\]; divide"),
        (np.full((4, 4), -0.1), r"span \[-0.1, -0.1\]"),
        (np.full((4, 4), 1.00001), r"span \[1.00001, 1.00001\]"),
        (np.zeros((4, 4, 2)), r"shape \[4, 4, 2\]"),
        (np.zeros((3, 4, 5)), r"shape \[3, 4, 5\].*channels last"),
        (np.zeros(4), r"shape \[4\]"),
        (np.zeros((1, 4, 4, 3)), r"shape \[1, 4, 4, 3\]"),
        (np.zeros((0, 4), np.uint8), r"no pixels, its shape is \[0, 4"),
        (np.zeros((4, 0, 3)), "no pixels"),
    ],
)
def test_image_to_tensor_refuses(image: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_to_tensor(image, 3)


def test_masked_pixels_are_refused() -> None:
    image = np.ma.masked_greater(GREY8, 100)
    with pytest.raises(InputError, match=r"has masked pixels.*image.filled\(value\)"):
        image_to_tensor(image, 3)
    nothing_masked = np.ma.masked_array(GREY8)
    assert torch.equal(image_to_tensor(nothing_masked, 3), image_to_tensor(GREY8, 3))


def test_image_to_tensor_refuses_other_channel_counts() -> None:
    with pytest.raises(InputError, match="channels: came as 2, expected 1"):
        image_to_tensor(GREY8, 2)


# list_images


def test_list_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.png", "a.TIF", "c.jpeg", "notes.txt", "._b.png", "odd.img", "[1].png"):
        (tmp_path / name).touch()
    (tmp_path / "deep" / "d.png").mkdir(parents=True)
    (tmp_path / "deep" / "e.tiff").touch()
    monkeypatch.chdir(tmp_path)

    def names(*inputs: str) -> list[str]:
        return [str(path) for path in list_images(inputs)]

    assert names(".") == ["[1].png", "a.TIF", "b.png", "c.jpeg"]
    assert names("*.png") == ["[1].png", "b.png"]
    assert names("**/*") == ["[1].png", "a.TIF", "b.png", "c.jpeg", "deep/e.tiff"]
    assert names("c.jpeg", "?.png", "./b.png", "c.jpeg") == ["c.jpeg", "b.png"]
    assert names("odd.img") == ["odd.img"]
    assert names("[1].png") == ["[1].png"]
    assert [path.name for path in list_images(str(tmp_path / "b.png"))] == ["b.png"]
    assert list_images(iter([tmp_path / "b.png"])) == [tmp_path / "b.png"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["*.jpg"], r"\*\.jpg: matches no images"),
        (["*.txt"], r"\*\.txt: matches no images"),
        (["empty"], r"empty: holds no images \(\.png"),
        ([], "inputs: came empty"),
        (["a.png", "nowhere"], "nowhere"),
    ],
)
def test_list_images_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        list_images(inputs)


# resample


@pytest.mark.parametrize(
    ("scale", "size"), [(0.5, (10, 17)), (2, (42, 68)), (1.1, (23, 37)), (0.001, (1, 1))]
)
def test_resample_sizes(scale: float, size: tuple[int, int]) -> None:
    result = resample(image_to_tensor(RGB8, 3), scale)
    assert result.shape == (3, *size)
    assert result.min() >= 0
    assert result.max() <= 1


def test_resample_identity_and_constant() -> None:
    image = torch.rand(2, 5, 6)
    assert resample(image, 1) is image
    for scale in (0.3, 1.7):
        result = resample(torch.full((1, 9, 9), 0.25), scale)
        torch.testing.assert_close(result, torch.full_like(result, 0.25))


def test_shrinking_does_not_alias() -> None:
    stripes = torch.zeros(1, 64, 64)
    stripes[..., ::4] = 1
    shrunk = resample(stripes, 0.25)
    assert shrunk[..., 2:-2].std() < 0.05
    assert abs(float(shrunk.mean()) - 0.25) < 0.05


@pytest.mark.parametrize("scale", [0.5, 0.4, 2.0, 2.3])
def test_points_move_with_the_image(scale: float) -> None:
    y, x = torch.meshgrid(torch.arange(80.0), torch.arange(100.0), indexing="ij")
    centre = torch.tensor([[37.0, 61.0]])
    blob = torch.exp(-((y - 37) ** 2 + (x - 61) ** 2) / 50)[None]
    result = resample(blob, scale)[0]
    size = tuple(result.shape)
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij"))
    found = (grid * result).sum((1, 2)) / result.sum()
    torch.testing.assert_close(
        found[None], resample_points(centre, (80, 100), size), atol=0.02, rtol=0
    )


SIZES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
POINTS = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.floats(-1e4, 1e4)
)


@given(POINTS, SIZES, SIZES)
def test_resampling_points_back_is_the_inverse(
    points: NDArray[np.float64], one: tuple[int, int], other: tuple[int, int]
) -> None:
    there = resample_points(points, one, other)
    np.testing.assert_allclose(resample_points(there, other, one), points, atol=1e-8)
    tensor = resample_points(torch.from_numpy(points), one, other)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), there, rtol=1e-12, atol=1e-9)


def test_corners_fall_onto_corners() -> None:
    corners = np.array([[-0.5, -0.5], [9.5, 19.5]])
    moved = resample_points(corners, (10, 20), (37, 7))
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [36.5, 6.5]])
    single = np.array([[1, 2]], np.float32)
    assert resample_points(single, (4, 4), (8, 8)).dtype == np.float32
    assert resample_points(torch.tensor([[1, 2]]), (4, 4), (8, 8)).tolist() == [[2.5, 4.5]]


def test_resample_refuses() -> None:
    with pytest.raises(InputError, match=r"image: came with shape \[4, 4\]"):
        resample(torch.zeros(4, 4), 2)
    with pytest.raises(InputError, match="image"):
        resample(torch.zeros(3, 0, 4), 2)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="scale: came as"):
            resample(torch.zeros(1, 4, 4), scale)
    with pytest.raises(InputError, match=r"points: came with shape \[3\]"):
        resample_points(np.zeros(3), (4, 4), (4, 4))
    with pytest.raises(InputError, match="from_size"):
        resample_points(np.zeros((1, 2)), (0, 4), (4, 4))
    with pytest.raises(InputError, match="to_size"):
        resample_points(np.zeros((1, 2)), (4, 4), (4, 4, 3))


def test_percentiles_make_exposures_alike() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.uniform(0.1, 0.3, (3, 40, 50)).astype(np.float32))
    low, high = np.percentile(image.numpy(), (1, 99.8))
    normal = normalize(image, "percentiles")
    expected = np.clip((image.numpy() - low) / (high - low), 0, 1)
    np.testing.assert_allclose(normal.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(
        normalize(0.5 * image + 0.2, "percentiles").numpy(), normal.numpy(), atol=1e-5
    )
    assert normalize(image, "none") is image


def test_normalizing_does_not_stretch_an_empty_image() -> None:
    noise = 0.1 + 1e-3 * torch.rand(1, 30, 30)
    assert normalize(noise, "percentiles").std() < 0.05
    assert not normalize(torch.full((1, 4, 4), 0.5), "percentiles").any()


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("others", [0.0, 0.02])
def test_grey_images_in_a_colour_become_grey(channel: int, others: float) -> None:
    """As exposures are often stored: in the colour of their dye."""
    grey = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)) * 0.1
    image = torch.full((3, 40, 50), others)
    image[channel] = grey
    assert torch.equal(
        normalize(image, "percentiles"), normalize(grey.repeat(3, 1, 1), "percentiles")
    )
    assert normalize(image, "none") is image


def test_colours_that_say_something_are_kept() -> None:
    image = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))
    image[0] *= 0.3
    image[1] = 0
    normal = normalize(image, "percentiles")
    assert normal[0].max() < 0.4
    assert not normal[1].any()
    assert not normalize(torch.zeros(3, 4, 4), "percentiles").any()


def test_normalize_refuses() -> None:
    with pytest.raises(InputError, match="normalization: came as 'mean'"):
        normalize(torch.zeros(1, 2, 2), "mean")


def test_exposures_of_16_bits_are_stretched_where_8_bits_hold_noise_alone() -> None:
    counts = np.random.default_rng(0).integers(100, 356, (40, 40))
    for dtype, full, high in ((np.uint16, 65535, 1.0), (np.uint8, 255, 0.2)):
        pixels = counts.astype(np.uint16) if dtype == np.uint16 else (counts % 2).astype(np.uint8)
        image = torch.from_numpy((pixels / full).astype(np.float32))[None]
        stretched = normalize(image, "percentiles", least_contrast(np.dtype(dtype)))
        assert stretched.max() == pytest.approx(high, abs=0.01)
