"""Random changes of a training crop that leave its nuclei where they are on the tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..errors import InputError
from .stains import merge_stains, separate_stains

__all__ = [
    "Augmentation",
    "augment",
    "draw_zoom",
    "exchange_stains",
    "flip_and_turn",
    "jitter_intensity",
    "jitter_stain",
]

# Of `exchange_stains`: the most haematoxylin that stands for DAB, a far stronger stain; and of the
# brown veil the greatest optical density, the stain that thins it to 1/e, its patches on a side.
_STRONGEST_COUNTERSTAIN = 0.5
_STRONGEST_VEIL = 1.2
_THINNING_STAIN = 0.2
_VEIL_GRID = 4
_MOST_ZOOM = 2.0


@dataclass(frozen=True)
class Augmentation:
    """How strongly training crops are changed; all zeros and ``geometry=False`` change nothing.

    Parameters
    ----------
    geometry
        Whether crops are flipped and turned by quarters, all eight ways equally likely.
    zoom
        Crops are enlarged by a factor whose logarithm is drawn from ``[-zoom, zoom]``, as far as
        the image is large enough.
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
    stain_exchange
        The share of RGB crops in which DAB and haematoxylin change places, see `exchange_stains`:
        what is brown on one slide is blue on another. At most 1.

    Raises
    ------
    InputError
        If a strength is negative or not finite, or a share above 1.

    Examples
    --------
    >>> Augmentation(brightness=0.1).brightness
    0.1
    """

    geometry: bool = True
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    stain_gain: float = 0.0
    stain_bias: float = 0.0
    stain_exchange: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "geometry"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"augmentation.{name}: came as {value!r}, expected a number")
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"augmentation.{name}: came as {value}, expected 0 or more")
        if self.zoom > _MOST_ZOOM:
            raise InputError(
                f"augmentation.zoom: came as {self.zoom}, expected at most {_MOST_ZOOM}, images "
                f"enlarged or reduced by a factor of up to exp({_MOST_ZOOM})"
            )
        if self.stain_exchange > 1:
            raise InputError(
                f"augmentation.stain_exchange: came as {self.stain_exchange}, expected at most 1"
            )
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
    if strengths.stain_exchange and len(image) == 3:
        chance: list[float] = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        # Patches of full veil and of none, and a slope between them.
        field = 2 * torch.rand(_VEIL_GRID, _VEIL_GRID, generator=generator) - 0.5
        if chance[0] < strengths.stain_exchange:
            image = exchange_stains(
                image,
                share=chance[1] ** 0.5,  # rarely little: half brown, half blue looks like neither
                strength=_STRONGEST_COUNTERSTAIN * chance[2],
                veil=_STRONGEST_VEIL * chance[3],
                field=field.clamp(0, 1),
            )
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


def draw_zoom(strengths: Augmentation, generator: torch.Generator) -> float:
    """A factor by which to enlarge a crop; 1 without drawing if crops keep their size."""
    if not strengths.zoom:
        return 1.0
    return math.exp(strengths.zoom * float(_symmetric(1, generator)))


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
    return merge_stains(separate_stains(image) * gain + bias)


def exchange_stains(
    image: Tensor, share: float, strength: float, veil: float, field: Tensor
) -> Tensor:
    """Recolour an RGB image as if another protein had been stained.

    DAB marks whatever an antibody binds to: nuclei on one slide, cytoplasm or membranes on another,
    where the nuclei show the counterstain, haematoxylin. So a share of the DAB is turned into
    haematoxylin, and a brown veil is laid over what is pale.

    Parameters
    ----------
    image
        ``[3, H, W]``, floating, in [0, 1].
    share
        Of the DAB that is taken away, from 0 to 1.
    strength
        Optical density of haematoxylin that comes for that of DAB.
    veil
        Optical density of DAB that is added where nothing is stained; less where more is.
    field
        ``[h, w]`` in [0, 1], stretched over the image: where the veil lies.

    Returns
    -------
    Tensor
        ``[3, H, W]`` in [0, 1].
    """
    haematoxylin, eosin, dab = separate_stains(image).unbind()
    moved = share * dab.clamp(min=0)
    haematoxylin, dab = haematoxylin + strength * moved, dab - moved
    stained = (haematoxylin + dab).clamp(min=0)
    field = torch.nn.functional.interpolate(
        field.to(image)[None, None], size=image.shape[1:], mode="bilinear", align_corners=True
    )[0, 0]
    dab = dab + veil * field * torch.exp(-((stained / _THINNING_STAIN) ** 2))
    return merge_stains(torch.stack((haematoxylin, eosin, dab)))


def _symmetric(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
