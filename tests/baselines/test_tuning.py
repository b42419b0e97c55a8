from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from discs import CENTRES, RADIUS, TOUCHING, grey_image

from dvfast.baselines import BASELINES, Baseline, tune
from dvfast.errors import InputError
from dvfast.evaluation import evaluate_points

IMAGES = [grey_image(c, dark=True, noise=0.1, seed=i) for i, c in enumerate((CENTRES, TOUCHING))]
CLICKS = [CENTRES, TOUCHING]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_fits_and_tunes(name: str) -> None:
    if name == "ners":
        pytest.importorskip("cv2", reason="OpenCV is not installed (dvfast[baselines])")
    training = [grey_image(CENTRES, dark=True, noise=0.1, seed=9)], [CENTRES]
    baseline = BASELINES[name].fit(*training, stain="dark", nucleus_radius=RADIUS)
    tuning = tune(baseline, IMAGES, CLICKS, radius=3.0, nucleus_radius=RADIUS)
    assert tuning.evaluation.micro.f1 > 0.8
    found = [baseline.detect(image, **tuning.parameters)[0] for image in IMAGES]
    again = evaluate_points(list(zip(found, CLICKS, strict=True)), 3.0)
    assert again.micro == tuning.evaluation.micro
    assert baseline.citation


def _detect(image: Any, *, quality: float, shift: float, threshold: float) -> Any:
    """Right at a quality of 2 and no shift; one point in four then is wrong, with a low score."""
    points = np.concatenate((CENTRES[: int(3 * quality)] + shift, CENTRES[:2] + 9))
    scores = np.concatenate((np.full(int(3 * quality), 5.0), [1.0, 2.0]))
    return points[scores >= threshold], scores[scores >= threshold]


def test_takes_the_best_of_the_grid() -> None:
    baseline = Baseline(
        "test", "none", _detect, grid={"quality": (1, 2)}, in_radii={"shift": (0.5, 0.0, 1.0)}
    )
    assert len(list(baseline.settings(4.0))) == 6
    tuning = tune(baseline, [IMAGES[0]], [CENTRES], radius=1.0, nucleus_radius=4.0)
    assert tuning.parameters == {"quality": 2, "shift": 0.0, "threshold": 5.0}
    assert tuning.evaluation.micro.f1 == 1
    fixed = Baseline("test", "none", _detect, {"quality": (2,), "shift": (0,)}, thresholds=(0, 1.5))
    tuning = tune(fixed, [IMAGES[0]], [CENTRES], radius=1.0)
    assert tuning.parameters["threshold"] == 1.5
    assert tuning.evaluation.micro.precision == pytest.approx(6 / 7)


def test_nothing_found_at_all() -> None:
    blank = np.zeros((30, 30), dtype=np.uint8)
    itcn = BASELINES["itcn"].fit([], [], stain="bright", nucleus_radius=6)
    assert tune(itcn, [blank], [[(3, 3)]], radius=3).evaluation.micro.f1 == 0


def test_refusals() -> None:
    itcn = BASELINES["itcn"].fit([], [], stain="dark", nucleus_radius=6)
    with pytest.raises(InputError, match="images, clicks: came as 2 and 1"):
        tune(itcn, IMAGES, [CENTRES], 3)
    with pytest.raises(InputError, match="images, clicks: came as 0 and 0"):
        tune(itcn, [], [], 3)
    with pytest.raises(InputError, match=r"clicks: came with shape \[2, 3\]"):
        tune(itcn, IMAGES[:1], [np.zeros((2, 3))], 3)
    with pytest.raises(InputError, match="nucleus_radius: came as -1"):
        tune(itcn, IMAGES, CLICKS, 3, nucleus_radius=-1)
    with pytest.raises(InputError, match=r"call its fit\(...\) first"):
        tune(BASELINES["ners"], IMAGES, CLICKS, 3)
    with pytest.raises(InputError, match="empty grid"):
        tune(Baseline("test", "none", _detect, {"quality": ()}), IMAGES, CLICKS, 3)
