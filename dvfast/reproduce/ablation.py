"""What each setting is worth: one after the other is changed, on ``train/`` alone.

It is a study to choose by, so ``test/`` is not looked at. Networks learn from the training part,
and are read and scored on the validation part, which is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..bench.machine import describe
from ..data import Sample
from ..detection import Detector
from ..training import DivergenceError, TrainingConfig
from .data_sets import DataSet
from .preparation import parts, train, tune_threshold
from .protocol import describe_images, measure, prepare_output
from .records import Kind, Record, key_of
from .settings import Progress, Settings
from .variations import BASE, Variation, base_of, differences

__all__ = ["ABLATION", "STEPS", "ablate"]

ABLATION = Kind(
    "dvfast ablation 1", "validation", "a study of settings", "dvfast reproduce ablation -o"
)

STEPS = 2500


def ablate(
    data_sets: Sequence[DataSet],
    variations: Sequence[Variation],
    output: Path,
    settings: Settings,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Run the study, or what is missing of it, and return the records by data set.

    Parameters
    ----------
    data_sets, variations
        What to study on, and what: the base is among them.
    output
        A folder for the records, ``ablation-NAME.json`` of every data set, and the trainings; it is
        made. They grow after every variation, and a run that was stopped goes on from them. What
        depends on other settings, other data or another version of dvfast is done anew.
    settings
        The steps, by default :data:`STEPS`, and the device.
    progress
        How to tell; silently by default.

    Raises
    ------
    InputError
        If the data cannot be used, or the training of the base fails.
    """
    progress = progress or Progress()
    prepare_output(output, data_sets)
    records = {}
    for data_set in data_sets:
        base = base_of(data_set, settings.steps or STEPS)
        samples = parts(data_set, base)[1]
        path = output / f"ablation-{data_set.name}.json"
        record = Record(path, data_set, describe_images(samples), ABLATION)
        folder = output / "trainings" / data_set.name
        study = _Study(data_set, base, samples, record.fingerprint, settings, progress)
        for variation in variations:
            if variation is not BASE and not variation.varies(base, data_set):
                continue
            key = study.key(variation)
            if record.is_current(variation.key, key):
                continue
            progress.note(f"{data_set.name}: {variation.group}, {variation.name}")
            record.add(variation.key, {"key": key, **study.entry(variation, folder)})
        records[data_set.name] = record.data
    return records


class _Study:
    """What the variations on a data set have in common."""

    def __init__(
        self,
        data_set: DataSet,
        base: TrainingConfig,
        samples: Sequence[Sample],
        fingerprint: str,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._data_set = data_set
        self._base = base
        self._samples = samples
        self._settings = settings
        self._progress = progress
        # Of every variation: its split is the base's, whatever its seed.
        self._common = {
            "data": fingerprint,
            "device": settings.device,
            "split_seed": base.seed,
        }

    def key(self, variation: Variation) -> str:
        """Of all that the entry depends on."""
        config = variation.change(self._base, self._data_set)
        return key_of(
            **self._common,
            base=self._base.to_dict(),
            config=config.to_dict(),
            reading=_reading(variation, config),
        )

    def entry(self, variation: Variation, folder: Path) -> dict[str, Any]:
        """Train, unless another variation has, read and measure."""
        config = variation.change(self._base, self._data_set)
        reading = _reading(variation, config)
        place = folder / f"ablation-{key_of(**self._common, config=config.to_dict())[:8]}"
        entry: dict[str, Any] = {
            "settings": config.to_dict(),
            "changes": differences(config, self._base),
            "reading": reading,
            "training": place.name,
            "machine": describe(torch.device(self._settings.device), torch.get_num_threads()),
        }
        try:
            weights, seconds = train(
                config,
                self._data_set,
                place,
                self._settings,
                self._progress,
                split_seed=self._base.seed,
            )
        except DivergenceError as error:
            if variation is BASE:
                raise
            return {**entry, "failed": str(error)}  # which is a result, too
        detector = Detector.load(weights).to(self._settings.device)
        radius = self._data_set.radius
        if reading is not None:
            detector.settings = replace(detector.settings, **reading)
            if "threshold" not in reading:
                tune_threshold(detector, self._samples, radius, self._progress, variation.name)
        images = measure(
            lambda image: detector.detect(image).points,
            self._samples,
            radius,
            self._progress,
            f"{variation.name}: detecting",
        )
        return {
            **entry,
            "detection": detector.settings.to_dict(),
            "training_seconds": seconds,
            "images": images,
        }


def _reading(variation: Variation, config: TrainingConfig) -> dict[str, Any] | None:
    return None if variation.reading is None else dict(variation.reading(config))
