"""Batches: drawn from the right places, with the right targets, by nothing but seed and step."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from pyramid import write_ome
from synthetic_tiles import tiny_config, write_tile, write_tiles

from dvfast.data.augment import Augmentation
from dvfast.data.files import Sample
from dvfast.data.images import image_to_tensor, least_contrast, normalize
from dvfast.data.json_files import read_record, write_json
from dvfast.detection import DetectionSettings
from dvfast.errors import InputError
from dvfast.scan import pad_image
from dvfast.training import TrainingSet
from dvfast.training.dataset import _at_least, _moved_inside, split

PLAIN = Augmentation(geometry=False)
MARGIN = 19


def red_at(images: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    batch = torch.arange(len(images))[:, None, None].expand_as(y)
    return images[batch, 0, y, x]


@pytest.mark.parametrize("sampling", ["crops", "patches"])
@pytest.mark.parametrize("size", [(48, 56), (9, 30), (3, 2)])
def test_targets_point_at_the_nuclei_in_the_image(
    tmp_path: Path, sampling: str, size: tuple[int, int]
) -> None:
    """The nuclei are single dark pixels: every confident vote has to land on one.

    Also where the image is smaller than the crop and is continued by its mirror images.
    """
    folder = write_tiles(tmp_path / "tiles", size=size, nuclei=2, sigma=0)
    config = tiny_config(sampling=sampling, augmentation=Augmentation(), batch_size=16, r2=15.0)
    data = TrainingSet(folder, config)
    confident = 0
    for step in range(4):
        images, targets = data.batch(step)
        side, stride = config.grid
        grid = MARGIN + stride * torch.arange(side)
        for vote in range(config.num_votes):
            alpha, dy, dx = targets[:, 3 * vote : 3 * vote + 3].unbind(1)
            y, x = (grid[:, None] - dy).round().long(), (grid[None, :] - dx).round().long()
            confident += int((alpha > 0).sum())
            inside = (y.clamp(0, images.shape[2] - 1), x.clamp(0, images.shape[3] - 1))
            landed = red_at(images, *inside)
            assert (landed[alpha > 0] < 0.5).all()
    assert confident > 10


def test_shapes_and_range(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    images, targets = TrainingSet(folder, tiny_config()).batch(0)
    assert images.shape == (4, 3, 3 * 3 + 39, 3 * 3 + 39)
    assert images.dtype == torch.float32
    assert targets.shape == (4, 6, 4, 4)
    assert targets.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    images, targets = TrainingSet(folder, tiny_config(sampling="patches", in_channels=1)).batch(0)
    assert images.shape == (4, 1, 39, 39)
    assert targets.shape == (4, 6, 1, 1)


def test_a_batch_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    data = TrainingSet(folder, tiny_config())
    batches = [data.batch(step) for step in range(3)]
    torch.manual_seed(1234)
    again = TrainingSet(folder, tiny_config())
    for step in (2, 0, 1):
        for expected, got in zip(batches[step], again.batch(step), strict=True):
            assert torch.equal(expected, got)
    assert not torch.equal(batches[0][0], batches[1][0])
    other = TrainingSet(folder, tiny_config(seed=1, validation_fraction=0.0)).batch(0)
    assert not torch.equal(batches[0][0], other[0])


def test_processes_share_the_batch_of_one(tmp_path: Path) -> None:
    data = TrainingSet(write_tiles(tmp_path / "tiles"), tiny_config())
    whole = data.batch(5)
    parts = [data.batch(5, rank, 2) for rank in (0, 1)]
    for i in (0, 1):
        assert torch.equal(whole[i], torch.cat([part[i] for part in parts]))


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_images_that_tell_another_size_of_pixels_are_refused(
    tmp_path: Path, fraction: float
) -> None:
    """Whether they are trained on or validated on."""
    for name in "ab":
        write_ome(tmp_path / f"{name}.tif", np.zeros((30, 40, 3), np.uint8), 0.252)
        (tmp_path / f"{name}.csv").write_text("y,x\n5,5\n")
    for fine in (None, 0.25, 0.255):
        config = tiny_config(image_pixel_size=fine, validation_fraction=fraction)
        TrainingSet(tmp_path, config).load_validation()
    config = tiny_config(image_pixel_size=0.5, validation_fraction=fraction)
    message = r"[ab]\.tif: says that its pixels are 0\.252 µm, but image_pixel_size is 0\.5, .*-s "
    with pytest.raises(InputError, match=message + r"image_pixel_size=0\.252"):
        TrainingSet(tmp_path, config).load_validation()
    images = tmp_path / "images"
    write_tile(images, "c", np.array([[5, 5]]), (30, 40))
    data = TrainingSet(images, config.from_dict({**config.to_dict(), "validation_fraction": 0.0}))
    data.validation = TrainingSet(tmp_path, tiny_config(validation_fraction=0.5)).validation
    with pytest.raises(InputError, match=message):
        data.load_validation()


def test_samples_of_a_batch_differ(tmp_path: Path) -> None:
    images, _ = TrainingSet(write_tiles(tmp_path / "tiles"), tiny_config(batch_size=8)).batch(0)
    assert len({image.numpy().tobytes() for image in images}) == 8


def test_crops_are_padded_as_in_detection(tmp_path: Path) -> None:
    """A crop as large as the image is the image, padded by reflection."""
    folder = tmp_path / "tiles"
    write_tile(folder, "a", np.array([[3, 4]]), (25, 25))
    config = tiny_config(
        augmentation=PLAIN, crop_size=25, crop_stride=1, validation_fraction=0.0, batch_size=1
    )
    (image,), _ = TrainingSet(folder, config).batch(0)
    middle = image[:, MARGIN:-MARGIN, MARGIN:-MARGIN].numpy()
    expected = np.pad(middle, ((0, 0), (MARGIN,) * 2, (MARGIN,) * 2), mode="reflect")
    assert np.array_equal(image.numpy(), expected)


def test_every_pixel_is_drawn(tmp_path: Path) -> None:
    """The one dark pixel of the image tells where a crop lies: at every place, borders included."""
    folder = tmp_path / "tiles"
    write_tile(folder, "a", np.array([[10, 10]]), (20, 20), sigma=0)
    config = tiny_config(
        augmentation=PLAIN, validation_fraction=0.0, batch_size=200, r1=50.0, r2=60.0, num_votes=1
    )
    seen = torch.zeros(20, 20, dtype=torch.int64)
    for step in range(4):
        _, targets = TrainingSet(folder, config).batch(step)
        y, x = (targets[:, 1 + axis].flatten().round().long() + 10 for axis in (0, 1))
        seen.index_put_((y, x), torch.ones_like(y), accumulate=True)
    assert (seen > 0).all()
    # 800 crops of 16 votes on 400 pixels: 32 a pixel. Borders and corners get a fair share too.
    assert seen[0].float().mean() > 10
    assert seen[:2, :2].float().mean() > 4


def test_pixels_of_all_images_are_drawn_alike(tmp_path: Path) -> None:
    """Every pixel tells its image, row and column: so does a crop, and where it was taken."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    sizes = {"a": (30, 24), "b": (24, 50), "c": (50, 40)}
    for which, (name, size) in enumerate(sizes.items()):
        y, x = np.mgrid[: size[0], : size[1]]
        pixels = np.stack([y, x, np.full(size, which)], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.csv").write_text("y,x\n")
    config = tiny_config(augmentation=PLAIN, validation_fraction=0.0, batch_size=500)
    data = TrainingSet(folder, config)
    side = 10  # four votes, three pixels apart
    seen = {name: np.zeros((h - side + 1, w - side + 1)) for name, (h, w) in sizes.items()}
    for step in range(4):
        images, _ = data.batch(step)
        inner = (images[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN] * 255).round().long().numpy()
        assert (inner[:, 0] == inner[:, 0, :1, :1] + np.arange(side)[:, None]).all()
        assert (inner[:, 1] == inner[:, 1, :1, :1] + np.arange(side)).all()
        for top, left, which in inner[:, :, 0, 0]:
            seen["abc"[which]][top, left] += 1
    pixels_of_all = sum(h * w for h, w in sizes.values())
    for name, (height, width) in sizes.items():
        drawn = seen[name]
        expected = 2000 * height * width / pixels_of_all
        assert abs(drawn.sum() - expected) < 5 * np.sqrt(expected)
        # Where no border is near, a corner of a crop is as likely as any other.
        inside = 2000 * drawn[3:-3, 3:-3].size / pixels_of_all
        assert abs(drawn[3:-3, 3:-3].sum() - inside) < 5 * np.sqrt(inside)
        # As many centres lie above the first crop that fits as below the last one.
        for first, last in ((drawn[:3], drawn[-3:]), (drawn[:, :3], drawn[:, -3:])):
            assert abs(first.sum() - last.sum()) < 5 * np.sqrt(first.sum() + last.sum())


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("last", [0, 1, 2, 7, 20])
def test_crops_are_moved_inside_by_whole_strides(stride: int, last: int) -> None:
    for start in range(-12, 33):
        moved = _moved_inside(start, last, stride)
        inside = [place for place in range(last + 1) if (place - start) % stride == 0]
        nearest = min(inside, key=lambda place: abs(place - start), default=None)
        assert 0 <= moved <= last
        assert nearest in (None, moved)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (3, 30), (29, 8), (20, 20), (21, 19)])
