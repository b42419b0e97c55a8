"""Evaluation of a folder: what is asked for is what detection is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from support import small_unet
from synthetic_tiles import write_tiles

import dvfast
from dvfast.data import pair_by_stem, read_points
from dvfast.evaluation import evaluate_points

RADIUS = 6.0
SETTINGS = dvfast.DetectionSettings(stride=1, sigma=2.0, window=13, threshold=0.4, min_distance=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiles(tmp_path_factory.mktemp("data") / "tiles", count=2)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"stride": 4},
        {"precision": "exact"},
        {"threshold": 1.0},
        {"orientations": 8},
        {"pixel_size": 0.5},
    ],
    ids=str,
)
def test_every_setting_is_passed_on(folder: Path, how: dict[str, Any]) -> None:
    detector = dvfast.Detector(small_unet(), SETTINGS, pixel_size=0.25, image_pixel_size=0.25)
    samples = pair_by_stem(folder)
    pairs = [
        (detector.detect(sample.image, **how).points, read_points(sample.points))
        for sample in samples
    ]
    with mock.patch.object(detector, "detect", wraps=detector.detect) as detect:
        found = dvfast.evaluate(detector, folder, RADIUS, **how)
    # Every precision finds the same nuclei: only what is asked for tells one from another.
    assert all(
        call.kwargs["precision"] == how.get("precision", "float32") for call in detect.mock_calls
    )
    names = [sample.stem for sample in samples]
    assert found == evaluate_points(pairs, RADIUS, names=names)
    if how and how != {"precision": "exact"}:
        plain = [detector.detect(sample.image).points for sample in samples]
        assert not all(map(np.array_equal, plain, (points for points, _ in pairs)))


def test_the_kind_of_matching_is_passed_on(folder: Path) -> None:
    detector = dvfast.Detector(small_unet(), SETTINGS)
    literal = dvfast.evaluate(detector, folder, 30.0, mode="literal")
    assert literal.micro.f1 > dvfast.evaluate(detector, folder, 30.0).micro.f1
