"""The weights that come along: good enough to ship, and described."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage

import dvfast
from dvfast.weights import load_weights, path_of

DATA = Path(__file__).parents[2] / "shared" / "data" / "endonuke_ihc" / "test"
RADIUS = 6.6


@pytest.fixture(scope="module")
def detector() -> dvfast.Detector:
    return dvfast.Detector.from_pretrained("ihc")


def test_they_say_what_they_are() -> None:
    _, description = load_weights(path_of("ihc"))
    assert description["data"]["licence"] == "CC BY 4.0"
    assert "EndoNuke" in description["data"]["attribution"]
    assert (description["image_pixel_size"], description["pixel_size"]) == (0.5, 0.25)
    assert description["scores"]["validation"]["f1"] > 0.85
    assert description["training"]["seed"] == 0
    json.dumps(description)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the annotated tiles are not there: {DATA}")
@pytest.mark.parametrize("stride", [2, 4])
def test_they_find_the_nuclei_of_held_out_tiles(detector: dvfast.Detector, stride: int) -> None:
    evaluation = dvfast.evaluate(detector, DATA, RADIUS, stride=stride)
    assert len(evaluation.images) == 55
    assert evaluation.micro.f1 >= 0.85


def test_they_find_nuclei_in_the_demo_image(detector: dvfast.Detector) -> None:
    image = skimage.data.immunohistochemistry()
    result = detector.detect(image)
    assert 100 <= len(result) <= 600
    # Nuclei take up red light; what lies between them lets it through.
    y, x = np.round(result.points).astype(int).T
    assert np.median(image[y, x, 0]) < np.median(image[..., 0])


def test_they_find_nothing_where_there_is_nothing(detector: dvfast.Detector) -> None:
    generator = np.random.default_rng(0)
    for level in (255, 240, 128):
        plain = np.full((128, 128, 3), level, np.uint8)
        noisy = np.clip(plain + generator.normal(0, 3, plain.shape), 0, 255).astype(np.uint8)
        assert len(detector.detect(plain)) == 0
        assert len(detector.detect(noisy)) == 0
