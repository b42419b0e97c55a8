"""Training: a folder of images and clicks in, a network out."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from .._arguments import wrong_type
from ..data.paths import make_folder, remove_empty
from ..detection import Detector
from ..errors import InputError
from ..evaluation import evaluate_points
from ..nn import VotingNetwork
from ..weights import save_weights
from .config import TrainingConfig
from .dataset import TrainingSet, hashed_seed
from .history import History, Validation
from .objective import Objective
from .processes import Processes, running_processes
from .smoothing import best_detection
from .state import TrainingState
from .threshold import ALL_PEAKS, best_threshold

__all__ = ["DivergenceError", "FitResult", "fit"]

# Preparing a batch takes the CPU about as long as a GPU needs to learn from it.
_CUDA_PREFETCH = 4


class DivergenceError(InputError):
    """The loss of a training is no longer finite."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """What :func:`fit` returns.

    Attributes
    ----------
    net : VotingNetwork
        With the weights of the best validation, or the last ones where nothing was validated; in
        evaluation mode.
    history : History
        The loss of every step, and the validations.
    best_f1 : float or None
        The F1 of the best validation.
    weights_path : pathlib.Path
        The file of the weights, see :func:`dvfast.weights.load_weights`.
    """

    net: VotingNetwork
    history: History
    best_f1: float | None
    weights_path: Path


def fit(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    config: TrainingConfig | None = None,
    *,
    resume: bool = True,
    progress: bool = True,
    device: str | torch.device | None = None,
    checkpoint_seconds: float = 30.0,
    data_description: Mapping[str, Any] | None = None,
    split_seed: int | None = None,
    validation_folder: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Train a network on a folder of images with one click per nucleus.

    A run that was stopped, or killed at any moment, continues from its last checkpoint when it is
    called again with the same arguments; on a CPU it ends with the same bits as an uninterrupted
    one. Under ``torchrun`` the processes share every batch (gloo on CPUs, nccl on GPUs) and must
    see the same files; the first one validates and writes.

    Parameters
    ----------
    folder
        Images with click files of the same stem, see :func:`dvfast.data.pair_by_stem`.
    output
        A folder for ``weights.safetensors``, ``history.json``, ``curve.png`` and
        ``checkpoint.safetensors``; made if it is missing.
    config
        The settings; those of :meth:`TrainingConfig.unet` by default.
    resume
        Whether to continue from a checkpoint in `output`; otherwise it is overwritten.
    progress
        Whether to show a progress bar on the standard error.
    device
        ``"cpu"`` by default; ``"cuda"`` is the process's own CUDA device, under torchrun, too.
    checkpoint_seconds
        Least time between two checkpoints; 0 writes one after every step.
    data_description
        Saved with the weights as what they were trained on: ``name``, ``licence``,
        ``attribution`` and the like. The number of images and nuclei is added.
    split_seed
        Draws the validation part, for trainings that are to share one although their seeds differ;
        by default the seed of the settings.
    validation_folder
        Images with click files to validate on, instead of a part of `folder`: where images come of
        the same slide or patient, these belong on one side. The `validation_fraction` of the
        settings plays no part then.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        If the data cannot be used, an image is in both folders, the output folder cannot be
        written, the checkpoint belongs to other settings or other data, or the loss is no longer
        finite (a DivergenceError).

    Examples
    --------
    >>> import dvfast
    >>> config = dvfast.TrainingConfig.modern(steps=2000)
    >>> result = dvfast.fit("tiles/train", "runs/first", config)  # doctest: +SKIP
    >>> dvfast.Detector.load(result.weights_path)  # doctest: +SKIP
    """
    if not isinstance(config, TrainingConfig | None):
        raise wrong_type("config", config, "a TrainingConfig or None")
    config = config or TrainingConfig.unet()
    _check_description(data_description)
    if split_seed is not None and validation_folder is not None:
        raise InputError(
            "split_seed: draws a part of folder, which all of it is trained on where there is a "
            "validation_folder; give one of the two"
        )
    for images in (folder, validation_folder):
        if images is not None and os.path.realpath(output) == os.path.realpath(images):
            raise InputError(
                f"output: is {images}, the folder of the images, whose files what is written there "
                "would be taken for; choose another"
            )
    output = Path(output)
    checkpoint, weights_path = output / "checkpoint.safetensors", output / "weights.safetensors"
    with (
        _made(output),
        running_processes(device) as processes,
        _kept_random_state(processes.device),
    ):
        if config.batch_size % processes.count:
            raise InputError(
                f"batch_size: {config.batch_size} cannot be shared evenly by {processes.count} "
                "processes; choose a multiple"
            )
        data = TrainingSet(folder, config, split_seed, validation_folder)
        # Read at once, so that a bad file stops the run before it has cost hours.
        validation = data.load_validation() if processes.leads else []
        names = [str(sample.image) for sample in data.validation]
        if data.nuclei == 0:
            raise InputError(f"{folder}: no image of the training part has a click")
        if validation and not any(len(points) for _, points in validation):
            raise InputError(
                "validation_fraction: no image of the validation part has a click, so nothing "
                "could be chosen by it; add images, set it higher, or to 0"
                if validation_folder is None
                else f"{validation_folder}: no image has a click, so nothing could be chosen by it"
            )
        torch.manual_seed(hashed_seed(config.seed))
        state = TrainingState(config, processes.device)
        if resume and checkpoint.exists():
            state.load(checkpoint, data.fingerprint)
        processes.wait()
        _train(
            state,
            data,
            config,
            processes,
            validate=lambda: _validate(state, validation, names, config),
            save=lambda: state.save(checkpoint, data.fingerprint),
            checkpoint_seconds=checkpoint_seconds,
            progress=progress,
        )
        processes.wait()
        if not processes.leads:
            state.load(checkpoint, data.fingerprint)
        net = state.best_net()
        if processes.leads:
            description = _description(config, data, state, data_description or {})
            if validation and config.tune_threshold and config.tune_smoothing:
                description |= _smoothing(net, validation, names, config, description)
            save_weights(weights_path, net, description)
            state.history.write_json(output / "history.json")
            state.history.write_curve(output / "curve.png")
        processes.wait()
    return FitResult(net, state.history, state.best_f1, weights_path)


