"""The comparison: every method is prepared on ``train/``, then measured on ``test/``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..baselines.regions import require_opencv
from ..bench.machine import describe
from ..data import Sample, load_sample, pair_by_stem
from ..data.paths import make_folder
from ..errors import InputError
from .data_sets import DataSet
from .methods import Method
from .preparation import Prepared, prepare, recipe
from .records import Record, key_of, matches
from .settings import Progress, Settings, evenly
from .sliding import slide

__all__ = ["compare", "describe_images", "measure", "prepare_output"]


def compare(
    data_sets: Sequence[DataSet],
    methods: Sequence[Method],
    output: Path,
    settings: Settings,
    progress: Progress | None = None,
    suffix: str = "",
) -> dict[str, dict[str, Any]]:
    """Run the comparison, or what is missing of it, and return the records by data set.

    Parameters
    ----------
    data_sets, methods
        What to compare on, and what.
    output
        A folder for the records, ``NAME.json`` of every data set, and the trainings; it is made.
        They grow after every method and seed, and a run that was stopped goes on from them. What
        depends on other settings, other data or another version of dvfast is done anew.
    settings
        How much of it.
    progress
        How to tell; silently by default.
    suffix
        Added to the names of the records, to keep runs of different size apart.

    Raises
    ------
    InputError
        If the data cannot be used, a method needs a package that is not there, or sliding and fast
        scanning differ.
    """
    progress = progress or Progress()
    if not methods:
        raise InputError("methods: came empty, expected at least one")
    if any(method.baseline == "ners" for method in methods):
        _check_opencv()
    prepare_output(output, data_sets)
    records = {}
    for data_set in data_sets:
        name = f"{data_set.name}{suffix}"
        samples = evenly(pair_by_stem(data_set.test), settings.test_images)
        record = Record(output / f"{name}.json", data_set, describe_images(samples))
        folder = output / "trainings" / name
        for method in methods:
            for seed in range(settings.seeds_of(method.key)):
                what = recipe(method, data_set, seed, settings)
                key = key_of(**what, data=record.fingerprint)
                if record.is_current(f"{method.key}/{seed}", key):
                    continue
                progress.note(f"{data_set.name}: {method.name}, seed {seed}")
                prepared = prepare(
                    method, data_set, seed, settings, folder, record.fingerprint, progress
                )
                entry = _measured(method, prepared, samples, data_set, settings, progress)
                record.add(f"{method.key}/{seed}", {"key": key, **entry})
        records[data_set.name] = record.data
    return records


def _check_opencv() -> None:
    """Before the networks of other rows are trained for hours."""
    try:
        require_opencv()
    except ImportError as error:
        raise InputError(f"methods: {error}, or leave ners out") from None


def prepare_output(output: Path, data_sets: Sequence[DataSet]) -> None:
    """Make the folder of records, one of every data set.

    Raises
    ------
    InputError
        If two data sets have the same name, or the folder cannot be made.
    """
    names = [data_set.name for data_set in data_sets]
    if len(set(names)) < len(names):
        raise InputError(
            f"folders: came as {', '.join(names)}, expected different names; rename one, as "
            "records are called after them"
        )
    make_folder(output)


def describe_images(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """What a record says of the images that are measured on."""
    described = []
    for sample in samples:
        image, truth = load_sample(sample)
        described.append(
            {
                "stem": sample.stem,
                "height": image.shape[0],
                "width": image.shape[1],
                "annotations": len(truth),
            }
        )
    return described


def measure(
    detect: Callable[[NDArray[Any]], NDArray[np.float64]],
    samples: Sequence[Sample],
    radius: float,
    progress: Progress,
    what: str,
) -> list[dict[str, Any]]:
    """What is found in images, how long it takes, and how it meets their annotations."""
    images: list[dict[str, Any]] = []
    for sample in progress.track(samples, what):
        image, truth = load_sample(sample)
        if not images:
            detect(image)  # what is set up once is no part of an image's time
        start = time.perf_counter()
        found = detect(image)
        seconds = time.perf_counter() - start
        points = np.asarray(found, dtype=np.float64).reshape(-1, 2).round(2)
        images.append(
            {
                "points": points.tolist(),
                "seconds": seconds,
                "matches": matches(points, truth, radius),
            }
        )
    return images


def _measured(
    method: Method,
    prepared: Prepared,
    samples: Sequence[Sample],
    data_set: DataSet,
    settings: Settings,
    progress: Progress,
) -> dict[str, Any]:
    what = f"{method.name}: detecting"
    images = measure(prepared.detect, samples, data_set.radius, progress, what)
    entry = {
        "parameters": prepared.parameters,
        "preparation_seconds": prepared.seconds,
        "machine": describe(torch.device(settings.device), torch.get_num_threads()),
        "images": images,
    }
    if method.sliding and prepared.detector is not None:
        few = evenly(samples, settings.sliding_images)
        entry["sliding"] = slide(prepared.detector, few, method.name, progress)
    return entry
