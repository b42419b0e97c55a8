from __future__ import annotations

import numpy as np
import pytest
from discs import stained_image

from dvfast.baselines import nucleus_density
from dvfast.errors import InputError

RAMP = np.linspace(0, 0.8, 12).reshape(3, 4)
FLAT = np.full((3, 4), 0.3)


def test_stains_come_apart_again() -> None:
    image = stained_image(RAMP, FLAT)
    # Rounding to 8 bits moves the densities a little, the more the darker the pixel.
    np.testing.assert_allclose(nucleus_density(image, "haematoxylin"), RAMP, atol=0.02)
    np.testing.assert_allclose(nucleus_density(image, "haematoxylin+dab"), RAMP + 0.3, atol=0.02)


def test_black_and_white_have_finite_densities() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[0] = 255
    density = nucleus_density(image)
    assert np.isfinite(density).all()
    assert (density[0] == 0).all()
    assert (density[1] > 0).all()


def test_dark_and_bright_are_luminance_and_its_opposite() -> None:
    image = np.array([[0, 51, 255]], dtype=np.uint8)
    np.testing.assert_allclose(nucleus_density(image, "bright"), [[0, 0.2, 1]], atol=1e-7)
    np.testing.assert_allclose(nucleus_density(image, "dark"), [[1, 0.8, 0]], atol=1e-7)


def test_fluorescence_is_free_of_the_exposure() -> None:
    image = np.random.default_rng(0).integers(0, 40, (50, 50)).astype(np.uint8)
    density = nucleus_density(image, "fluorescence")
    assert (density.min(), density.max()) == (0, 1)
    np.testing.assert_allclose(nucleus_density(image * 5 + 20, "fluorescence"), density, atol=1e-6)


def test_camera_noise_is_not_stretched() -> None:
    image = np.random.default_rng(0).integers(10, 13, (50, 50)).astype(np.uint8)
    assert not nucleus_density(image, "fluorescence").any()


def test_a_few_hundred_counts_of_16_bits_are_an_exposure() -> None:
    image = np.random.default_rng(0).integers(100, 600, (50, 50), dtype=np.uint16)
    assert nucleus_density(image, "fluorescence").max() == 1


def test_refusals() -> None:
    grey = np.zeros((5, 6), dtype=np.uint8)
    with pytest.raises(InputError, match=r"image: came with shape \[5, 6\], expected \[H, W, 3\]"):
        nucleus_density(grey, "haematoxylin")
    with pytest.raises(InputError, match="stain: came as 'eosin', expected one of haematoxylin"):
        nucleus_density(grey, "eosin")  # type: ignore[arg-type]
