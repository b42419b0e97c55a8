"""What all baselines promise alike, on discs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from discs import CENTRES, SHAPE, TOUCHING, assert_found, cover, grey_image, stained_image
from numpy.typing import NDArray

from dvfast.baselines import (
    NersModel,
    RegionSettings,
    Stain,
    detect_blob_log,
    detect_irv,
    detect_itcn,
    detect_ners,
    fit_ners,
)
from dvfast.errors import InputError

Detector = Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]


@cache
def _model(stain: Stain) -> NersModel:
    """Trained on discs elsewhere, among them touching ones, in noise."""
    pytest.importorskip("cv2", reason="OpenCV is not installed (dvfast[baselines])")
    images, clicks = [], []
    for seed in range(4):
        centres = np.concatenate((CENTRES[:3] - 1.3, [(45.0, 20 + seed), (45.0, 32 + seed)]))
        image = grey_image(centres, dark=stain == "dark", noise=0.02 * seed, seed=100 + seed)
        if stain == "haematoxylin+dab":
            image = stained_image(0.6 * cover(centres), np.zeros(SHAPE))
        images.append(image)
        clicks.append(centres)
    return fit_ners(images, clicks, settings=RegionSettings(stain=stain, full_scale=1.0))


def _detect_ners(
    image: NDArray[Any], stain: Stain = "haematoxylin+dab", **parameters: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return detect_ners(image, _model(stain), **parameters)


DETECTORS: dict[str, Detector] = {
    "itcn": detect_itcn,
    "irv": detect_irv,
    "ners": _detect_ners,
    "blob_log": partial(detect_blob_log, threshold=0.1),
}


@pytest.fixture(params=DETECTORS)
def detect(request: pytest.FixtureRequest) -> Detector:
    return DETECTORS[request.param]


@pytest.mark.parametrize("stain", ["dark", "bright"])
def test_finds_every_disc_at_its_centre(detect: Detector, stain: Stain) -> None:
    points, scores = detect(grey_image(CENTRES, dark=stain == "dark"), stain=stain)
    assert points.dtype == scores.dtype == np.float64
    assert_found(points, CENTRES, within=1.0)


def test_keeps_touching_discs_apart(detect: Detector) -> None:
    assert_found(detect(grey_image(TOUCHING, dark=True), stain="dark")[0], TOUCHING, within=1.5)


def test_finds_discs_in_noise_and_nothing_else(detect: Detector) -> None:
    for seed in range(3):
        image = grey_image(CENTRES, dark=False, noise=0.05, seed=seed)
        assert_found(detect(image, stain="bright")[0], CENTRES, within=1.5)


@pytest.mark.parametrize("level", [0, 7, 255])
@pytest.mark.parametrize("stain", ["dark", "bright"])
def test_a_blank_image_has_no_nuclei(detect: Detector, stain: Stain, level: int) -> None:
    points, scores = detect(np.full(SHAPE, level, dtype=np.uint8), stain=stain)
    assert points.shape == (0, 2)
    assert scores.shape == (0,)


def test_finds_discs_of_either_stain(detect: Detector) -> None:
    blue, brown = 0.6 * cover(CENTRES[:3]), 0.6 * cover(CENTRES[3:])
    points, _ = detect(stained_image(blue, brown), stain="haematoxylin+dab")
    assert_found(points, CENTRES, within=1.0)


def test_the_strongest_disc_comes_first(detect: Detector) -> None:
    faint_and_strong = 0.5 * cover(CENTRES[:1]) + 0.75 * cover(CENTRES[1:2])
    points, scores = detect(np.float32(0.1 + faint_and_strong), stain="bright")
    assert (np.diff(scores) <= 0).all()
    if detect is not DETECTORS["ners"]:  # whose scores are more than contrasts
        assert np.hypot(*(points[0] - CENTRES[1])) <= 1


def test_where_the_image_lies_does_not_matter(detect: Detector) -> None:
    image = grey_image(CENTRES, dark=True)
    points, scores = detect(image, stain="dark")
    turned, turned_scores = detect(np.ascontiguousarray(image.T), stain="dark")
    order, turned_order = np.lexsort(points.T), np.lexsort(turned.T[::-1])
    np.testing.assert_allclose(turned[turned_order][:, ::-1], points[order], atol=1.01)
    np.testing.assert_allclose(turned_scores.sum(), scores.sum(), rtol=0.05)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 2)])
def test_images_smaller_than_a_nucleus(detect: Detector, size: tuple[int, int]) -> None:
    points, scores = detect(np.zeros(size, dtype=np.uint8), stain="bright")
    assert len(points) == len(scores) == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((20, 20), np.nan), "image: holds NaN or infinity"),
        (np.zeros((0, 20), dtype=np.uint8), "image: has no pixels"),
        (np.zeros((20, 20, 2), dtype=np.uint8), "image: came with shape"),
        (np.full((20, 20), 300.0), r"image: floating values span \[300, 300\]"),
        (np.zeros((20, 20), dtype=np.int64), "image: came as int64"),
    ],
)
def test_refuses_what_is_no_image(detect: Detector, image: NDArray[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        detect(image, stain="dark")


@pytest.mark.parametrize(
    ("detector", "parameters", "message"),
    [
        (detect_itcn, {"width": 2}, "width: came as 2, expected a number of at least 3"),
        (detect_itcn, {"threshold": -1}, "threshold: came as -1"),
        (detect_itcn, {"min_distance": np.nan}, "min_distance: came as nan"),
        (detect_irv, {"r_max": 1.0}, "r_max: came as 1.0, expected more than r_min"),
        (detect_irv, {"r_min": 4.1, "r_max": 4.11}, "r_max: came as 4.11 with r_min 4.1"),
        (detect_irv, {"smoothing": 0}, "smoothing: came as 0, expected a positive number"),
        (detect_irv, {"half_angles": ()}, "half_angles: came as "),
        (detect_irv, {"half_angles": (2.0,)}, "half_angles: came as "),
        (detect_irv, {"gradient_threshold": -0.1}, "gradient_threshold: came as -0.1"),
        (detect_blob_log, {"max_sigma": 1}, "max_sigma: came as 1, expected .* at least 3"),
        (detect_blob_log, {"threshold": 0}, "threshold: came as 0"),
        (detect_blob_log, {"num_sigma": 0}, "num_sigma: came as 0"),
        (detect_blob_log, {"overlap": 1.5}, "overlap: came as 1.5, expected at most 1"),
        (_detect_ners, {"threshold": np.inf}, "threshold: came as inf"),
    ],
)
def test_refuses_parameters_out_of_range(
    detector: Detector, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        detector(grey_image(CENTRES, dark=True), stain="dark", **parameters)