def _check_description(description: Mapping[str, Any] | None) -> None:
    """Before hours of training, and not when weights are saved with it."""
    try:
        json.dumps(dict(description or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"data_description: cannot be saved as JSON: {error}") from None


def _train(
    state: TrainingState,
    data: TrainingSet,
    config: TrainingConfig,
    processes: Processes,
    *,
    validate: Callable[[], Validation],
    save: Callable[[], None],
    checkpoint_seconds: float,
    progress: bool,
) -> None:
    objective = processes.share(Objective(state.net, config))
    with _progress_bar(progress and processes.leads) as bar:
        task = bar.add_task("train", total=config.steps, completed=state.step, loss="", f1="")
        saved_at = time.monotonic()
        for images, targets in _batches(data, state.step, config, processes):
            torch.manual_seed(hashed_seed(config.seed, state.step, processes.rank, 1))
            state.start_step()
            loss = objective(images, targets)
            loss.backward()
            value = processes.mean(loss).item()
            if not math.isfinite(value):
                raise DivergenceError(
                    f"learning_rate: with {config.learning_rate} the loss became {value} at step "
                    f"{state.step + 1}; choose a lower one"
                )
            state.finish_step(value)
            bar.update(task, advance=1, loss=f"{value:.2f}")
            if not processes.leads:
                continue
            last = state.step == config.steps
            due = data.validation and (last or state.step % config.validate_every == 0)
            if due:
                bar.update(task, description="validate")
                state.note(validate())
                bar.update(task, description="train", f1=f"{state.history.validation[-1].f1:.3f}")
            if last or due or time.monotonic() - saved_at >= checkpoint_seconds:
                save()
                saved_at = time.monotonic()


def _batches(
    data: TrainingSet, first: int, config: TrainingConfig, processes: Processes
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of this process, from step `first` on, on its device."""
    device = processes.device

    def batch(step: int) -> tuple[Tensor, Tensor]:
        images, targets = data.batch(step, processes.rank, processes.count)
        images = images.contiguous(memory_format=torch.channels_last)
        return images.to(device), targets.to(device)

    if device.type != "cuda":
        yield from map(batch, range(first, config.steps))
        return
    with ThreadPoolExecutor(_CUDA_PREFETCH) as pool:
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for step in range(first, config.steps):
            waiting.append(pool.submit(batch, step))
            if len(waiting) > _CUDA_PREFETCH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _validate(
    state: TrainingState,
    images: list[tuple[NDArray[Any], NDArray[np.float64]]],
    names: list[str],
    config: TrainingConfig,
) -> Validation:
    settings = config.detection
    if config.tune_threshold:
        settings = replace(settings, threshold=ALL_PEAKS, relative=False)
    detector = Detector(
        state.trained_net.eval(),
        settings,
        pixel_size=config.working_pixel_size,
        image_pixel_size=config.image_pixel_size,
    )
    found = [
        (detector.detect(image, name=name), points)
        for (image, points), name in zip(images, names, strict=True)
    ]
    threshold = None
    if config.tune_threshold:
        threshold, evaluation = best_threshold(found, config.radius)
    else:
        pairs = [(result.points, points) for result, points in found]
        evaluation = evaluate_points(pairs, config.radius)
    micro = evaluation.micro
    return Validation(
        state.step, micro.precision, micro.recall, micro.f1, evaluation.macro.f1, threshold
    )


def _description(
    config: TrainingConfig, data: TrainingSet, state: TrainingState, given: Mapping[str, Any]
) -> dict[str, Any]:
    best = max(state.history.validation, key=lambda item: item.f1, default=None)
    detection = config.detection
    if best is not None and best.threshold is not None:
        detection = replace(detection, threshold=best.threshold, relative=False)
    return {
        "pixel_size": config.working_pixel_size,
        "image_pixel_size": config.image_pixel_size,
        "detection": detection.to_dict(),
        "training": config.to_dict(),
        "data": {
            **given,
            "training_images": len(data.training),
            "training_nuclei": data.nuclei,
            "validation_images": len(data.validation),
        },
        "scores": {"validation": {**asdict(best), "radius": config.radius}} if best else {},
    }


def _smoothing(
    net: VotingNetwork,
    validation: list[tuple[NDArray[Any], NDArray[np.float64]]],
    names: list[str],
    config: TrainingConfig,
    description: dict[str, Any],
) -> dict[str, Any]:
    """What the description says otherwise, once smoothing is chosen for the best network."""
    detector = Detector(
        net,
        config.detection,
        pixel_size=config.working_pixel_size,
        image_pixel_size=config.image_pixel_size,
    )
    settings, evaluation = best_detection(detector, validation, config.radius, names)
    tuned = {
        **asdict(evaluation.micro),
        "macro_f1": evaluation.macro.f1,
        "radius": config.radius,
    }
    return {
        "detection": settings.to_dict(),
        "scores": {**description["scores"], "tuned_on_validation": tuned},
    }


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder to write into; it goes again if the run fails before anything is in it."""
    made = make_folder(folder)
    try:
        yield
    except BaseException:
        remove_empty(made)
        raise


def _kept_random_state(device: torch.device) -> AbstractContextManager[None]:
    """The caller's random numbers go on afterwards as if nothing had been seeded inside."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _progress_bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("F1 {task.fields[f1]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
