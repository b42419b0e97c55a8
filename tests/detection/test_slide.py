"""Whole slides: tile by tile what the whole would give, in memory that does not grow."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyramid import write_svs
from scipy.spatial import KDTree
from support import one_thread, small_unet
from torch import Tensor

import dvfast
from dvfast import DetectionResult, DetectionSettings, Detector, SlideResult
from dvfast.data import read_points, slides
from dvfast.data.slides import ArraySlide
from dvfast.detection import tiling
from dvfast.detection.tiling import LONGEST_VOTE, Tiling, View
from dvfast.errors import InputError
from dvfast.nn import DeepVotingNet, VotingNetwork

# Threads are not what is asked here, and small tensors gain nothing from them.
__all__ = ["one_thread"]


class ShiftedVotes(VotingNetwork):
    """Every dark pixel votes for one that lies so far from it."""

    num_votes, in_channels, margin = 1, 3, 0

    def __init__(self, offset: tuple[float, float]) -> None:
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(offset), requires_grad=False)

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        dark = 20 - 40 * image[:, :1, ::stride, ::stride].round()
        offset = self.offset[None, :, None, None].expand(len(image), 2, *dark.shape[2:])
        return torch.cat([dark, offset], 1)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Spots of all sizes, so that networks at random find something."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3)).repeat(6, 0).repeat(6, 1)
    fine = rng.integers(0, 256, (height, width, 3))
    return ((2 * coarse[:height, :width] + fine) // 3).astype(np.uint8)


def patch_net() -> DeepVotingNet:
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=(8,))
    with torch.no_grad():
        list(net.parameters())[-2].mul_(30)
    return net


def settings(**changes: Any) -> DetectionSettings:
    return DetectionSettings(
        **{"stride": 2, "sigma": 1.7, "window": 11, "threshold": 0.3, "min_distance": 2, **changes}
    )


def assert_same(actual: SlideResult, expected: DetectionResult) -> None:
    assert len(expected) > 20
    np.testing.assert_array_equal(actual.points, expected.points)
    np.testing.assert_array_equal(actual.scores, expected.scores)


@pytest.mark.parametrize(("orientations", "tile_size"), [(1, 97), (1, 1000), (8, 170)])
@pytest.mark.parametrize(
    ("network", "stride"), [("patches", 1), ("patches", 3), ("unet", 1), ("unet", 4)]
)
def test_tiles_give_the_bits_of_the_whole(
    network: str, stride: int, orientations: int, tile_size: int
) -> None:
    net = patch_net() if network == "patches" else small_unet()
    detector = Detector(net, settings(stride=stride, orientations=orientations))
    image = noise(251, 338)
    whole = detector.detect(image, precision="exact")
    tiles = detector.detect_slide(image, precision="exact", tile_size=tile_size)
    assert_same(tiles, whole)
    assert tiles.share_looked_at == 1


@pytest.mark.parametrize("radius", [3.0, 20.0])
def test_centroids_have_the_bits_of_the_whole(radius: float) -> None:
    detector = Detector(small_unet(), settings(centroid_radius=radius))
    image = noise(251, 338)
    whole = detector.detect(image, precision="exact")
    assert_same(detector.detect_slide(image, precision="exact", tile_size=97), whole)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_winograds_bits_are_those_of_the_whole_for_patches(stride: int) -> None:
    # Its blocks lie on one grid over the image, and so do the tiles.
    detector = Detector(patch_net(), settings(stride=stride))
    image = noise(250, 331)
    assert_same(detector.detect_slide(image, tile_size=120), detector.detect(image))


@pytest.mark.parametrize("relative", [False, True])
def test_thresholds(relative: bool) -> None:
    # Relative to the highest peak of the slide, and not of a tile.
    detector = Detector(small_unet(), settings(relative=relative))
    image = noise(280, 310)
    scores = detector.detect(image, precision="exact", threshold=0.0).scores
    threshold = float(np.median(scores)) / (scores.max() if relative else 1)
    whole = detector.detect(image, precision="exact", threshold=threshold)
    tiles = detector.detect_slide(image, precision="exact", threshold=threshold, tile_size=90)
    assert_same(tiles, whole)
    assert len(whole) < len(scores)


@pytest.mark.parametrize("scale", [0.5, 0.25, 2.0])
def test_scales_by_powers_of_two_give_the_same_bits(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "_BAND_ROWS", 50)
    detector = Detector(small_unet(), settings(), pixel_size=1.0, image_pixel_size=scale)
    image = noise(int(240 / scale), int(304 / scale))
    whole = detector.detect(image, precision="exact")
    assert_same(detector.detect_slide(image, precision="exact", tile_size=75), whole)


@pytest.mark.parametrize("scale", [0.62, 0.75, 1.5])
def test_other_scales_but_for_rounding(scale: float) -> None:
    detector = Detector(small_unet(), settings(), pixel_size=1.0, image_pixel_size=scale)
    image = noise(200, 300)
    whole = detector.detect(image, precision="exact")
    tiles = detector.detect_slide(image, precision="exact", tile_size=111)
    # A pixel's last bits may round a vote elsewhere, and one peak in a hundred with it.
    distances = KDTree(whole.points).query(tiles.points)[0]
    assert (distances < 1e-9).mean() > 0.99
    assert len(tiles) == pytest.approx(len(whole), rel=0.01)


def test_exposures_are_those_of_the_whole() -> None:
    detector = Detector(small_unet(), settings(normalization="percentiles"))
    image = noise(301, 280) // 3
    image[200:] //= 2
    whole = detector.detect(image, precision="exact")
    tiles = detector.detect_slide(image, precision="exact", tile_size=99)
    np.testing.assert_array_equal(tiles.points, whole.points)
    np.testing.assert_allclose(tiles.scores, whole.scores, rtol=1e-4)


def test_slides_in_the_colour_of_a_dye() -> None:
    """Tiles with nothing in the other channels would say so too where the slide has something."""
    detector = Detector(small_unet(), settings(normalization="percentiles"))
    image = noise(301, 280) // 3
    image[..., :2] = 0
    for red in (0, 200):
        image[250:, 250:, 0] = red
        whole = detector.detect(image, precision="exact")
        tiles = detector.detect_slide(image, precision="exact", tile_size=99)
        np.testing.assert_array_equal(tiles.points, whole.points)


def test_grey_images_of_16_bits() -> None:
    detector = Detector(small_unet(in_channels=1), settings(normalization="percentiles"))
    image = noise(230, 240)[..., 0].astype(np.uint16) * 100
    whole = detector.detect(image, precision="exact")
    tiles = detector.detect_slide(image, precision="exact", tile_size=99)
    np.testing.assert_array_equal(tiles.points, whole.points)


@pytest.mark.parametrize("offset", [(60.0, 0.0), (0.0, -63.0), (-45.0, 45.0)])
def test_votes_reach_into_other_tiles(offset: tuple[float, float]) -> None:
    detector = Detector(ShiftedVotes(offset), settings(stride=1))
    image = np.full((300, 300, 3), 255, np.uint8)
    image[100:200:20, 100:200:20] = 0
    whole = detector.detect(image)
    assert_same(detector.detect_slide(image, tile_size=50), whole)
    np.testing.assert_array_equal(
        np.unique(whole.points[:, 0]), np.arange(100, 200, 20) - offset[0]
    )


@pytest.mark.parametrize("max_offset", [0.0, 5.0])
def test_votes_may_be_limited_further(max_offset: float) -> None:
    detector = Detector(ShiftedVotes((3.0, 0.0)), settings(stride=1, max_offset=max_offset))
    image = np.full((100, 100, 3), 255, np.uint8)
    image[50, 50] = 0
    whole = detector.detect(image)
    assert len(whole) == (max_offset > 3)
    np.testing.assert_array_equal(detector.detect_slide(image).points, whole.points)


def test_longer_votes_do_not_count() -> None:
    detector = Detector(ShiftedVotes((LONGEST_VOTE + 1.0, 0.0)), settings(stride=1))
    image = np.full((300, 300, 3), 255, np.uint8)
    image[150, 150] = 0
    assert len(detector.detect(image)) == 1
    assert len(detector.detect_slide(image)) == 0


@pytest.mark.parametrize(
    "region", [(40, 60, 100, 170), (10, 40, 30, 200), (0, 0, 1, 301), (299, 300, 1, 1)]
)
@pytest.mark.parametrize(("scale", "radius"), [(1.0, 0.0), (2.0, 0.0), (1.0, 20.0), (2.0, 5.0)])
def test_regions_have_the_nuclei_of_the_whole(
    region: tuple[int, int, int, int], scale: float, radius: float
) -> None:
    read = settings(centroid_radius=radius)
    detector = Detector(small_unet(), read, pixel_size=1.0, image_pixel_size=scale)
    image = noise(300, 301)
    whole = detector.detect_slide(image, precision="exact")
    part = detector.detect_slide(image, precision="exact", region=region, tile_size=64)
    first, beyond = np.array(region[:2]) - 0.5, np.array(region[:2]) + region[2:] - 0.5
    inside = ((whole.points >= first) & (whole.points < beyond)).all(axis=1)
    np.testing.assert_array_equal(part.points, whole.points[inside])
    assert part.picture.shape[:2] == region[2:]


@pytest.mark.parametrize(
    "region", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 41, 5), (39, 0, 2, 5), (0, 48, 5, 3)]
)
def test_regions_that_are_none(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="region"):
        Detector(small_unet()).detect_slide(noise(40, 50), region=region)


def test_other_arguments_that_are_refused() -> None:
    detector = Detector(small_unet(output_stride=2), settings())
    with pytest.raises(ValueError, match="tile_size"):
        detector.detect_slide(noise(40, 50), tile_size=0)
    with pytest.raises(ValueError, match="stride"):
        detector.detect_slide(noise(40, 50), stride=3)
    with pytest.raises(InputError, match="pixel_size"):
        detector.detect_slide(noise(40, 50), pixel_size=0.5)
    knowing = Detector(small_unet(), settings(), pixel_size=0.5, image_pixel_size=1.0)
    with pytest.raises(InputError, match="pixel_size"):
        knowing.detect_slide(noise(40, 50), pixel_size=0)


def test_blank_parts_take_no_time() -> None:
    net = small_unet()
    detector = Detector(net, settings())
    image = np.full((900, 1000, 3), 240, np.uint8)
    image += np.random.default_rng(0).integers(0, 8, (900, 1000, 1), dtype=np.uint8)
    nothing = detector.detect_slide(image, tile_size=200)
    assert (len(nothing), nothing.share_looked_at) == (0, 0)
    image[420:480, 500:540] = noise(60, 40)
    shares: list[float] = []
    found = detector.detect_slide(image, tile_size=200, precision="exact", progress=shares.append)
    assert 0 < found.share_looked_at < 0.2
    assert shares == sorted(shares)
    assert shares[-1] == 1
    # What is looked at is found as in the whole.
    whole = detector.detect(image, precision="exact")
    kept = ((whole.points > [420, 500]) & (whole.points < [480, 540])).all(axis=1)
    nuclei = {tuple(point) for point in found.points.tolist()}
    assert {tuple(point) for point in whole.points[kept].tolist()} <= nuclei


class Recorded(ArraySlide):
    """Remembers how much was read at a time."""

    most = 0

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> NDArray[Any]:
        self.most = max(self.most, height * width)
        assert 0 <= top < top + height <= self.size[0]
        assert 0 <= left < left + width <= self.size[1]
        return super().read(top, left, height, width, level)


def test_no_more_is_read_at_a_time_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "_BAND_PIXELS", 100_000)  # of the picture
    detector = Detector(small_unet(), settings(), pixel_size=1.0, image_pixel_size=0.25)
    slide = Recorded(noise(1600, 1900))
    detector.detect_slide(slide, tile_size=64)
    margin = LONGEST_VOTE + 60
    assert slide.most < (64 + 2 * margin) ** 2 * 16


class Slow(ArraySlide):
    """Takes its time, and tells whether it was closed meanwhile."""

    reads = 0
    closed = closed_while_read = False

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> NDArray[Any]:
        self.reads += 1
        time.sleep(0.2)
        self.closed_while_read |= self.closed
        return super().read(top, left, height, width, level)

    def close(self) -> None:
        self.closed = True


def test_nothing_is_read_any_more_when_a_tile_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ShiftedVotes((0.0, 0.0))
    monkeypatch.setattr(net, "dense", lambda *_: 1 / 0)
    slide = Slow(noise(400, 400))
    with pytest.raises(ZeroDivisionError) as caught, slide:
        Detector(net, settings()).detect_slide(slide, tile_size=100)
    time.sleep(0.3)
    # The picture, the tile, and the one after it.
    assert (slide.reads, slide.closed_while_read) == (3, False), caught


def test_the_slide_tells_the_size_of_its_pixels(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")
    image = noise(400, 500)
    svs = write_svs(tmp_path / "a.svs", image, pixel_size=0.5)
    detector = Detector(small_unet(), settings(), pixel_size=0.5, image_pixel_size=1.0)
    found = detector.detect_slide(svs, precision="exact")
    assert (found.size, found.pixel_size) == ((400, 500), 0.5)
    assert_same(found, detector.detect(image, precision="exact", pixel_size=0.5))
    # A coarser network reads a coarser level; what is given counts for more.
    half = detector.detect_slide(svs, pixel_size=0.25)
    assert half.pixel_size == 0.25
    assert len(half) < len(found)
    with dvfast.data.open_slide(svs) as slide:
        assert View.at(slide, 0.5).level == 1
        assert View.at(slide, 0.5).ratio == 1
        assert View.at(slide, 0.3).level == 1
        assert View.at(slide, 0.1).level == 2
        assert View.at(slide, 2.0).level == 0


def test_a_size_in_pixels_of_the_training_images_is_none_of_the_slide(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")
    svs = write_svs(tmp_path / "a.svs", noise(200, 300), pixel_size=0.5)
    description = {"data": {"pixel_size_unit": "pixels of the training images"}}
    detector = Detector(
        small_unet(), settings(), pixel_size=1.0, image_pixel_size=1.0, description=description
    )
    assert detector.detect_slide(svs, pixel_size=2).pixel_size == 0.5


def test_networks_that_do_not_know_micrometres_take_the_slide_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")
    image = noise(200, 250)
    svs = write_svs(tmp_path / "a.svs", image, pixel_size=0.25)
    units = {"data": {"pixel_size_unit": "a pixel of the training images"}}
    detector = Detector(
        small_unet(), settings(), pixel_size=1.0, image_pixel_size=1.0, description=units
    )
    assert not detector.knows_micrometres
    assert_same(
        detector.detect_slide(svs, precision="exact"), detector.detect(image, precision="exact")
    )
    assert Detector.from_pretrained("ihc").knows_micrometres
    assert not Detector.from_pretrained("fluorescence").knows_micrometres


def test_void_votes_are_counted_and_warned_about() -> None:
    net = patch_net()
    with torch.no_grad():
        list(net.parameters())[-1].fill_(math.nan)
    with pytest.warns(RuntimeWarning, match="NaN"):
        result = Detector(net, settings()).detect_slide(noise(50, 60))
    assert result.num_void > 0
    assert len(result) == 0


@pytest.mark.parametrize("crowded", [False, True])
def test_files_and_pictures(tmp_path: Path, crowded: bool) -> None:
    points = np.array([[110.0, 230.0], [150.5, 260.25]]).repeat(3000 if crowded else 1, axis=0)
    picture = np.full((100, 150, 3), 200, np.uint8)
    result = SlideResult(
        points=points,
        scores=np.ones(len(points)),
        size=(1000, 2000),
        pixel_size=0.5,
        region=(100, 200, 200, 300),
        share_looked_at=1.0,
        picture=picture,
    )
    for suffix in ("csv", "geojson"):
        result.save(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(read_points(tmp_path / f"a.{suffix}"), points)
    drawn = result.plot()
    factor = len(drawn) // 100
    assert drawn.shape == (100 * factor, 150 * factor, 3)
    # (110, 230) is (5, 15) of the picture; far from both there is only the picture.
    assert (drawn[int(5.25 * factor), int(15.25 * factor)] != 200).any()
    assert (drawn[80 * factor, 100 * factor] == 200).all()
    assert (factor == 1) == crowded
    with pytest.raises(InputError, match="extension"):
        result.save(tmp_path / "a.jpg")


def test_scales_are_near_what_is_asked_for() -> None:
    slide = ArraySlide(np.zeros((2, 2), np.uint8))
    for scale in np.geomspace(0.01, 100, 2000).tolist():
        assert View.at(slide, scale).ratio == pytest.approx(scale, rel=0.016)


@pytest.mark.parametrize("seed", range(20))
def test_tiles_cover_everything_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, tile_size = (int(n) for n in rng.integers(1, [1500, 1500, 500]))
    scale = float(rng.choice([1, 0.5, 0.31, 1 / 3, 2, 2.37, 0.01]))
    net = small_unet() if seed % 2 else patch_net()
    slide = ArraySlide(np.broadcast_to(np.uint8(0), (height, width)))
    view = View.at(slide, scale)
    assert view.ratio == pytest.approx(scale, rel=1e-3)
    assert isinstance(view.ratio, Fraction)
    plan = Tiling(net, view, settings(stride=4), (0, 0, *view.slide.size), tile_size, "float32")
    covered = np.zeros(view.size, int)
    for tile in plan.tiles:
        (top, left), (bottom, right) = zip(*((s.start, s.stop) for s in tile.wanted), strict=True)
        covered[top:bottom, left:right] += 1
        for wanted, crop, size in zip(tile.wanted, tile.crop, view.size, strict=True):
            assert len(wanted) <= tile_size
            assert crop.start % 4 == 0
            assert crop.start % view.ratio.numerator == 0
            assert crop.start == 0 or wanted.start - crop.start >= net.reach + LONGEST_VOTE
            assert crop.stop == size or crop.stop - wanted.stop >= net.reach + LONGEST_VOTE
    assert (covered == 1).all()


@pytest.mark.cuda
def test_tiles_on_a_gpu_give_what_the_whole_gives_there() -> None:
    detector = Detector(patch_net(), settings(stride=1)).to("cuda")
    image = noise(250, 331)
    whole = detector.detect(image, precision="exact")
    assert_same(detector.detect_slide(image, precision="exact", tile_size=120), whole)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 256, 3), (2, 3, 3)])
def test_slides_thinner_than_a_pixel_of_the_network(shape: tuple[int, int, int]) -> None:
    detector = Detector(small_unet(), settings(), pixel_size=1.0, image_pixel_size=0.1)
    found = detector.detect_slide(np.full(shape, 99, np.uint8))
    assert found.size == shape[:2]
