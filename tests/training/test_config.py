"""The training settings: presets, JSON and what they refuse."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from dvfast.data.augment import Augmentation
from dvfast.detection import DetectionSettings
from dvfast.errors import InputError
from dvfast.training import TrainingConfig
from dvfast.training.ranges import RANGES


def test_the_paper_preset_is_the_paper() -> None:
    config = TrainingConfig.paper()
    assert (config.learning_rate, config.dropout, config.beta, config.lam) == (1e-4, 0.25, 0.5, 384)
    assert (config.r1, config.r2) == (39, 58.5)
    assert config.sampling == "patches"
    assert config.schedule == "constant"
    assert config.grid == (1, 1)
    assert config.scale == 1
    smoothing = config.detection
    assert (smoothing.sigma, smoothing.window, smoothing.threshold) == (1, 5, 0.2)


def test_changes_reach_the_presets() -> None:
    assert TrainingConfig.paper(steps=7).steps == 7
    assert TrainingConfig.modern(steps=7).steps == 7
    assert TrainingConfig.modern() == TrainingConfig()


@pytest.mark.parametrize("config", [TrainingConfig.paper(), TrainingConfig.modern(hidden=(8, 4))])
def test_json_round_trip(config: TrainingConfig) -> None:
    text = json.dumps(config.to_dict(), allow_nan=False)
    again = TrainingConfig.from_dict(json.loads(text))
    assert again == config
    assert isinstance(again.hidden, tuple)
    assert isinstance(again.augmentation, Augmentation)
    assert isinstance(again.detection, DetectionSettings)
    assert again.to_dict() == json.loads(text)


def test_missing_names_keep_their_defaults() -> None:
    config = TrainingConfig.from_dict({"steps": 5, "augmentation": {"contrast": 0.3}})
    assert config.steps == 5
    assert config.batch_size == TrainingConfig().batch_size
    assert config.augmentation == Augmentation(contrast=0.3)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"stepz": 5}, "stepz"),
        ({"augmentation": {"hue": 1}}, "hue"),
        ({"detection": {"sigmas": 1}}, "sigmas"),
    ],
)
def test_unknown_names_are_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        TrainingConfig.from_dict(settings)


def test_bad_values_inside_are_refused() -> None:
    with pytest.raises(InputError, match="detection: window"):
        TrainingConfig.from_dict({"detection": {"window": 4}})
    with pytest.raises(InputError, match=r"^augmentation\.contrast"):
        TrainingConfig.from_dict({"augmentation": {"contrast": -1}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_votes", 0),
        ("num_votes", 2.5),
        ("num_votes", True),
        ("in_channels", 2),
        ("channels", (8, 8)),
        ("channels", (8, 8, 0)),
        ("hidden", 512),
        ("hidden", (0,)),
        ("hidden", ("wide",)),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("r1", 0),
        ("r2", 3.0),
        ("beta", -1),
        ("lam", math.nan),
        ("lam", math.inf),
        ("sampling", "slices"),
        ("batch_size", 0),
        ("crop_size", 0),
        ("crop_stride", 0),
        ("steps", 0),
        ("steps", "many"),
        ("learning_rate", 0),
        ("learning_rate", -1e-3),
        ("optimizer", "lbfgs"),
        ("schedule", "stairs"),
        ("weight_decay", -1),
        ("ema", 1.0),
        ("augmentation", 0.5),
        ("validation_fraction", 1.0),
        ("validate_every", 0),
        ("seed", -1),
        ("image_pixel_size", 0),
        ("pixel_size", -0.5),
        ("radius", 0),
        ("detection", None),
        ("tune_threshold", 1),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{name}"):
        TrainingConfig(**{name: value})  # type: ignore[arg-type]


def test_every_numeric_field_has_a_range() -> None:
    numeric = {f.name for f in fields(TrainingConfig) if f.type in ("int", "float", "float | None")}
    assert numeric <= set(RANGES)


def test_a_working_scale_needs_the_scale_of_the_images() -> None:
    with pytest.raises(InputError, match=r"^image_pixel_size"):
        TrainingConfig(pixel_size=0.25)


def test_scale_and_grid() -> None:
    assert TrainingConfig(image_pixel_size=0.5, pixel_size=0.25).scale == 2
    as_they_are = TrainingConfig(image_pixel_size=0.5, pixel_size=None)
    assert (as_they_are.scale, as_they_are.working_pixel_size) == (1, 0.5)
    assert TrainingConfig().working_pixel_size is None
    assert TrainingConfig(crop_size=9, crop_stride=2).grid == (9, 2)


def test_it_cannot_be_changed_and_takes_whole_numbers_for_reals() -> None:
    config = TrainingConfig(radius=7)
    assert isinstance(config.radius, float)
    with pytest.raises(FrozenInstanceError):
        config.steps = 3  # type: ignore[misc]


def test_lengths_follow_the_nuclei() -> None:
    config = TrainingConfig.modern(image_pixel_size=0.5, pixel_size=0.25, steps=7)
    small, large = config.for_nuclei(4), config.for_nuclei(8)
    assert (small.radius, large.radius) == (4, 8)
    for name in ("r1", "r2", "target_radius"):
        assert getattr(large, name) == pytest.approx(2 * getattr(small, name))
    assert large.detection.sigma == pytest.approx(2 * small.detection.sigma)
    assert large.detection.window >= 6 * large.detection.sigma
    assert large.r2 == 2 * large.r1
    # It is weighed against squared lengths.
    assert large.lam == pytest.approx(4 * small.lam)
    # At half the scale, half the pixels.
    assert TrainingConfig.modern(steps=7).for_nuclei(16).r1 == large.r1
    assert large.steps == 7
    assert config.for_nuclei(4, reach=1.5).r1 == pytest.approx(2 * small.r1)
    for name in ("radius", "reach", "smoothing"):
        with pytest.raises(InputError, match=f"{name}: came as"):
            config.for_nuclei(**{"radius": 4, name: math.nan})


def test_the_unet_preset_casts_votes() -> None:
    config = TrainingConfig.unet(steps=7, seed=3)
    assert (config.network, config.target, config.steps, config.seed) == ("unet", "votes", 7, 3)
    assert config.detection.stride == config.crop_stride
    assert config == TrainingConfig.unet(steps=7, seed=3).for_nuclei(6.6)
    assert config.lam == 384
    assert TrainingConfig.unet(lam=5.0).lam == 5


def test_scales_beyond_reason_are_refused() -> None:
    with pytest.raises(InputError, match=r"^pixel_size: came as 500, which scales"):
        TrainingConfig.unet(image_pixel_size=500, pixel_size=0.25)
    with pytest.raises(InputError, match=r"^augmentation\.zoom: came as 6, expected at most 2"):
        Augmentation(zoom=6)
