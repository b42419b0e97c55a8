"""Networks that classify or regress a heat map, on tiles whose nuclei are known."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from synthetic_tiles import tiny_config, write_tiles

import dvfast
from dvfast import Detector, TrainingConfig
from dvfast.baselines import heat_map_regressor, patch_classifier
from dvfast.data.augment import Augmentation
from dvfast.errors import InputError

LEARNING: dict[str, Any] = {
    "dropout": 0.0,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "augmentation": Augmentation(),
    "detection": dvfast.DetectionSettings(stride=1, sigma=1.0, min_distance=2),
}


def f1_after_training(folder: Path, config: TrainingConfig) -> float:
    result = dvfast.fit(folder / "tiles", folder / "run", config, progress=False)
    detector = Detector.load(result.weights_path)
    return dvfast.evaluate(detector, folder / "tiles", radius=4.0).micro.f1


def test_a_patch_classifier_finds_the_spots(tmp_path: Path) -> None:
    write_tiles(tmp_path / "tiles")
    base = tiny_config(
        **LEARNING, channels=(16, 16, 16), hidden=(64,), crop_size=8, steps=120, validate_every=120
    )
    assert f1_after_training(tmp_path, patch_classifier(base, radius=2.0)) > 0.8


def test_a_heat_map_finds_the_spots(tmp_path: Path) -> None:
    write_tiles(tmp_path / "tiles")
    base = tiny_config(
        **{**LEARNING, "learning_rate": 1e-2},
        network="unet",
        channels=(8, 16),
        crop_size=16,
        crop_stride=1,
        steps=100,
        validate_every=100,
    )
    assert f1_after_training(tmp_path, heat_map_regressor(base, sigma=1.5)) > 0.8


def test_nothing_but_the_question_changes() -> None:
    base = TrainingConfig.modern(steps=7, channels=(4, 5, 6))
    for config in (patch_classifier(base, radius=3), heat_map_regressor(base, sigma=3)):
        changed = {name for name, value in asdict(config).items() if value != asdict(base)[name]}
        assert changed <= {"target", "num_votes", "target_radius"}
        assert {"target", "num_votes"} <= changed


def test_without_votes_there_is_no_density_of_theirs() -> None:
    base = TrainingConfig.modern(density_weight=10.0, lam=7.0)
    for config in (patch_classifier(base, radius=3), heat_map_regressor(base, sigma=3)):
        assert (config.density_weight, config.lam) == (0, TrainingConfig().lam)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_lengths_are_positive(value: float) -> None:
    with pytest.raises(InputError, match="radius: came as"):
        patch_classifier(TrainingConfig(), radius=value)
    with pytest.raises(InputError, match="sigma: came as"):
        heat_map_regressor(TrainingConfig(), sigma=value)
