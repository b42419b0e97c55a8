"""What every network that casts votes has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from .._arguments import check_is_tensor

__all__ = ["VotingNetwork", "of_another", "tensor_of"]


class VotingNetwork(nn.Module, ABC):
    """An image in, k votes for nucleus centres for every pixel out.

    Scanning and detection ask no more of a network than this. :func:`dvfast.fit` and the files of
    :mod:`dvfast.weights` are for :class:`dvfast.nn.DeepVotingNet` and
    :class:`dvfast.nn.VotingUNet`; docs/training.md trains a network of one's own.

    Attributes
    ----------
    num_votes : int
        k, the number of votes of a pixel.
    in_channels : int
        Channels of the image: 3 for RGB, 1 for grey.
    margin : int
        Pixels around the image that :meth:`dense` takes beside it.
    reach : int
        How far from a pixel, in pixels, an input may lie that its votes depend on: the margin,
        unless a subclass says otherwise.
    grid : int
        A shift of the image by a multiple of so many pixels shifts the votes, and changes nothing
        else; 1 unless a subclass says otherwise.
    output_stride : int
        Strides are multiples of so many pixels; 1 unless a subclass says otherwise.

    Examples
    --------
    >>> import torch, dvfast
    >>> class Blurred(dvfast.nn.VotingNetwork):
    ...     num_votes, in_channels, margin, architecture = 1, 1, 2, {}
    ...
    ...     def dense(self, image, stride=1):
    ...         mean = torch.nn.functional.avg_pool2d(image, 5, stride=1)[:, :, ::stride, ::stride]
    ...         return torch.cat([mean, 0 * mean, 0 * mean], dim=1)
    >>> Blurred().dense(torch.rand(1, 1, 14, 24), stride=2).shape  # 10 x 20 without the margin
    torch.Size([1, 3, 5, 10])
    """

    num_votes: int
    in_channels: int
    margin: int
    grid: int = 1
    output_stride: int = 1

    @property
    def reach(self) -> int:
        """How far from a pixel, in pixels, an input may lie that its votes depend on."""
        return self.margin

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """The arguments that build this network again, as JSON can hold them."""

    @abstractmethod
    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        """Logits of every `stride`-th pixel, in one pass.

        Parameters
        ----------
        image
            ``[B, C, H, W]`` in [0, 1], the margin included.
        stride
            Distance in pixels between neighbouring votes; a positive multiple of `output_stride`.

        Returns
        -------
        Tensor
            Of the pixels ``margin + stride * i``:
            ``[B, 3k, ceil((H - 2 * margin) / stride), ceil((W - 2 * margin) / stride)]``.
        """

    def _check_input(self, name: str, x: Tensor) -> None:
        check_is_tensor(name, x)
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"{name} must be [batch, {self.in_channels}, height, width], got {list(x.shape)}"
            )
        if not x.is_floating_point():
            raise ValueError(f"{name} must be floating point in [0, 1], got {x.dtype}")


def of_another(net: object) -> str:
    """Advice for who has something else in place of a network."""
    for attribute in ("module", "_orig_mod"):  # DistributedDataParallel, torch.compile
        if isinstance(getattr(net, attribute, None), VotingNetwork):
            return f"; its own is net.{attribute}"
    return "; dvfast.weights.load_weights reads one"


def tensor_of(net: VotingNetwork) -> Tensor:
    """A tensor of the dtype and on the device that images must have."""
    return next(chain(net.parameters(), net.buffers()), torch.empty(0, dtype=torch.float32))
