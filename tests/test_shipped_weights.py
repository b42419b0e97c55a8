"""The weights that come along: good enough to ship, and described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import skimage

import dvfast
from dvfast.evaluation import evaluate_points
from dvfast.evaluation.evaluate import detect_all
from dvfast.weights import available, load_weights, path_of

DATA = Path(__file__).parents[2] / "shared" / "data"


class Shipped(NamedTuple):
    """What one may expect: F1 within the mean radius of a nucleus, and within half of it."""

    folder: str
    radius: float
    f1: float
    f1_within_half: float


SHIPPED = {
    "ihc": Shipped("endonuke_ihc", 6.6, 0.88, 0.80),
    "ihc-patch": Shipped("endonuke_ihc", 6.6, 0.88, 0.80),
    "histology": Shipped("bbbc038_histology", 9.3, 0.84, 0.75),
    "fluorescence": Shipped("bbbc038_fluo", 11.9, 0.92, 0.90),
}


@pytest.fixture(scope="module", params=SHIPPED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def detector(name: str) -> dvfast.Detector:
    return dvfast.Detector.from_pretrained(name)


def test_there_are_these() -> None:
    assert available() == sorted(SHIPPED)


def test_they_say_what_they_are(name: str) -> None:
    _, description = load_weights(path_of(name))
    data = description["data"]
    if name.startswith("ihc"):
        assert data["licence"] == "CC BY 4.0"
        assert "EndoNuke" in data["attribution"]
        assert description["image_pixel_size"] == 0.5
    else:
        assert data["licence"] == "CC0"
        assert "BBBC038" in data["attribution"]
        assert "pixel of the training images" in data["pixel_size_unit"]
    assert description["scores"]["validation"]["f1"] > 0.75
    assert description["training"]["seed"] == 0
    json.dumps(description)


def evaluated(name: str, detector: dvfast.Detector, **how: Any) -> tuple[float, float]:
    shipped = SHIPPED[name]
    folder = DATA / shipped.folder / "test"
    if not folder.is_dir():
        pytest.skip(f"the annotated images are not there: {folder}")
    pairs, _ = detect_all(detector, folder, **how)
    whole, half = (evaluate_points(pairs, r).micro for r in (shipped.radius, shipped.radius / 2))
    return whole.f1, half.f1


def test_they_find_the_nuclei_of_held_out_images(name: str, detector: dvfast.Detector) -> None:
    f1, f1_within_half = evaluated(name, detector)
    assert f1 >= SHIPPED[name].f1
    assert f1_within_half >= SHIPPED[name].f1_within_half
    _, description = load_weights(path_of(name))
    radius = SHIPPED[name].radius
    # Convolutions of other threads and instruction sets may move a few of thousands of nuclei.
    written = description["scores"]["test"][f"one-to-one, {radius:g} px"]["f1"]
    assert f1 == pytest.approx(written, abs=0.003)


@pytest.mark.parametrize("how", [{"stride": 4}, {"precision": "bfloat16"}])
def test_no_way_of_reading_them_is_much_worse(how: dict[str, Any]) -> None:
    detector = dvfast.Detector.from_pretrained("ihc")
    if "precision" in how and not dvfast._library.cpu_info()["matrix_unit"]:
        pytest.skip("bfloat16 needs a CPU with AMX")
    assert evaluated("ihc", detector, **how)[0] >= 0.88


@pytest.mark.parametrize("name", ["ihc", "ihc-patch"])
def test_they_find_nuclei_in_the_demo_image(name: str) -> None:
    image = skimage.data.immunohistochemistry()
    result = dvfast.Detector.from_pretrained(name).detect(image)
    assert 100 <= len(result) <= 600
    # Nuclei take up red light; what lies between them lets it through.
    y, x = np.round(result.points).astype(int).T
    assert np.median(image[y, x, 0]) < np.median(image[..., 0])


def test_they_find_nothing_where_there_is_nothing(name: str, detector: dvfast.Detector) -> None:
    generator = np.random.default_rng(0)
    for level in (0, 20) if name == "fluorescence" else (255, 240, 128):
        plain = np.full((128, 128, 3), level, np.uint8)
        noisy = plain + generator.normal(0, 1 if name == "fluorescence" else 3, plain.shape)
        assert len(detector.detect(plain)) == 0
        assert len(detector.detect(np.clip(noisy, 0, 255).astype(np.uint8))) == 0