def test_nuclei_in_the_mirror_images_of_small_images(size: tuple[int, int]) -> None:
    """Nuclei are single bright pixels: as many as there are, each with a click."""
    rng = np.random.default_rng(sum(size))
    span = 20
    image = (rng.random((1, *size)) < 0.3).astype(np.float32)
    points = np.argwhere(image[0]).astype(np.float64)
    larger, clicks = _at_least(span, image, points)
    folds = [np.pad(np.arange(n), (0, max(0, span - n)), mode="reflect") for n in size]
    assert np.array_equal(larger, image[:, folds[0]][:, :, folds[1]])
    assert sorted(clicks.tolist()) == np.argwhere(larger[0]).tolist()


def test_networks_learn_from_images_normalized_as_in_detection(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    dim = np.random.default_rng(0).integers(300, 900, (40, 40), np.uint16)
    tifffile.imwrite(folder / "a.tif", dim)
    (folder / "a.csv").write_text("y,x\n")
    config = tiny_config(
        augmentation=PLAIN,
        validation_fraction=0.0,
        in_channels=1,
        crop_size=40,
        crop_stride=1,
        batch_size=1,
        detection=DetectionSettings(normalization="percentiles", padding="constant"),
    )
    (image,), _ = TrainingSet(folder, config).batch(0)
    expected = normalize(image_to_tensor(dim, 1), "percentiles", least_contrast(dim.dtype))
    padded = pad_image(expected[None], MARGIN, "constant")[0]
    assert torch.equal(image, padded.half().float())
    assert image.max() == 1  # 900 of 65,535


@pytest.mark.parametrize(("image_pixel_size", "scale"), [(0.5, 2.0), (0.125, 0.5)])
def test_images_and_points_come_at_the_scale_of_the_network(
    tmp_path: Path, image_pixel_size: float, scale: float
) -> None:
    folder = tmp_path / "tiles"
    write_tile(folder, "a", np.array([[58, 60]]), (120, 124), sigma=4)
    config = tiny_config(
        augmentation=PLAIN,
        validation_fraction=0.0,
        sampling="patches",
        batch_size=512,
        r1=18.0,
        r2=18.0,
        image_pixel_size=image_pixel_size,
        pixel_size=0.25,
    )
    assert config.scale == scale
    images, targets = TrainingSet(folder, config).batch(0)
    near = targets[:, 0, 0, 0] == 1
    assert near.any()
    for image, target in zip(images[near], targets[near], strict=True):
        y, x = (MARGIN - target[1:3, 0, 0]).tolist()
        darkest = divmod(int(image[0].argmin()), 39)
        # The nucleus reaches 4 * scale pixels far, its darkest pixel is within the noise of it.
        assert np.hypot(y - darkest[0], x - darkest[1]) < 2 * scale + 1


@pytest.mark.parametrize("nuclei", [0, 1])
def test_fewer_nuclei_than_votes(tmp_path: Path, nuclei: int) -> None:
    data = TrainingSet(write_tiles(tmp_path / "tiles", nuclei=nuclei), tiny_config(num_votes=3))
    _, targets = data.batch(0)
    assert targets.isfinite().all()
    assert (targets[:, 3 * nuclei :] == 0).all()
    assert data.nuclei == nuclei * len(data.training)


def samples(count: int) -> list[Sample]:
    return [Sample(Path(f"{i}.png"), Path(f"{i}.csv")) for i in range(count)]


def test_the_split_is_a_partition_that_the_seed_alone_decides() -> None:
    everything = samples(40)
    training, validation = split(everything, 0.25, seed=0)
    assert len(validation) == 10
    assert sorted(training + validation, key=str) == sorted(everything, key=str)
    backwards = split(everything[::-1], 0.25, seed=0)
    assert {s.stem for s in backwards[1]} == {s.stem for s in validation}
    assert split(everything, 0.25, seed=1)[1] != validation
    # A new image moves few of the others to the other side.
    more = split(samples(41), 0.25, seed=0)[1]
    assert len({s.stem for s in more} & {s.stem for s in validation}) >= 9


def test_split_at_the_edges() -> None:
    assert split(samples(3), 0.0, seed=0)[1] == []
    assert len(split(samples(3), 0.01, seed=0)[1]) == 1
    with pytest.raises(InputError, match="validation_fraction"):
        split(samples(1), 0.2, seed=0)


def test_no_training_sample_comes_from_a_validation_image(tmp_path: Path) -> None:
    """Every tile has its own grey: none but those of the training part may occur."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    for i in range(8):
        Image.new("L", (20, 20), 20 * i + 10).save(folder / f"{i}.png")
        (folder / f"{i}.csv").write_text("y,x\n")
    data = TrainingSet(folder, tiny_config(augmentation=PLAIN, batch_size=64))
    greys = (data.batch(0)[0] * 255).round().unique().tolist()
    assert greys == [20 * int(sample.stem) + 10 for sample in data.training]
    assert len(data.load_validation()) == len(data.validation) == 2


def test_the_fingerprint_sees_names_and_contents(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    before = TrainingSet(folder, tiny_config()).fingerprint
    assert TrainingSet(folder, tiny_config(seed=5)).fingerprint == before
    with open(folder / "tile_0.csv", "a") as file:
        file.write("1,1\n")
    changed = TrainingSet(folder, tiny_config()).fingerprint
    write_tile(folder, "tile_9", np.array([[1, 1]]), (48, 56))
    fingerprints = {before, changed, TrainingSet(folder, tiny_config()).fingerprint}
    for shade in (10, 11):  # of the same size in bytes
        tifffile.imwrite(folder / "tile_8.tif", np.full((48, 56), shade, np.uint8))
        (folder / "tile_8.csv").write_text("y,x\n")
        fingerprints.add(TrainingSet(folder, tiny_config()).fingerprint)
    assert len(fingerprints) == 5


def test_the_split_may_have_a_seed_of_its_own(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", count=9)
    first = TrainingSet(folder, tiny_config())
    other = TrainingSet(folder, tiny_config(seed=5), split_seed=0)
    assert (other.training, other.validation) == (first.training, first.validation)
    assert not torch.equal(other.batch(0)[0], first.batch(0)[0])
    assert TrainingSet(folder, tiny_config(seed=5)).validation != first.validation
    assert other.fingerprint != first.fingerprint  # no checkpoint of another split is gone on with
    assert TrainingSet(folder, tiny_config(), split_seed=0).fingerprint == first.fingerprint


def test_bad_files_are_named(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    (folder / "tile_1.csv").write_text("y,x\n500,1\n")
    with pytest.raises(InputError, match=r"tile_1\.csv"):
        TrainingSet(folder, tiny_config(validation_fraction=0.0))
    (folder / "tile_1.csv").unlink()
    with pytest.raises(InputError, match=r"tile_1\.png"):
        TrainingSet(folder, tiny_config())


def test_validation_images_that_detection_would_refuse_are_named(tmp_path: Path) -> None:
    data = TrainingSet(write_tiles(tmp_path / "tiles"), tiny_config())
    (image := data.validation[0].image).unlink()
    tifffile.imwrite(image, np.full((48, 56), 300, np.float32))
    with pytest.raises(InputError, match=rf"{image.name}: floating values span \[300, 300\]"):
        data.load_validation()


def test_zoomed_nuclei_are_where_their_votes_point(tmp_path: Path) -> None:
    """Every nucleus is a dark spot; enlarged or shrunk, its clicks stay in its middle."""
    folder = write_tiles(tmp_path / "tiles", size=(90, 80), nuclei=3)
    zoomed = Augmentation(geometry=False, zoom=0.5)
    config = tiny_config(augmentation=zoomed, batch_size=8, num_votes=1, crop_size=9)
    plain = tiny_config(augmentation=PLAIN, batch_size=8, num_votes=1, crop_size=9)
    data = TrainingSet(folder, config)
    landed, different = [], 0
    for step in range(6):
        images, targets = data.batch(step)
        assert images.shape == (8, 3, 63, 63)
        different += int(not torch.equal(images, TrainingSet(folder, plain).batch(step)[0]))
        alpha, dy, dx = targets.unbind(1)
        grid = MARGIN + 3 * torch.arange(9)
        y = (grid[:, None] - dy).round().long().clamp(0, 62)
        x = (grid[None, :] - dx).round().long().clamp(0, 62)
        landed.append(red_at(images, y, x)[alpha == 1])
    assert different == 6
    values = torch.cat(landed)
    assert len(values) > 50
    assert values.quantile(0.9) < 0.35  # the ground is at 0.86


def test_a_crop_is_never_larger_than_its_image(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", size=(20, 24))
    config = tiny_config(augmentation=Augmentation(zoom=2.0), batch_size=16)
    images, _ = TrainingSet(folder, config).batch(0)
    assert images.shape == (16, 3, 48, 48)


def test_names_of_files_are_any_bytes(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles")
    for suffix in (".png", ".csv"):
        (folder / f"tile_0{suffix}").rename(folder / os.fsdecode(b"kern\xfc" + suffix.encode()))
    fingerprint = TrainingSet(folder, tiny_config()).fingerprint
    write_json(tmp_path / "record.json", {"format": 1, "stem": os.fsdecode(b"kern\xfc")})
    record = read_record(tmp_path / "record.json", 1, "names", "a test")
    assert os.fsencode(record["stem"]) == b"kern\xfc"
    assert len(fingerprint) == 64
