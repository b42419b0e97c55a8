"""A run over a slide that was stopped goes on where it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import one_thread, small_unet

from dvfast import DetectionSettings, Detector, SlideResult
from dvfast.detection.checkpoint import digest_of_network, digest_of_picture
from dvfast.errors import InputError

__all__ = ["one_thread"]

TILE_SIZE = 150
TILES = 6


def image() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 450, 3), dtype=np.uint8)
    noise[:299, :299] = 240  # the first tile is blank
    return noise


def make_detector() -> Detector:
    settings = DetectionSettings(stride=2, sigma=1.7, window=11, threshold=0.3, min_distance=2)
    return Detector(small_unet(), settings)


@pytest.fixture
def detector() -> Detector:
    return make_detector()


@pytest.fixture(scope="module")
def whole() -> SlideResult:
    return detect(make_detector())


def detect(detector: Detector, checkpoint: Path | None = None, **how: Any) -> SlideResult:
    how = {"tile_size": TILE_SIZE, "precision": "exact", **how}
    return detector.detect_slide(how.pop("slide", image()), checkpoint=checkpoint, **how)


def stop_after(share: float) -> Any:
    def progress(done: float) -> None:
        if done >= share:
            raise KeyboardInterrupt

    return progress


def assert_same(actual: SlideResult, expected: SlideResult) -> None:
    assert len(expected) > 20
    np.testing.assert_array_equal(actual.points, expected.points)
    np.testing.assert_array_equal(actual.scores, expected.scores)
    assert actual.share_looked_at == expected.share_looked_at < 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.5, 0.99, 1.0])
def test_a_stopped_run_goes_on(
    detector: Detector, whole: SlideResult, tmp_path: Path, share: float
) -> None:
    file = tmp_path / "slide.unfinished"
    with pytest.raises(KeyboardInterrupt):
        detect(detector, file, progress=stop_after(share))
    done = len(file.read_text().splitlines()) - 1
    assert abs(done - share * TILES) <= 1
    shares: list[float] = []
    assert_same(detect(detector, file, progress=shares.append), whole)
    assert shares == sorted(shares)
    assert min(shares, default=1.0) == pytest.approx(done / TILES)
    assert len(file.read_text().splitlines()) - 1 == TILES


def test_what_is_finished_is_not_sought_again(
    detector: Detector, whole: SlideResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "slide.unfinished"
    assert_same(detect(detector, file), whole)
    monkeypatch.setattr("dvfast.detection.slide.find_nuclei", lambda *_, **__: 1 / 0)
    before = file.read_bytes()
    assert_same(detect(detector, file), whole)
    assert file.read_bytes() == before


@pytest.mark.parametrize("torn", [1, 2, 40, -1])
def test_half_a_line_does_not_count(
    detector: Detector, whole: SlideResult, tmp_path: Path, torn: int
) -> None:
    file = tmp_path / "slide.unfinished"
    detect(detector, file)
    complete = file.read_bytes()
    lines = complete.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:4]) + lines[4][:torn])
    assert_same(detect(detector, file), whole)
    assert file.read_bytes() == complete


def test_a_line_that_is_not_the_next_tiles_does_not_count(
    detector: Detector, whole: SlideResult, tmp_path: Path
) -> None:
    # As when two processes write to one file.
    file = tmp_path / "slide.unfinished"
    detect(detector, file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], lines[3], *lines[4:]]))
    assert_same(detect(detector, file), whole)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stride": 4}, "stride was 2, is 4"),
        ({"threshold": 0.5}, "threshold was 0.3, is 0.5"),
        ({"tile_size": 151}, "tile_size was 150, is 151"),
        ({"precision": "float32"}, "precision was 'exact', is 'float32'"),
        ({"region": (0, 0, 99, 180)}, "region was [0, 0, 300, 450], is [0, 0, 99, 180]"),
        ({"slide": image()[::-1]}, "slide was "),
    ],
)
def test_another_run_is_refused(
    detector: Detector, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    file = tmp_path / "slide.unfinished"
    with pytest.raises(KeyboardInterrupt):
        detect(detector, file, progress=stop_after(0.5))
    before = file.read_bytes()
    with pytest.raises(InputError) as error:
        detect(detector, file, **changes)
    assert named in str(error.value)
    assert file.read_bytes() == before


def test_another_network_is_refused(detector: Detector, tmp_path: Path) -> None:
    file = tmp_path / "slide.unfinished"
    with pytest.raises(KeyboardInterrupt):
        detect(detector, file, progress=stop_after(0.5))
    with torch.no_grad():
        next(detector.net.parameters()).flatten()[0].add_(1e-6)
    with pytest.raises(InputError, match="network was"):
        detect(detector, file)
    detector.settings = dataclasses.replace(detector.settings, sigma=2.0)
    with pytest.raises(InputError, match=r"network was .*sigma was 1.7, is 2.0"):
        detect(detector, file)


@pytest.mark.parametrize(
    "content",
    [b"", b"y,x\n1,2\n", b"[1]\n", b'{"format": "dvfast unfinished slide 1"}\n', b"\xff\n"],
)
def test_other_files_are_left_alone(detector: Detector, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "clicks.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"clicks.csv: holds no unfinished slide"):
        detect(detector, file)
    assert file.read_bytes() == content


def test_a_checkpoint_that_cannot_be_written(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; create it first"):
        detect(detector, tmp_path / "none" / "slide.unfinished")
    with pytest.raises(InputError, match="cannot be opened"):
        detect(detector, tmp_path)


def test_numbers_come_back_to_the_bit(detector: Detector, tmp_path: Path) -> None:
    file = tmp_path / "slide.unfinished"
    detect(detector, file, threshold=0.0)
    scores = [s for line in file.read_text().splitlines()[1:] for s in json.loads(line)["scores"]]
    whole = detect(detector, threshold=0.0).scores
    assert sorted(scores) == sorted(whole.tolist())


def test_a_run_without_a_finished_tile_keeps_no_other_from_beginning(
    detector: Detector, whole: SlideResult, tmp_path: Path
) -> None:
    file = tmp_path / "slide.unfinished"
    with pytest.raises(KeyboardInterrupt):
        detect(detector, file, progress=stop_after(0.0))
    assert len(file.read_text().splitlines()) == 1
    with pytest.raises(KeyboardInterrupt):
        detect(detector, file, progress=stop_after(0.0), stride=4)
    assert_same(detect(detector, file), whole)


@pytest.mark.parametrize("spoilt", [b'{"tile": 2}', b'{"tile": 2, "points": 1, "scores": []}'])
def test_a_tile_that_lacks_something_does_not_count(
    detector: Detector, whole: SlideResult, tmp_path: Path, spoilt: bytes
) -> None:
    file = tmp_path / "slide.unfinished"
    detect(detector, file)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*lines[:3], spoilt, *lines[4:]]) + b"\n")
    assert_same(detect(detector, file), whole)


def test_a_digest_tells_networks_apart() -> None:
    net = small_unet()
    assert digest_of_network(net) == digest_of_network(small_unet())
    others = [
        small_unet(num_votes=1),
        small_unet(normalized=False),
        small_unet().double(),
        small_unet().folded(),
    ]
    moved = small_unet()
    with torch.no_grad():
        moved.head.bias[0] += 1e-6
    digests = {digest_of_network(other) for other in (net, moved, *others)}
    assert len(digests) == 6


def test_a_digest_tells_pictures_apart() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    same_bytes = (picture.reshape(4, 3), picture.view(np.uint16), picture.view(np.int8))
    assert len({digest_of_picture(other) for other in (picture, *same_bytes)}) == 4
    assert digest_of_picture(picture[:, ::2]) == digest_of_picture(picture[:, ::2].copy())
