"""Training images with their clicks, and the random batches that are cut from them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.augment import augment, draw_zoom
from ..data.decoding import ome_pixel_size
from ..data.files import Sample, load_sample, pair_by_stem, refuse_shared_images
from ..data.fingerprint import fingerprint_of
from ..data.images import (
    image_to_tensor,
    least_contrast,
    normalize,
    resample,
    resample_points,
)
from ..errors import InputError
from ..scan import pad_image
from .config import TrainingConfig
from .objective import make_targets

__all__ = ["TrainingSet", "hashed_seed", "split"]

_SAME_SIZE = 0.02  # by which files of one microscope may differ


class TrainingSet:
    """A folder of images and click files, split into a training and a validation part.

    The training images are resampled to the scale of the network once, padded as in detection, and
    held as float16 (6 bytes per RGB pixel; finer than the 8 bits of most files). The validation
    images stay on the disk until they are asked for.

    Parameters
    ----------
    folder
        Images with click files of the same stem, see :func:`dvfast.data.pair_by_stem`.
    config
        The scale, the split, the kind of samples, the augmentation and the seed.
    split_seed
        Draws the validation part; by default the seed of the settings.
    validation_folder
        Its images are the validation part, and all of `folder` the training part.

    Attributes
    ----------
    training, validation : list of Sample
        Which files belong to which part.
    fingerprint : str
        Changes when a file comes, goes or changes, or another seed draws the split.
    nuclei : int
        Clicks in the training part.

    Raises
    ------
    InputError
        If the folder or a file in it cannot be used; the message names it.

    Examples
    --------
    >>> data = TrainingSet("tiles/train", TrainingConfig.modern())  # doctest: +SKIP
    >>> images, targets = data.batch(step=0)  # doctest: +SKIP
    >>> images.shape, targets.shape  # doctest: +SKIP
    (torch.Size([8, 3, 131, 131]), torch.Size([8, 6, 24, 24]))
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        config: TrainingConfig,
        split_seed: int | None = None,
        validation_folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self._config = config
        samples = pair_by_stem(folder)
        self.fingerprint = _fingerprint(samples)
        if validation_folder is None:
            seed = config.seed if split_seed is None else split_seed
            self.training, self.validation = split(samples, config.validation_fraction, seed)
            if seed != config.seed:  # otherwise the settings say it
                self.fingerprint += f"-{seed}"
        else:
            self.training, self.validation = samples, pair_by_stem(validation_folder)
            refuse_shared_images(self.training, self.validation)
            self.fingerprint += f"+{_fingerprint(self.validation)}"
        self._grid, self._stride = config.grid
        self._margin = config.build_network("meta").margin
        self._span = (self._grid - 1) * self._stride + 1
        self._images: list[Tensor] = []
        self._points: list[Tensor] = []
        for sample in self.training:
            image, points = _at_working_scale(sample, config)
            image, points = _at_least(self._span, image, points)
            padded = pad_image(
                torch.from_numpy(image)[None], self._margin, config.detection.padding
            )[0]
            self._images.append(padded.half())
            self._points.append(torch.from_numpy(points.astype(np.float32)))
        self._pixels_before = np.cumsum([0, *(height * width for height, width in self._sizes())])
        self.nuclei = sum(len(points) for points in self._points)

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> tuple[Tensor, Tensor]:
        """Return the batch of a step, or the part of it that one of several processes works on.

        The batch depends on the seed of the settings and on `step` alone: a run that resumes at
        this step, or shares it among processes, sees the same samples.

        Parameters
        ----------
        step
            From 0.
        rank, world_size
            This process and the number of processes; `world_size` divides the batch size.

        Returns
        -------
        images
            ``[b, C, h, w]`` float32 in [0, 1], with the network's margin around the votes.
        targets
            ``[b, 3k, n, n]`` float32; n is 1 for patches. Confidences alone count if the network
            is not to vote, see :func:`dvfast.training.objective.make_targets`.
        """
        share = self._config.batch_size // world_size
        drawn = [self._draw(step, rank * share + i) for i in range(share)]
        last = self._margin + self._span
        targets = make_targets(
            self._config,
            [points for _, points in drawn],
            (last, last),
            stride=self._stride,
            offset=self._margin,
        )
        return torch.stack([image for image, _ in drawn]), targets

    def load_validation(self) -> list[tuple[NDArray[Any], NDArray[np.float64]]]:
        """Read the validation images and their points, at the scale of the files.

        Raises
        ------
        InputError
            If a file cannot be used, also such as would fail in detection only.
        """
        loaded = []
        for sample in self.validation:
            image, points = _load(sample, self._config)
            image_to_tensor(image, self._config.in_channels, str(sample.image))
            loaded.append((image, points))
        return loaded

    def _sizes(self) -> list[tuple[int, int]]:
        return [
            (image.shape[1] - 2 * self._margin, image.shape[2] - 2 * self._margin)
            for image in self._images
        ]

    def _draw(self, step: int, index: int) -> tuple[Tensor, Tensor]:
        """One augmented sample of the global batch: ``[C, h, w]`` and its points ``[n, 2]``."""
        generator = torch.Generator().manual_seed(hashed_seed(self._config.seed, step, index))
        pixel = int(torch.randint(int(self._pixels_before[-1]), (), generator=generator))
        which = int(np.searchsorted(self._pixels_before, pixel, side="right")) - 1
        height, width = self._sizes()[which]
        y, x = divmod(pixel - int(self._pixels_before[which]), width)
        size = self._span + 2 * self._margin
        zoom = draw_zoom(self._config.augmentation, generator)
        shown = min(round(size / zoom), height + 2 * self._margin, width + 2 * self._margin)
        # Any pixel may be the centre of a crop, which is then moved into the image: to draw the
        # corner of the crop evenly would hardly ever show the network the border of an image.
        span = shown - 2 * self._margin
        top = _moved_inside(y - span // 2, height - span, self._stride)
        left = _moved_inside(x - span // 2, width - span, self._stride)
        image = self._images[which][:, top : top + shown, left : left + shown].float()
        points = self._points[which] - torch.tensor([top - self._margin, left - self._margin])
        if shown != size:
            image = resample(image, size / shown)
            points = resample_points(points, (shown, shown), (size, size))
        return augment(image, points, self._config.augmentation, generator)


def split(
    samples: Sequence[Sample], fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Divide samples into a training and a validation part, by nothing but their stems and a seed.

    Parameters
    ----------
    samples
        In any order.
    fraction
        Share of the validation part; unless it is 0, at least one sample.
    seed
        Another seed gives another split.

    Returns
    -------
    training, validation
        Both in the order of `samples`.

    Raises
    ------
    InputError
        If nothing would be left to train on.
    """
    count = max(1, round(fraction * len(samples))) if fraction > 0 else 0
    if count >= len(samples):
        raise InputError(
            f"validation_fraction: {fraction} of {len(samples)} images leaves none to train on; "
            "add images or set it to 0"
        )
    ranked = sorted(
        samples, key=lambda item: hashlib.sha256(os.fsencode(f"{seed}/{item.stem}")).digest()
    )
    held_out = {item.stem for item in ranked[:count]}
    return (
        [item for item in samples if item.stem not in held_out],
        [item for item in samples if item.stem in held_out],
    )


def _moved_inside(start: int, last: int, stride: int) -> int:
    """`start` moved into 0 ... `last`: by whole strides if possible, so no phase is preferred."""
    if start < 0:
        start %= stride
    elif start > last:
        start -= -(-(start - last) // stride) * stride
    return min(max(start, 0), last)


def hashed_seed(*numbers: int) -> int:
    """A seed from non-negative numbers; similar numbers give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _fingerprint(samples: Sequence[Sample]) -> str:
    paths = (path for sample in samples for path in (sample.image, sample.points))
    return fingerprint_of((path.name, path) for path in paths)


def _load(sample: Sample, config: TrainingConfig) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """A sample whose image does not say that its pixels are of another size than the settings do.

    Detection would go by what the file says, and see its nuclei at a scale of which the network has
    learnt nothing.
    """
    said, told = config.image_pixel_size, ome_pixel_size(sample.image)
    if said is not None and told is not None and abs(told / said - 1) > _SAME_SIZE:
        raise InputError(
            f"{sample.image}: says that its pixels are {told:g} µm, but image_pixel_size is "
            f"{said:g}, and detection would go by what the file says; set -s "
            f"image_pixel_size={told:g}, or correct the file"
        )
    return load_sample(sample)


def _at_working_scale(
    sample: Sample, config: TrainingConfig
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    array, points = _load(sample, config)
    image = image_to_tensor(array, config.in_channels, str(sample.image))
    image = normalize(image, config.detection.normalization, least_contrast(array.dtype))
    scaled = resample(image, config.scale)
    return scaled.numpy(), resample_points(points, image.shape[1:], scaled.shape[1:])


def _at_least(
    span: int, image: NDArray[np.float32], points: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Continue an image that is smaller than a crop by its mirror images, nuclei included."""
    for axis in (0, 1):
        size = image.shape[axis + 1]
        extra = span - size
        if extra <= 0:
            continue
        widths = [(0, extra if i == axis + 1 else 0) for i in range(3)]
        image = np.pad(image, widths, mode="reflect")
        copies = [points]
        for fold in range(1, -(-span // max(size - 1, 1)) + 1):
            copy = points.copy()
            # Fold after fold the image runs backwards and forwards again.
            start = fold * (size - 1) if size > 1 else fold
            within = points[:, axis] if fold % 2 == 0 else size - 1 - points[:, axis]
            copy[:, axis] = start + within
            # What lies on the fold itself is seen once.
            first = start + 0.5 if size > 1 else start - 0.5
            copies.append(copy[(first <= copy[:, axis]) & (copy[:, axis] < span - 0.5)])
        points = np.concatenate(copies)
    return image, points
