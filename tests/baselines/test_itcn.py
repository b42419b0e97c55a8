from __future__ import annotations

import numpy as np
import pytest
from discs import cover, grey_image
from numpy.typing import NDArray
from scipy import ndimage

from dvfast.baselines import blob_response, detect_blob_log, detect_itcn


def kernel_of(width: float) -> NDArray[np.float64]:
    """The filter as it is defined, on the whole square."""
    half = int(np.ceil((width - 1) / 2))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    sigma = (width - 1) / 3
    squared = (y**2 + x**2) / sigma**2
    kernel = (2 - squared) * np.exp(-squared / 2)
    kernel -= kernel.mean()
    return np.asarray(kernel / kernel[kernel > 0].sum())


@pytest.mark.parametrize("width", [3, 6, 7.5, 13])
def test_response_as_defined(width: float) -> None:
    density = np.random.default_rng(0).random((31, 40))
    expected = ndimage.correlate(density, kernel_of(width), mode="reflect")
    np.testing.assert_allclose(blob_response(density, width), expected, atol=1e-12)


def test_response_to_a_blob_of_the_kernels_shape_is_its_contrast() -> None:
    kernel = kernel_of(13)
    density = np.full((41, 41), 0.2)
    density[14:27, 14:27] += 0.5 * (kernel > 0)
    assert blob_response(density, 13)[20, 20] == pytest.approx(0.5)


@pytest.mark.parametrize("level", [0.1, 0.7, 1.0])
def test_no_response_to_constants_and_ramps(level: float) -> None:
    assert np.abs(blob_response(np.full((30, 30), level), 9)).max() < 1e-15
    ramp = np.broadcast_to(np.linspace(0, level, 30), (30, 30))
    assert np.abs(blob_response(ramp, 9)[:, 5:-5]).max() < 1e-14


def test_minimum_distance_decides_about_neighbours() -> None:
    image = grey_image([(30.0, 40.0), (30.0, 52.0)], dark=True)
    assert len(detect_itcn(image, stain="dark", min_distance=11)[0]) == 2
    assert len(detect_itcn(image, stain="dark", min_distance=15)[0]) == 1


def test_nuclei_cut_by_the_border_are_found() -> None:
    image = grey_image([(0.0, 50.0), (30.0, 103.0)], dark=False)
    points, _ = detect_itcn(image, stain="bright")
    assert points[np.lexsort(points.T)].tolist() == [[0.0, 50.0], [30.0, 103.0]]


def test_score_of_blob_log_is_the_response_at_its_scale() -> None:
    density = 0.6 * cover([(30.0, 40.0)], radius=6)
    points, scores = detect_blob_log(density.astype(np.float32), stain="bright", num_sigma=10)
    assert points.tolist() == [[30.0, 40.0]]
    sigmas = np.linspace(3, 6, 10)
    responses = [-(s**2) * ndimage.gaussian_laplace(density, s)[30, 40] for s in sigmas]
    assert scores[0] == pytest.approx(max(responses), rel=1e-5)
    # The closed form, but for the pixels.
    assert scores[0] == pytest.approx(0.6 * 2 / np.e, rel=0.02)


def test_score_of_blob_log_at_the_border() -> None:
    density = 0.6 * cover([(2.0, 40.0), (30.0, 1.0)], radius=6)
    points, scores = detect_blob_log(density.astype(np.float32), stain="bright", num_sigma=3)
    assert len(points) >= 2
    cube = [-(s**2) * ndimage.gaussian_laplace(density, s) for s in np.linspace(3, 6, 3)]
    for (y, x), score in zip(points.astype(int), scores, strict=True):
        assert min(abs(plane[y, x] - score) for plane in cube) < 1e-5
