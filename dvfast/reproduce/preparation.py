"""From a row of the table to a detector, by training and tuning on ``train/`` alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..baselines import BASELINES, tune
from ..data import Sample, load_sample, pair_by_stem
from ..data.json_files import read_record, write_json
from ..data.paths import existing_file
from ..detection import Detector
from ..evaluation import Evaluation
from ..scan import Precision
from ..training import TrainingConfig, fit
from ..training.dataset import split
from ..training.threshold import ALL_PEAKS, best_threshold
from ..weights import available, path_of
from .data_sets import DataSet
from .methods import Method, Network
from .records import key_of
from .settings import Progress, Settings, evenly

__all__ = ["Prepared", "parts", "prepare", "recipe", "train", "tune_threshold"]

_TRAINING, _TUNING = "dvfast training 1", "dvfast tuning 1"
_COMMAND = "dvfast reproduce"


@dataclass(frozen=True)
class Prepared:
    """A method that is ready for images it has not seen.

    Attributes
    ----------
    detect : callable
        From an image to points ``[n, 2]``, (y, x) in pixels.
    parameters : dict
        What was chosen, fit for JSON.
    seconds : float or None
        Of training and tuning; None where a training was interrupted, or the weights were ready.
    detector : Detector or None
        Of a network.
    """

    detect: Callable[[NDArray[Any]], NDArray[np.float64]]
    parameters: dict[str, Any]
    seconds: float | None
    detector: Detector | None = None


def recipe(method: Method, data_set: DataSet, seed: int, settings: Settings) -> dict[str, Any]:
    """All that the result of a row depends on, but for the data and the version of dvfast."""
    what: dict[str, Any] = {**asdict(method), "network": None, "seed": seed}
    what |= {"radius": data_set.radius, "test_images": settings.test_images}
    what["validation_fraction"] = data_set.validation_fraction
    for name in ("name", "citation"):  # words of the table
        what.pop(name)
    if method.network is None:
        baseline = BASELINES[str(method.baseline)]
        grid = {**baseline.grid, **baseline.in_radii, "thresholds": baseline.thresholds}
        what |= {"stain": data_set.stain, "grid": grid, "tuning_images": settings.tuning_images}
        return what | ({"learns_from": "all"} if baseline.train is not None else {})
    source = _source(method.network, data_set, seed, settings)
    what |= {"network": _identity(source), "device": settings.device}
    if radius := _centroid_radius(source, data_set):
        what["centroid_radius"] = radius
    return what | ({"sliding_images": settings.sliding_images} if method.sliding else {})


def prepare(
    method: Method,
    data_set: DataSet,
    seed: int,
    settings: Settings,
    folder: Path,
    fingerprint: str,
    progress: Progress,
) -> Prepared:
    """Train what is to be trained, and choose thresholds and parameters.

    Parameters
    ----------
    method, data_set, seed, settings
        What to prepare. The seed also draws the validation part.
    folder
        For trainings, which rows share and which go on where they were stopped.
    fingerprint
        Of the data.
    progress
        How to tell.

    Raises
    ------
    InputError
        If the data cannot be used, a training fails, or weights cannot be read.
    """
    if method.network is None:
        what = recipe(method, data_set, seed, replace(settings, test_images=None))
        digest = key_of(**what, data=fingerprint)
        note = folder / f"{method.key}-{seed}-{digest[:8]}.json"
        return _tuned(method, data_set, seed, settings, note, progress)
    source = _source(method.network, data_set, seed, settings)
    config = source if isinstance(source, TrainingConfig) else _split_settings(data_set, seed)
    if isinstance(source, TrainingConfig):
        digest = key_of(network=_identity(source), data=fingerprint, device=settings.device)
        place = folder / f"{method.network.name}-{seed}-{digest[:8]}"
        weights, seconds = train(source, data_set, place, settings, progress)
    else:
        weights, seconds = source, None
    detector = Detector.load(weights).to(settings.device)
    detector.settings = detector.settings_with(
        stride=method.stride, orientations=method.orientations
    )
    if radius := _centroid_radius(source, data_set):
        detector.settings = replace(detector.settings, centroid_radius=radius)
    chosen: dict[str, Any] = {"precision": method.precision}
    if not detector.settings.relative:
        # Voters at another distance, another density: every row chooses its own threshold.
        start = time.perf_counter()
        samples = parts(data_set, config)[1]
        evaluation = tune_threshold(
            detector, samples, data_set.radius, progress, method.name, method.precision
        )
        chosen["validation_f1"] = evaluation.micro.f1
        seconds = None if seconds is None else seconds + time.perf_counter() - start
    return Prepared(
        lambda image: detector.detect(image, precision=method.precision).points,
        {**detector.settings.to_dict(), **chosen},
        seconds,
        detector,
    )


def tune_threshold(
    detector: Detector,
    samples: Sequence[Sample],
    radius: float,
    progress: Progress,
    name: str,
    precision: Precision = "float32",
) -> Evaluation:
    """Choose the threshold of a detector, relative or absolute as it has it, and score it."""
    relative = detector.settings.relative
    detector.settings = replace(detector.settings, threshold=ALL_PEAKS, relative=False)
    found = []
    for sample in progress.track(samples, f"{name}: threshold"):
        image, points = load_sample(sample)
        found.append((detector.detect(image, precision=precision), points))
    threshold, evaluation = best_threshold(found, radius, relative)
    detector.settings = replace(detector.settings, threshold=threshold, relative=relative)
    return evaluation


def parts(data_set: DataSet, config: TrainingConfig) -> tuple[list[Sample], list[Sample]]:
    """The training and the validation part, as :func:`dvfast.fit` divides them."""
    return split(pair_by_stem(data_set.train), config.validation_fraction, config.seed)


def _split_settings(data_set: DataSet, seed: int) -> TrainingConfig:
    return TrainingConfig(validation_fraction=data_set.validation_fraction, seed=seed)


def _tuned(
    method: Method,
    data_set: DataSet,
    seed: int,
    settings: Settings,
    note: Path,
    progress: Progress,
) -> Prepared:
    """A classical method: learnt on the training part, its parameters from the validation part.

    A file notes what was chosen, which takes long; what was learnt does not, and is learnt again.
    """
    to_learn, to_tune = parts(data_set, _split_settings(data_set, seed))
    if BASELINES[str(method.baseline)].train is None:
        to_learn = []
    (training, clicks), (validation, truth) = (
        _loaded(part) for part in (to_learn, evenly(to_tune, settings.tuning_images))
    )
    start = time.perf_counter()
    radius = data_set.radius
    with progress.busy(f"{method.name}: tuning"):
        fitted = BASELINES[str(method.baseline)].fit(
            training, clicks, stain=data_set.stain, nucleus_radius=radius
        )
        if note.exists():
            chosen = read_record(note, _TUNING, "a choice of parameters", _COMMAND)
        else:
            tuning = tune(fitted, validation, truth, radius, nucleus_radius=radius)
            chosen = {
                "format": _TUNING,
                "parameters": tuning.parameters,
                "validation_f1": tuning.evaluation.micro.f1,
                "seconds": time.perf_counter() - start,
            }
            note.parent.mkdir(parents=True, exist_ok=True)
            write_json(note, chosen)
    parameters = chosen["parameters"]
    return Prepared(
        lambda image: fitted.detect(image, **parameters)[0],
        {
            **parameters,
            "stain": data_set.stain,
            "validation_f1": chosen["validation_f1"],
            "training_images": len(training),
            "validation_images": len(validation),
        },
        chosen["seconds"],
    )


def _loaded(samples: Sequence[Sample]) -> tuple[list[NDArray[Any]], list[NDArray[np.float64]]]:
    loaded = [load_sample(sample) for sample in samples]
    return [image for image, _ in loaded], [points for _, points in loaded]


def _source(
    network: Network, data_set: DataSet, seed: int, settings: Settings
) -> TrainingConfig | Path:
    source = network.source(data_set)
    if isinstance(source, TrainingConfig):
        return replace(source, seed=seed, steps=settings.steps or source.steps)
    if isinstance(source, str) and source in available():
        return path_of(source)
    return existing_file(source)


def _centroid_radius(source: TrainingConfig | Path, data_set: DataSet) -> float:
    """How a U-Net's peaks are read, whatever it was trained to give; in its pixels."""
    if not isinstance(source, TrainingConfig) or source.network != "unet":
        return 0.0
    return data_set.unet_centroid * data_set.radius * source.scale


