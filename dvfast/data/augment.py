"""Random changes of a training crop that leave its nuclei where they are on the tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["Augmentation", "augment", "flip_and_turn", "jitter_intensity", "jitter_stain"]

# An 8-bit zero has no finite optical density; half a grey level stands in for it.
_DARKEST = 0.5 / 255


@dataclass(frozen=True)
class Augmentation:
    """How strongly training crops are changed; all zeros and ``geometry=False`` change nothing.

    Parameters
    ----------
    geometry
        Whether crops are flipped and turned by quarters, all eight ways equally likely.
    brightness
        A shift drawn from ``[-brightness, brightness]`` is added to the intensities in [0, 1].
    contrast
        The deviations from the mean intensity are multiplied by a factor whose logarithm is drawn
        from ``[-contrast, contrast]``.
    stain_gain
        Likewise for the optical density of every stain (haematoxylin, eosin, DAB) of an RGB image,
        or for every channel of another image.
    stain_bias
        A shift drawn from ``[-stain_bias, stain_bias]`` is added to the optical density of every
        stain (in powers of ten), or to every channel.

    Raises
    ------
    InputError
        If a strength is negative or not finite.

    Examples
    --------
    >>> Augmentation(brightness=0.1).brightness
    0.1
    """

    geometry: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    stain_gain: float = 0.0
    stain_bias: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "geometry"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"augmentation.{name}: came as {value!r}, expected a number")
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"augmentation.{name}: came as {value}, expected 0 or more")
        if not isinstance(self.geometry, bool):
            raise InputError(
                f"augmentation.geometry: came as {self.geometry!r}, expected true or false"
            )


def augment(
    image: Tensor, points: Tensor, strengths: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flip, turn and jitter an image and its points alike.

    Parameters
    ----------
    image
        ``[C, H, W]``, floating, in [0, 1].
    points
        ``[n, 2]``, floating, (y, x) in pixels of `image`; they may lie outside of it.
    strengths
        What may happen to it.
    generator
        Where every random number comes from: the same state gives the same result.

    Returns
    -------
    tuple of Tensor
        The image, ``[C, H, W]`` or ``[C, W, H]``, in [0, 1], and the points ``[n, 2]``.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> image, points = augment(
    ...     torch.rand(3, 5, 5), torch.zeros(1, 2), Augmentation(brightness=0.1), generator
    ... )
    >>> image.shape, points.shape
    (torch.Size([3, 5, 5]), torch.Size([1, 2]))
    """
    if strengths.geometry:
        way = int(torch.randint(8, (), generator=generator))
        image, points = flip_and_turn(image, points, turns=way // 2, flip=bool(way % 2))
    if strengths.stain_gain or strengths.stain_bias:
        draws = _symmetric(2 * len(image), generator)
        image = jitter_stain(
            image,
            gain=torch.exp(strengths.stain_gain * draws[: len(image)]),
            bias=strengths.stain_bias * draws[len(image) :],
        )
    if strengths.brightness or strengths.contrast:
        brightness, contrast = _symmetric(2, generator).tolist()
        image = jitter_intensity(
            image,
            brightness=strengths.brightness * brightness,
            contrast=math.exp(strengths.contrast * contrast),
        )
    return image, points


def flip_and_turn(image: Tensor, points: Tensor, turns: int, flip: bool) -> tuple[Tensor, Tensor]:
    """Flip an image and its points upside down, or not, then turn them by quarters.

    Parameters
    ----------
    image
        ``[C, H, W]``.
    points
        ``[n, 2]``, floating, (y, x) in pixels of `image`.
    turns
        Quarter turns, counter-clockwise as the image is seen with y downwards.
    flip
        Whether to flip first.

    Returns
    -------
    tuple of Tensor
        The image, ``[C, H, W]`` or, after an odd number of turns, ``[C, W, H]``, and the points.

    Examples
    --------
    >>> image, points = flip_and_turn(
    ...     torch.zeros(1, 2, 4), torch.tensor([[0.0, 3.0]]), turns=1, flip=False
    ... )
    >>> image.shape, points
    (torch.Size([1, 4, 2]), tensor([[0., 0.]]))
    """
    if flip:
        image = image.flip(1)
        points = torch.stack((image.shape[1] - 1 - points[:, 0], points[:, 1]), dim=1)
    for _ in range(turns % 4):
        image = image.rot90(1, (1, 2))
        points = torch.stack((image.shape[1] - 1 - points[:, 1], points[:, 0]), dim=1)
    return image, points


def jitter_intensity(image: Tensor, brightness: float, contrast: float) -> Tensor:
    """Scale an image about its mean by `contrast`, shift it by `brightness`, clip it to [0, 1]."""
    mean = image.mean()
    return ((image - mean) * contrast + (mean + brightness)).clamp(0, 1)


def jitter_stain(image: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Change the amount of every stain.

    An RGB image is taken apart into the optical densities of haematoxylin, eosin and DAB (Ruifrok
    and Johnston, 2001); an image of another number of channels is changed channel by channel.

    Parameters
    ----------
    image
        ``[C, H, W]``, floating, in [0, 1].
    gain, bias
        ``[C]``: every stain or channel is multiplied by `gain`, then `bias` is added.

    Returns
    -------
    Tensor
        ``[C, H, W]`` in [0, 1].
    """
    gain = gain.to(image)[:, None, None]
    bias = bias.to(image)[:, None, None]
    if len(image) != 3:
        return (image * gain + bias).clamp(0, 1)
    stains_from_rgb, rgb_from_stains = (matrix.to(image) for matrix in _stain_matrices())
    density = -torch.log10(image.clamp(min=_DARKEST))
    stains = torch.einsum("cs,chw->shw", stains_from_rgb, density) * gain + bias
    return torch.pow(10, -torch.einsum("sc,shw->chw", rgb_from_stains, stains)).clamp(0, 1)


@cache
def _stain_matrices() -> tuple[Tensor, Tensor]:
    from skimage.color import hed_from_rgb, rgb_from_hed

    return torch.from_numpy(hed_from_rgb.copy()), torch.from_numpy(rgb_from_hed.copy())


def _symmetric(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
