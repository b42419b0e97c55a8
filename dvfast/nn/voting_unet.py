"""Votes from a modern backbone: a small U-Net."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .._arguments import check_count, check_flag, check_integer, check_integers
from .network import VotingNetwork

__all__ = ["VotingUNet"]


class VotingUNet(VotingNetwork):
    """A small U-Net that casts votes: an image in, k votes of its pixels out.

    Encoder and decoder (Ronneberger et al., MICCAI 2015) have two 3x3 convolutions a level, each
    followed by batch normalisation and ReLU; 2x2 max-pooling leads down, nearest-neighbour
    upsampling and concatenation lead up, a 1x1 convolution makes the votes. It sees further than
    :class:`DeepVotingNet` and shares more work between pixels, but has no patch network: its
    poolings lie on one grid over the image.

    Parameters
    ----------
    num_votes
        k, the number of votes of a pixel; at least 1.
    in_channels
        Channels of the image: 3 for RGB, 1 for grey.
    channels
        Widths of the levels, the finest first; at least two.
    output_stride
        1, 2, 4, ...: the decoder ends at the level whose samples lie so many pixels apart. Votes
        have offsets, so a coarser grid costs little precision and saves the widest maps.
    normalized
        Whether there is batch normalisation. Trained networks have theirs folded into the
        convolutions, see :meth:`folded`.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> net = dvfast.nn.VotingUNet(num_votes=2, channels=(4, 8))
    >>> net(torch.rand(1, 3, 40, 60)).shape
    torch.Size([1, 6, 40, 60])
    >>> net.dense(torch.rand(1, 3, 41, 61), stride=2).shape  # 37 x 57 without the margin
    torch.Size([1, 6, 19, 29])
    """

    def __init__(
        self,
        num_votes: int = 2,
        in_channels: int = 3,
        channels: Sequence[int] = (24, 48, 96, 192),
        output_stride: int = 1,
        normalized: bool = True,
    ) -> None:
        super().__init__()
        check_count("num_votes", num_votes)
        check_count("in_channels", in_channels)
        check_integers("channels", channels, "two to eight integers")
        check_integer("output_stride", output_stride)
        check_flag("normalized", normalized)
        if not 2 <= len(channels) <= 8 or min(channels) < 1:
            raise ValueError(f"channels must be two to eight positive widths, got {channels}")
        self.grid = 1 << (len(channels) - 1)
        if output_stride not in (1 << level for level in range(len(channels))):
            raise ValueError(
                f"output_stride must be a power of two up to {self.grid}, got {output_stride}"
            )
        # What JSON can hold: NumPy's integers it cannot.
        self.num_votes = int(num_votes)
        self.in_channels = int(in_channels)
        self.channels = tuple(map(int, channels))
        self.output_stride = int(output_stride)
        self.normalized = bool(normalized)
        self.margin = self.grid
        finest = self.output_stride.bit_length() - 1
        self.encoder = nn.ModuleList(
            _block(n_in, n_out, normalized)
            for n_in, n_out in itertools.pairwise((in_channels, *channels))
        )
        self.decoder = nn.ModuleList(
            _block(channels[level] + channels[level + 1], channels[level], normalized)
            for level in reversed(range(finest, len(channels) - 1))
        )
        self.head = nn.Conv2d(channels[finest], 3 * num_votes, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Kaiming normal, the last layer a tenth of that."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, _BatchNorm):  # SyncBatchNorm is another
                module.reset_parameters()
        with torch.no_grad():
            # Votes start near their pixel with confidence one half.
            self.head.weight.mul_(0.1)

    @property
    def reach(self) -> int:
        """Two convolutions a level, down and up, and the pooled cell itself."""
        pitches = [1 << level for level in range(len(self.channels))]
        upwards = [pitch for pitch in pitches[:-1] if pitch >= self.output_stride]
        return 2 * sum(pitches) + 2 * sum(upwards) + self.grid

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments that build this network again, as JSON can hold them."""
        return {
            "num_votes": self.num_votes,
            "in_channels": self.in_channels,
            "channels": list(self.channels),
            "output_stride": self.output_stride,
            "normalized": self.normalized,
        }

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the pixels ``output_stride * i``.

        Parameters
        ----------
        image
            ``[B, C, H, W]`` in [0, 1]; H and W are multiples of :attr:`grid`. Zeros surround it.

        Returns
        -------
        Tensor
            ``[B, 3k, H / output_stride, W / output_stride]``.

        Raises
        ------
        TypeError, ValueError
            If `image` is something else.
        """
        self._check_input("image", image)
        if image.shape[2] % self.grid or image.shape[3] % self.grid:
            raise ValueError(
                f"image must have sides that are multiples of {self.grid}, got "
                f"{list(image.shape)}; dense() takes any"
            )
        # Images lie in [0, 1]; without normalisation the first layer wants them about zero.
        x = image - 0.5
        maps = []
        for level, block in enumerate(self.encoder):
            if level:
                x = F.max_pool2d(x, 2)
            x = block(x)
            maps.append(x)
        for block, skipped in zip(self.decoder, reversed(maps[:-1]), strict=False):
            x = block(torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), skipped), 1))
        logits: Tensor = self.head(x)
        return logits

    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        """Logits of the pixels ``margin + stride * i``; see :meth:`VotingNetwork.dense`."""
        self._check_input("image", image)
        check_integer("stride", stride)
        if stride < 1 or stride % self.output_stride:
            raise ValueError(
                f"stride must be a positive multiple of {self.output_stride}, the distance of "
                f"this network's votes, got {stride}"
            )
        if min(image.shape[2:]) <= 2 * self.margin:
            raise ValueError(
                f"image must be more than {2 * self.margin} pixels high and wide, got "
                f"{list(image.shape)}; pad it by {self.margin} on every side"
            )
        height, width = image.shape[2:]
        step, first = stride // self.output_stride, self.margin // self.output_stride
        # torch.compile has no remainder of a negative size.
        right, below = ((self.grid - size % self.grid) % self.grid for size in (width, height))
        logits: Tensor = self(F.pad(image, (0, right, 0, below)))
        rows, columns = (-(-(size - 2 * self.margin) // stride) for size in (height, width))
        return logits[:, :, first::step, first::step][:, :, :rows, :columns]

    def folded(self) -> VotingUNet:
        """The same network without normalisation layers: they become part of the convolutions.

        In evaluation mode; the votes are the same but for rounding.
        """
        if not self.normalized:
            return copy.deepcopy(self).eval()
        weight = self.head.weight
        with torch.device("meta"):  # so that no random numbers are drawn, which others want
            plain = VotingUNet(
                *(self.num_votes, self.in_channels, self.channels, self.output_stride),
                normalized=False,
            )
        plain = plain.to(weight.dtype).to_empty(device=weight.device)
        source = copy.deepcopy(self).eval()
        convolutions, targets = (
            [module for module in net.modules() if isinstance(module, nn.Conv2d)]
            for net in (source, plain)
        )
        normalizations = [m for m in source.modules() if isinstance(m, _BatchNorm)]
        for target, convolution, normalization in zip(
            targets[:-1], convolutions[:-1], normalizations, strict=True
        ):
            target.load_state_dict(fuse_conv_bn_eval(convolution, normalization).state_dict())
        plain.head.load_state_dict(source.head.state_dict())
        return plain.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _block(n_in: int, n_out: int, normalized: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (n_in, n_out):
        layers.append(nn.Conv2d(width, n_out, 3, padding=1, bias=not normalized))
        if normalized:
            layers.append(nn.BatchNorm2d(n_out))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