def _identity(source: TrainingConfig | Path) -> Any:
    if isinstance(source, TrainingConfig):
        settings = source.to_dict()
        # What came later and is not made use of leaves older trainings what they are.
        if not settings["detection"]["centroid_radius"]:
            del settings["detection"]["centroid_radius"]
        return settings
    return hashlib.sha256(source.read_bytes()).hexdigest()


def train(
    config: TrainingConfig,
    data_set: DataSet,
    place: Path,
    settings: Settings,
    progress: Progress,
    split_seed: int | None = None,
) -> tuple[Path, float | None]:
    """The weights of a training, made now unless they are there, and the seconds that it took.

    `place` is a folder of this training alone, `split_seed` as for :func:`dvfast.fit`.
    """
    weights, note = place / "weights.safetensors", place / "training.json"
    if note.exists() and weights.exists():
        return weights, read_record(note, _TRAINING, "a training", _COMMAND)["seconds"]
    interrupted = place.exists()  # then nobody knows how long it took before
    start = time.perf_counter()
    fit(
        data_set.train,
        place,
        config,
        progress=progress.shown,
        device=settings.device,
        data_description={
            "name": data_set.title,
            "licence": data_set.licence,
            "attribution": data_set.attribution,
        },
        split_seed=split_seed,
    )
    seconds = None if interrupted else time.perf_counter() - start
    write_json(note, {"format": _TRAINING, "seconds": seconds})
    return weights, seconds
