"""Precisions of the scan with the shipped weights: how near they are, and what they find."""

from __future__ import annotations

import copy
import importlib
import itertools

import numpy as np
import pytest
import skimage
import torch
from numpy.typing import NDArray
from support import one_thread
from torch import Tensor

__all__ = ["one_thread"]

import dvfast
from dvfast import _engine
from dvfast._library import cpu_info
from dvfast.data import image_to_tensor, resample
from dvfast.errors import InputError

# `dvfast.scan` is the function of that name.
scanning = importlib.import_module("dvfast.scan")

SIDE = 96


@pytest.fixture(scope="module")
def detector() -> dvfast.Detector:
    return dvfast.Detector.from_pretrained("ihc-patch")


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return skimage.data.immunohistochemistry()[220 : 220 + SIDE, 200 : 200 + SIDE]


@pytest.fixture(scope="module")
def image(detector: dvfast.Detector, pixels: NDArray[np.uint8]) -> Tensor:
    """Enlarged twice: at the scale of the network."""
    enlarged = resample(image_to_tensor(pixels, 3), detector.scale_of())
    assert enlarged.shape == (3, 2 * SIDE, 2 * SIDE)
    return enlarged


@pytest.fixture(scope="module")
def in_float64(detector: dvfast.Detector, image: Tensor) -> Tensor:
    with pytest.warns(RuntimeWarning, match="conv1 is torch.float64"):
        return dvfast.scan(copy.deepcopy(detector.net).double(), image)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("precision", ["exact", "float32"])
def test_votes_are_as_near_as_was_promised(
    detector: dvfast.Detector, image: Tensor, in_float64: Tensor, precision: str, stride: int
) -> None:
    votes = dvfast.scan(detector.net, image, stride=stride, precision=precision)
    error = (votes - in_float64[:, :, ::stride, ::stride]).abs().unflatten(1, (-1, 3))
    assert error[:, :, 0].max() <= 1e-5
    assert error[:, :, 1:].max() <= 1e-3


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_float32_and_exact_find_the_same_nuclei(
    detector: dvfast.Detector, pixels: NDArray[np.uint8], stride: int
) -> None:
    exact = detector.detect(pixels, stride=stride, precision="exact")
    float32 = detector.detect(pixels, stride=stride)
    assert len(exact) > 3
    assert np.array_equal(float32.points, exact.points)
    np.testing.assert_allclose(float32.scores, exact.scores, rtol=1e-3)


def test_float32_is_the_default(detector: dvfast.Detector, pixels: NDArray[np.uint8]) -> None:
    default, float32 = detector.detect(pixels), detector.detect(pixels, precision="float32")
    assert np.array_equal(default.density, float32.density)


@pytest.mark.skipif(not cpu_info()["matrix_unit"], reason="this CPU has no matrix unit")
def test_bfloat16_finds_about_the_same(
    detector: dvfast.Detector, pixels: NDArray[np.uint8]
) -> None:
    exact = detector.detect(pixels, precision="exact")
    coarse = detector.detect(pixels, precision="bfloat16")
    distances = np.linalg.norm(coarse.points[:, None] - exact.points, axis=2)
    assert abs(len(coarse) - len(exact)) <= 2
    assert (distances.min(axis=0) < 2).mean() > 0.8


def test_bfloat16_needs_a_matrix_unit(
    detector: dvfast.Detector, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = {**cpu_info(), "matrix_unit": False}
    monkeypatch.setattr(_engine, "cpu_info", lambda: without)
    message = "precision 'bfloat16' needs a CPU with AMX, on Linux; use 'float32'"
    with pytest.raises(InputError, match=message):
        detector.detect(pixels, precision="bfloat16")


def test_an_unknown_precision(detector: dvfast.Detector, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"precision must be one of 'exact', .*, got 'double'"):
        detector.detect(pixels, precision="double")  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "stride"), [("fast", 1), ("fast", 4), ("sliding", 2)])
def test_progress_comes_to_one(mode: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MAP_NUMBERS", 16 * 50**2)
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet(num_votes=1, channels=(4, 4, 4), hidden=(8,))
    shares: list[float] = []
    pixels = np.zeros((90, 70, 3), np.uint8)
    dvfast.Detector(net).detect(pixels, mode=mode, stride=stride, progress=shares.append)
    assert len(shares) > 1
    assert shares[-1] == 1.0
    assert shares[0] > 0
    assert all(one < other for one, other in itertools.pairwise(shares))
