"""Little images of dark nuclei with their clicks, for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dvfast.data.augment import Augmentation
from dvfast.detection import DetectionSettings
from dvfast.training import TrainingConfig


def write_tile(
    folder: Path,
    stem: str,
    points: np.ndarray,
    size: tuple[int, int],
    sigma: float = 2.5,
    seed: int = 0,
) -> None:
    """A noisy pale tile with a dark spot at every point; with `sigma` 0, a dark pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[: size[0], : size[1]]
    noise = np.random.default_rng(seed).normal(220, 8 if sigma else 0, size)
    distance = (
        np.min([(y - p[0]) ** 2 + (x - p[1]) ** 2 for p in points], axis=0)
        if len(points)
        else np.full(size, np.inf)
    )
    spots = np.exp(-distance / (2 * sigma**2)) if sigma else distance == 0
    grey = np.clip(noise - 200 * spots, 0, 255).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(folder / f"{stem}.png")
    rows = "".join(f"{p[0]},{p[1]}\n" for p in points)
    (folder / f"{stem}.csv").write_text("y,x\n" + rows)


def write_tiles(
    folder: Path,
    count: int = 5,
    size: tuple[int, int] = (48, 56),
    nuclei: int = 6,
    sigma: float = 2.5,
) -> Path:
    """A folder of random tiles."""
    for i in range(count):
        rng = np.random.default_rng(i)
        points = np.stack([rng.integers(0, n, nuclei) for n in size], axis=-1)
        write_tile(folder, f"tile_{i}", points, size, sigma, seed=i)
    return folder


def tiny_config(**changes: Any) -> TrainingConfig:
    """Seconds of training."""
    settings: dict[str, Any] = {
        "channels": (4, 4, 4),
        "hidden": (8,),
        "r1": 6.0,
        "r2": 12.0,
        "batch_size": 4,
        "crop_size": 4,
        "crop_stride": 3,
        "steps": 12,
        "learning_rate": 1e-3,
        "augmentation": Augmentation(brightness=0.1, contrast=0.1, stain_gain=0.1, stain_bias=0.1),
        "validation_fraction": 0.3,
        "validate_every": 5,
        "image_pixel_size": None,
        "pixel_size": None,
        "radius": 4.0,
        "detection": DetectionSettings(stride=2, sigma=2.0, window=7),
    }
    return TrainingConfig(**{**settings, **changes})
