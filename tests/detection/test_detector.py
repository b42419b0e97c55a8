"""From image to points: scales, settings, strides, and what travels with the weights."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyramid import write_ome
from support import small_unet

import dvfast
from dvfast.errors import InputError


class Bullseye(dvfast.nn.DeepVotingNet):
    """Votes exactly for the centre of the dark disc it sees, so that the answer is known."""

    def __init__(self) -> None:
        super().__init__(num_votes=1, channels=(1, 1, 1), hidden=(1,))

    def trunk_pass(self, image: torch.Tensor, stride: int) -> torch.Tensor:
        # Mean position of the dark pixels of every patch, relative to its centre.
        dark = (image.mean(dim=1, keepdim=True) < 0.5).to(image)
        reach = torch.arange(-19.0, 20.0)
        ones = torch.ones(39, 39)
        kernels = torch.stack([ones, ones * reach[:, None], ones * reach])[:, None]
        count, y, x = torch.nn.functional.conv2d(dark, kernels, stride=stride).unbind(1)
        seen = count > 0
        votes = [torch.where(seen, 20.0, -20.0), -y / count.clamp(min=1), -x / count.clamp(min=1)]
        return torch.stack(votes, dim=1)

    def head_pass(self, features: torch.Tensor, stride: int) -> torch.Tensor:
        return features[:, :, ::1]


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float = 4.0) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    return np.where(inside[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_finds_the_disc_at_every_stride(stride: int) -> None:
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(sigma=2.0, window=13))
    result = detector.detect(disc((60, 70), (31, 40)), stride=stride)
    assert result.points.shape == (1, 2)
    assert np.abs(result.points - [31, 40]).max() <= 1
    assert result.density.shape == (60, 70)
    assert len(result) == 1


def test_density_does_not_depend_on_the_stride() -> None:
    # A mean over the voters, so that an absolute threshold means the same at every stride.
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(sigma=3.0, window=19))
    scores = [
        detector.detect(disc((60, 70), (31, 40)), stride=stride).scores[0] for stride in (1, 2, 4)
    ]
    assert max(scores) / min(scores) < 1.2


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 2.37])
def test_points_come_back_in_pixels_of_the_image(scale: float) -> None:
    detector = dvfast.Detector(
        Bullseye(),
        dvfast.DetectionSettings(sigma=2.0, window=13),
        pixel_size=0.5,
        image_pixel_size=0.5 * scale,
    )
    assert detector.scale_of() == pytest.approx(scale)
    result = detector.detect(disc((120, 140), (62, 80), radius=4 / scale))
    assert result.density.shape == (round(120 * scale), round(140 * scale))
    assert np.abs(result.points - [62, 80]).max() <= 1 + 0.5 / scale


def test_pixel_size_of_the_image_overrides_that_of_training() -> None:
    net = Bullseye()
    detector = dvfast.Detector(net, pixel_size=0.25, image_pixel_size=0.5)
    assert detector.scale_of() == 2
    assert detector.scale_of(0.25) == 1
    assert dvfast.Detector(net).scale_of() == 1
    with pytest.raises(InputError, match="pixel_size"):
        dvfast.Detector(net).scale_of(0.5)
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match="pixel_size"):
            detector.detect(disc((40, 40), (20, 20)), pixel_size=wrong)


def test_a_detector_tells_what_it_is() -> None:
    detector = dvfast.Detector.from_pretrained("ihc-patch")
    told = "Detector(DeepVotingNet on cpu, RGB, 0.25 µm per pixel, stride 4, threshold 0.990072)"
    assert repr(detector) == told
    assert "images scaled by 0.5, stride 2" in repr(dvfast.Detector.from_pretrained("fluorescence"))
    grey = dvfast.Detector(dvfast.nn.DeepVotingNet(1, 1, (2, 2, 2), ()))
    assert "grey, images scaled by 1, stride 1, threshold 0.2 of the highest)" in repr(grey)


def test_sliding_finds_what_fast_finds() -> None:
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=(8,))
    detector = dvfast.Detector(net, dvfast.DetectionSettings(stride=2, sigma=1.5, window=9))
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    fast, sliding = detector.detect(image), detector.detect(image, mode="sliding")
    # Votes agree to 1e-5 px; a landing may still round to another pixel.
    assert np.abs(fast.density - sliding.density).mean() < 1e-3 * fast.density.max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2), (40, 40, 3), (40, 40, 4)])
def test_images_of_any_size_and_kind(shape: tuple[int, ...]) -> None:
    detector = dvfast.Detector(
        dvfast.nn.DeepVotingNet(num_votes=1, channels=(2, 2, 2), hidden=(4,))
    )
    for image in (np.zeros(shape, np.uint8), np.zeros(shape, np.uint16), np.zeros(shape)):
        result = detector.detect(image)
        assert result.density.shape == shape[:2]
        assert len(result.points) == len(result.scores)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    detector = dvfast.Detector(Bullseye())
    tifffile.imwrite(tmp_path / "a.tif", np.full((48, 56), 300, np.float32))
    (tmp_path / "a.csv").write_text("y,x\n")
    for use in (detector.detect, detector.detect_slide):
        with pytest.raises(InputError, match=r"a\.tif: floating values span"):
            use(tmp_path / "a.tif")
        with pytest.raises(InputError, match=r"^image: floating values span"):
            use(np.full((48, 56), 300.0))
    with pytest.raises(InputError, match=r"a\.tif: floating values span"):
        dvfast.evaluate(detector, tmp_path, radius=5)


def test_images_of_pillow_and_what_is_none() -> None:
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(sigma=2.0, window=13))
    array = disc((60, 70), (31, 40))
    expected = detector.detect(array).points
    for picture in (Image.fromarray(array), Image.fromarray(array).quantize(4)):
        result = detector.detect(picture)
        assert np.array_equal(result.points, expected)
        assert np.array_equal(result.image, array)
        assert np.array_equal(detector.detect_slide(picture).points, expected)
    for use in (detector.detect, detector.detect_slide):
        with pytest.raises(InputError, match=r"^image: came as a Tensor, .*permute\(1, 2, 0\)"):
            use(torch.zeros(3, 60, 70))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"^image: came as a list, expected .* or a file$"):
            use(array.tolist())  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"shape \[3, 60, 70\], .*moveaxis\(image, 0, -1\)"):
            use(np.moveaxis(array, -1, 0))


def test_photographs_are_turned_as_they_say_in_whichever_way_they_come(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(disc((60, 70), (31, 40))).save(path, exif=exif, quality=95)
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(sigma=2.0, window=13))
    expected = detector.detect(path)
    assert expected.image.shape[:2] == (70, 60)
    with Image.open(path) as picture:
        assert np.array_equal(detector.detect(picture).points, expected.points)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:20_000])
    with Image.open(path) as picture, pytest.raises(InputError, match=r"image: .* truncated"):
        detector.detect(picture)


def test_what_is_no_detector_no_network_and_no_settings() -> None:
    net = small_unet()
    wrapped = torch.nn.Sequential()
    wrapped.module = net
    with pytest.raises(TypeError, match=r"net must be a VotingNetwork, got .*net\.module$"):
        dvfast.Detector(wrapped)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"net must be a VotingNetwork, .*net\._orig_mod$"):
        dvfast.scan(torch.compile(net), torch.rand(3, 20, 20))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"net must be a VotingNetwork, got 'ihc' .*load_weights"):
        dvfast.Detector("ihc")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="settings must be DetectionSettings or None, got"):
        dvfast.Detector(net, {"stride": 2})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="detector must be a Detector, got 'ihc'"):
        dvfast.evaluate("ihc", "tiles", radius=6)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config must be a TrainingConfig or None, got"):
        dvfast.fit("tiles", "out", {"steps": 2})  # type: ignore[arg-type]


def test_a_network_that_learns_goes_on_learning() -> None:
    net = small_unet().train()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    dvfast.Detector(net).detect(pixels)
    assert all(module.training for module in net.modules())


def test_results_say_in_a_line_what_they_are() -> None:
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(sigma=2.0, window=13))
    array = disc((60, 70), (31, 40))
    assert repr(detector.detect(array)) == "DetectionResult(1 nuclei in 60 x 70 pixels)"
    assert repr(detector.detect_slide(array)) == "SlideResult(1 nuclei in 60 x 70 pixels)"


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((0, 0, 5), r"came as \(0, 0, 5\), expected \(top, left, height, width\)"),
        ((0, 0, 5, 5, 5), r"came as .*, expected \(top, left, height, width\)"),
        (5, r"must be four integers, .* got 5 \(int\)"),
        ("abcd", r"must be four integers, .* got 'abcd'"),
        ((0, 0, 5.5, 5), r"must be four integers, .* got \(0, 0, 5\.5, 5\)"),
        ((0, 0, "5", 5), r"must be four integers, .* got \(0, 0, '5', 5\)"),
    ],
)
def test_regions_of_a_slide_are_four_whole_numbers(region: Any, message: str) -> None:
    with pytest.raises((InputError, TypeError), match=rf"^region:? {message}"):
        dvfast.Detector(Bullseye()).detect_slide(disc((60, 70), (31, 40)), region=region)


def test_what_tiles_cannot_do() -> None:
    image = disc((60, 70), (31, 40))
    with pytest.raises(TypeError, match=r"^tile_size must be an integer, got '9'"):
        dvfast.Detector(Bullseye()).detect_slide(image, tile_size="9")  # type: ignore[arg-type]
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(padding="circular"))
    assert len(detector.detect(image)) > 0
    with pytest.raises(InputError, match=r"^padding: .* use detect, or settings with 'reflect'"):
        detector.detect_slide(image)


def test_an_empty_field_has_no_nuclei() -> None:
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(threshold=0.1, relative=False))
    result = detector.detect(np.full((50, 50, 3), 255, np.uint8))
    assert result.points.shape == (0, 2)
    assert result.scores.shape == (0,)


def test_void_votes_are_counted_and_warned_about() -> None:
    net = dvfast.nn.DeepVotingNet(num_votes=1, channels=(2, 2, 2), hidden=(4,))
    with torch.no_grad():
        net.head[-1].bias.fill_(math.nan)  # type: ignore[union-attr]
    with pytest.warns(RuntimeWarning, match="2500 votes were NaN"):
        result = dvfast.Detector(net).detect(np.zeros((50, 50, 3), np.uint8))
    assert result.num_void == 2500
    assert len(result) == 0


def test_save_and_load(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = dvfast.nn.DeepVotingNet(num_votes=3, channels=(2, 3, 4), hidden=(5, 6))
    settings = dvfast.DetectionSettings(stride=2, sigma=2.5, window=15, max_offset=30.0)
    detector = dvfast.Detector(net, settings, pixel_size=0.25, image_pixel_size=0.5)
    detector.save(tmp_path / "net.safetensors")
    loaded = dvfast.Detector.load(tmp_path / "net.safetensors")
    assert loaded.settings == settings
    assert (loaded.pixel_size, loaded.image_pixel_size) == (0.25, 0.5)
    image = np.random.default_rng(0).random((30, 40, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine, theirs = detector.detect(image), loaded.detect(image)
    assert np.array_equal(mine.points, theirs.points)
    assert np.array_equal(mine.density, theirs.density)


def test_detection_is_the_same_for_any_number_of_threads() -> None:
    detector = dvfast.Detector.from_pretrained("ihc-patch")
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    votes = dvfast.scan(detector.net, image)
    threads = torch.get_num_threads()
    densities = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            densities.append(dvfast.vote_density(votes, (64, 80), sigma=3.0, window=19))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(densities[0], densities[1])
    assert torch.equal(densities[0], densities[2])


@given(
    stride=st.integers(-2, 3),
    sigma=st.sampled_from([-1.0, 0.0, 1.0, math.inf, math.nan]),
    window=st.integers(-1, 6),
    min_distance=st.integers(-1, 2),
)
def test_settings_refuse_what_no_operator_takes(
    stride: int, sigma: float, window: int, min_distance: int
) -> None:
    fine = stride >= 1 and sigma == 1.0 and window >= 1 and window % 2 == 1 and min_distance >= 1
    values = {"stride": stride, "sigma": sigma, "window": window, "min_distance": min_distance}
    if fine:
        settings = dvfast.DetectionSettings(**values)  # type: ignore[arg-type]
        assert dvfast.DetectionSettings.from_dict(settings.to_dict()) == settings
    else:
        with pytest.raises(ValueError, match=r"stride|sigma|window|min_distance"):
            dvfast.DetectionSettings(**values)  # type: ignore[arg-type]


def test_settings_of_numpy_are_numbers_that_json_knows() -> None:
    settings = dvfast.DetectionSettings(
        stride=np.int64(2), sigma=np.float32(2.5), window=np.int32(15),
        threshold=np.float64(0.25), relative=np.bool_(False), max_offset=np.float32(30),
    )  # fmt: skip
    assert json.loads(json.dumps(settings.to_dict())) == settings.to_dict()
    assert (
        settings.to_dict()
        == dvfast.DetectionSettings(2, 2.5, 15, 0.25, relative=False, max_offset=30.0).to_dict()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stride", 2.5),
        ("sigma", "1"),
        ("window", 5.0),
        ("threshold", None),
        ("relative", "no"),
        ("min_distance", math.nan),
        ("max_offset", "10"),
        ("orientations", 2.0),
        ("centroid_radius", None),
    ],
)
def test_settings_have_types(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be .*, got {value!r}"):
        dvfast.DetectionSettings(**{name: value})


def test_results_are_written_in_every_format(tmp_path: Path) -> None:
    detector = dvfast.Detector(Bullseye(), dvfast.DetectionSettings(sigma=2.0, window=13))
    result = detector.detect(disc((60, 70), (31, 40)))
    for name in ("a.csv", "a.geojson", "a.json", "a.png"):
        result.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
    with pytest.raises(InputError, match=r"a\.xlsx"):
        result.save(tmp_path / "a.xlsx")
    assert not (tmp_path / "a.xlsx").exists()


def test_a_file_is_taken_at_the_size_that_it_tells(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path = write_ome(tmp_path / "a.ome.tif", pixels, 0.25)
    detector = dvfast.Detector(small_unet(), pixel_size=0.5, image_pixel_size=0.5)
    told = detector.detect(path)
    assert told.density.shape == (20, 30)
    np.testing.assert_array_equal(told.density, detector.detect(pixels, pixel_size=0.25).density)
    assert detector.detect(path, pixel_size=0.5).density.shape == (40, 60)
    assert detector.detect(pixels).density.shape == (40, 60)
    of_another_unit = {"data": {"pixel_size_unit": "pixels of the training images"}}
    for unknown in (
        dvfast.Detector(
            small_unet(), pixel_size=1.0, image_pixel_size=1.0, description=of_another_unit
        ),
        dvfast.Detector(small_unet()),
    ):
        assert unknown.detect(path).density.shape == (40, 60)


def test_a_file_that_tells_a_size_beyond_reason_is_named(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", np.zeros((20, 30, 3), np.uint8), 250.0)
    detector = dvfast.Detector(small_unet(), pixel_size=0.5, image_pixel_size=0.5)
    message = r"a\.ome\.tif: tells the size of its pixels, pixel_size: came as 250, which scales"
    for detect in (detector.detect, detector.detect_slide):
        with pytest.raises(InputError, match=message):
            detect(path)
        with pytest.raises(InputError, match=r"^pixel_size: came as 200"):
            detect(path, pixel_size=200.0)


def test_cameras_of_fewer_bits_than_the_file_are_told() -> None:
    detector = dvfast.Detector(small_unet())
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 40), dtype=np.uint16)
    with pytest.warns(UserWarning, match="at most 4[0-9]+, as of a camera of fewer bits"):
        detector.detect(pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.detect(pixels * 16)
    with pytest.warns(UserWarning, match="of floating point that are at most 0.0[0-9]+, as of"):
        detector.detect(pixels / np.float32(65535))


def test_slides_of_cameras_of_fewer_bits_are_told(tmp_path: Path) -> None:
    detector = dvfast.Detector(small_unet())
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 40), dtype=np.uint16)
    path = tmp_path / "dark.tif"
    tifffile.imwrite(path, pixels)
    for slide, name in ((pixels, "image"), (path, "dark.tif"), (pixels / np.float32(65535), "im")):
        with pytest.warns(UserWarning, match=f"{name}.*are nearly black") as caught:
            detector.detect_slide(slide, region=(3, 0, 30, 40))
        assert [warning.filename for warning in caught] == [__file__]
    evened = dvfast.Detector(small_unet(), dvfast.DetectionSettings(normalization="percentiles"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.detect_slide(pixels * 16)
        detector.detect_slide((pixels // 100).astype(np.uint8))
        evened.detect_slide(pixels)


@pytest.mark.parametrize(
    ("highest", "dark"),
    [
        (np.uint16(16383), True),
        (np.uint16(16384), False),
        (np.float32(0.25), True),
        (np.float32(0.26), False),
        (np.float32(0), False),  # says nothing of a camera
        (np.uint8(3), False),
    ],
)
def test_a_quarter_of_the_range_is_dark(highest: Any, dark: bool) -> None:
    detector = dvfast.Detector(small_unet())
    pixels = np.zeros((20, 20), highest.dtype)
    pixels[10, 10] = highest
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        detector.detect(pixels)
    told = [warning for warning in caught if "nearly black" in str(warning.message)]
    assert len(told) == dark
    assert all(warning.filename == __file__ for warning in told)


def test_settings_that_are_not_given_are_the_papers() -> None:
    assert dvfast.DetectionSettings() == dvfast.DetectionSettings(
        stride=1, sigma=1.0, window=5, threshold=0.2, relative=True, min_distance=1,
        max_offset=None, padding="reflect", normalization="none", orientations=1,
        centroid_radius=0.0,
    )  # fmt: skip
    assert dvfast.DetectionSettings().to_dict()["sigma"] == 1.0


@pytest.mark.parametrize(
    ("name", "fine", "wrong"),
    [
        ("orientations", [1, 2, 4, 8], [0, -1, 3, 5, 6, 7, 9, 16]),
        ("centroid_radius", [0, 64.0], [-0.01, 64.01, math.inf, math.nan]),
        ("threshold", [0.0, -1.0, 1e9], [math.inf, -math.inf, math.nan]),
        ("padding", ["reflect", "constant", "replicate", "circular"], ["mirror"]),
        ("normalization", ["none", "percentiles"], ["zscore"]),
    ],
)
def test_settings_have_ranges(name: str, fine: list[Any], wrong: list[Any]) -> None:
    for value in fine:
        assert getattr(dvfast.DetectionSettings(**{name: value}), name) == value
    for value in wrong:
        with pytest.raises(ValueError, match=f"{name} must be"):
            dvfast.DetectionSettings(**{name: value})


def test_either_byte_of_a_number_may_come_first() -> None:
    detector = dvfast.Detector(small_unet(), dvfast.DetectionSettings(normalization="percentiles"))
    pixels = np.random.default_rng(0).integers(100, 400, (40, 40), dtype=np.uint16)
    expected = detector.detect(pixels).density
    assert np.array_equal(detector.detect(pixels.astype(">u2")).density, expected)
    with pytest.warns(UserWarning, match="of a camera of fewer bits"):
        dvfast.Detector(small_unet()).detect(pixels.astype(">u2"))


def test_a_description_may_hold_anything(tmp_path: Path) -> None:
    detector = dvfast.Detector(
        small_unet(),
        pixel_size=np.float32(0.5),
        image_pixel_size=1,
        description={"data": "my tiles", "training": [1]},
    )
    assert detector.knows_micrometres
    assert "0.5 µm per pixel" in repr(detector)
