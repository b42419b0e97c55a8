"""Detection as a CUDA graph: what it captures, on any device, and the capture, on a GPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import skimage
import torch

import dvfast
from dvfast.detection import DetectionGraph
from dvfast.errors import InputError

SIZE = (96, 80)


@pytest.fixture
def detector() -> dvfast.Detector:
    detector = dvfast.Detector.from_pretrained("ihc-patch")
    detector.pixel_size = None
    return detector


@pytest.fixture
def image() -> torch.Tensor:
    pixels = skimage.data.immunohistochemistry()[220 : 220 + SIZE[0], 200 : 200 + SIZE[1]]
    return torch.from_numpy(np.ascontiguousarray(pixels)).movedim(2, 0).float() / 255


def without_capture(detector: dvfast.Detector) -> DetectionGraph:
    graph = DetectionGraph.__new__(DetectionGraph)
    graph._detector = detector
    graph._settings = detector.settings_with(threshold=0.3)
    graph._precision = "float32"
    graph._capacity = 50
    return graph


def test_what_is_captured_is_detection(detector: dvfast.Detector, image: torch.Tensor) -> None:
    graph = without_capture(detector)
    graph._image = image
    points, scores, count = graph._detect()
    expected = detector.detect(image.movedim(0, 2).numpy(), threshold=0.3)
    assert 0 < len(expected) == int(count) < 50
    assert np.array_equal(points[: len(expected)].numpy(), expected.points)
    assert np.array_equal(scores[: len(expected)].double().numpy(), expected.scores)
    assert (points[len(expected) :] == -1).all()


def test_needs_a_cuda_device(detector: dvfast.Detector) -> None:
    with pytest.raises(InputError, match="detector must be on a CUDA device, got cpu"):
        DetectionGraph(detector, SIZE)


def test_exposures_are_no_part_of_a_graph() -> None:
    with pytest.raises(InputError, match="normalization by percentiles, which is no part of a gra"):
        DetectionGraph(dvfast.Detector.from_pretrained("fluorescence"), SIZE)


@pytest.mark.cuda
def test_replay_of_a_unet_is_detection(image: torch.Tensor) -> None:
    detector = dvfast.Detector.from_pretrained("ihc").to("cuda")
    detector.pixel_size = None
    detector.settings = dataclasses.replace(detector.settings, centroid_radius=5.0)
    graph = DetectionGraph(detector, SIZE, capacity=50)
    points, _, count = graph(image.to("cuda"))
    expected = detector.detect(image.movedim(0, 2).numpy())
    assert 0 < len(expected) == int(count)
    assert np.array_equal(points[: len(expected)].cpu().numpy(), expected.points)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["exact", "float32"])
def test_replay_is_detection(
    detector: dvfast.Detector, image: torch.Tensor, precision: str
) -> None:
    device = torch.device("cuda")
    detector.to(device)
    graph = DetectionGraph(detector, SIZE, threshold=0.3, precision=precision, capacity=50)
    for picture in (image, image.flip(1), torch.zeros_like(image)):
        points, _, count = graph(picture.to(device))
        pixels = picture.movedim(0, 2).numpy()
        expected = detector.detect(pixels, threshold=0.3, precision=precision)
        assert len(expected) == int(count)
        assert np.array_equal(points[: len(expected)].cpu().numpy(), expected.points)
    with pytest.raises(ValueError, match=r"image must be \[3, 96, 80\], as captured, got \[3, 8"):
        graph(torch.zeros(3, 8, 8))
