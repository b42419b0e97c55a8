"""Smoothing and distances that validation chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from synthetic_tiles import tiny_config, write_tiles

from dvfast import DetectionSettings, Detector
from dvfast.data import load_sample, pair_by_stem
from dvfast.evaluation import evaluate_points
from dvfast.nn import VotingNetwork
from dvfast.training import fit
from dvfast.training.smoothing import best_detection
from dvfast.weights import load_weights


class Darkness(VotingNetwork):
    """Every pixel votes for itself, the darker the more confidently."""

    num_votes, in_channels, margin = 1, 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def dense(self, image: torch.Tensor, stride: int = 1) -> torch.Tensor:
        confidence = torch.logit(0.98 * (1 - image[:, :, ::stride, ::stride]) + 0.01)
        return torch.cat((self.scale * confidence, confidence * 0, confidence * 0), dim=1)


def discs(noise: float, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    points = np.array([(12.0, 14.0), (40.0, 20.0), (25.0, 50.0), (50.0, 55.0)])
    y, x = np.mgrid[:64, :70]
    distance = np.min([np.hypot(y - p[0], x - p[1]) for p in points], axis=0)
    grey = np.where(distance < 5, 60, 220) + noise * rng.normal(size=y.shape)
    return grey.clip(0, 255).astype(np.uint8), points


def test_noise_asks_for_more_smoothing_and_the_score_is_that_of_the_settings() -> None:
    images = [discs(noise=50, seed=seed) for seed in range(3)]
    own = DetectionSettings(sigma=1.2, window=7, min_distance=2, threshold=0.1, stride=1)
    detector = Detector(Darkness(), own)
    settings, evaluation = best_detection(detector, images, radius=4)
    assert settings.sigma > own.sigma
    assert settings.window >= 6 * settings.sigma
    assert not settings.relative
    assert detector.settings == own
    chosen = Detector(Darkness(), settings)
    again = evaluate_points([(chosen.detect(image).points, p) for image, p in images], 4)
    assert again.micro == evaluation.micro
    assert evaluation.micro.f1 > 0.9


def test_what_is_good_already_stays() -> None:
    own = DetectionSettings(sigma=3.0, window=19, min_distance=4, stride=2)
    images = [discs(noise=2)]
    settings, evaluation = best_detection(Detector(Darkness(), own), images, radius=4)
    assert evaluation.micro.f1 == 1
    assert (settings.sigma, settings.window, settings.min_distance) == (3.0, 19, 4)
    assert settings.stride == 2


@pytest.mark.parametrize("tuned", [True, False])
def test_it_is_saved_with_the_weights(tmp_path: Path, tuned: bool) -> None:
    folder = write_tiles(tmp_path / "tiles")
    config = tiny_config(steps=3, tune_smoothing=tuned, validation_fraction=0.5)
    result = fit(folder, tmp_path / "run", config, progress=False)
    _, description = load_weights(result.weights_path)
    assert ("tuned_on_validation" in description["scores"]) is tuned
    best = max(result.history.validation, key=lambda item: item.f1)
    if not tuned:
        assert description["detection"]["sigma"] == config.detection.sigma
        assert description["detection"]["threshold"] == best.threshold
        return
    detector = Detector.load(result.weights_path)
    held_out = [s for s in pair_by_stem(folder) if s.stem in _validation_stems(folder, config)]
    pairs = [(detector.detect(s.image).points, load_sample(s)[1]) for s in held_out]
    f1 = evaluate_points(pairs, config.radius).micro.f1
    assert f1 == description["scores"]["tuned_on_validation"]["f1"] >= best.f1


def _validation_stems(folder: Path, config: Any) -> list[str]:
    from dvfast.training.dataset import split

    held_out = split(pair_by_stem(folder), config.validation_fraction, config.seed)[1]
    return [sample.stem for sample in held_out]
