"""The network of the paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from .._arguments import check_count, check_integers, check_number, check_stride
from .network import VotingNetwork

__all__ = ["PATCH_SIZE", "POOLED_STRIDE", "DeepVotingNet", "trunk_geometry"]

PATCH_SIZE = 39
POOLED_STRIDE = 4  # two 2x2 max-poolings


def trunk_geometry(stride: int) -> list[tuple[int, int, int]]:
    """How the trunk runs over an image when every ``stride``-th patch is wanted.

    Returns ``(dilation, pool_stride, pool_dilation)`` of the three convolutions and the pooling
    that follows each, a ``pool_stride`` of 0 meaning none. The poolings take the strides of the
    patch network where these divide the stride; what they do not skip is dilated over. The
    features lie ``gcd(stride, 4)`` pixels apart.
    """
    layers = []
    # The stride that the poolings have in the patch network so far, and the one they have here.
    pooled, step = 1, 1
    for _ in range(2):
        dilation = pooled // step
        pool_stride = 2 if stride % (2 * step) == 0 else 1
        layers.append((dilation, pool_stride, dilation))
        pooled, step = pooled * 2, step * pool_stride
    return [*layers, (pooled // step, 0, 1)]


class DeepVotingNet(VotingNetwork):
    """The paper's network: a 39x39 patch in, k votes for nucleus centres out.

    conv 6x6, ReLU, max-pool 2x2, conv 4x4, ReLU, max-pool 2x2, conv 3x3, ReLU, FC over 5x5, ReLU,
    dropout, FC. All convolutions are valid, so that 39 pixels become exactly one output. Kernel
    sizes, poolings and dropout are the paper's; it does not give the widths or the number of votes
    it used, so ``channels``, ``hidden`` and ``num_votes`` are ours.

    The fully connected layers are stored as convolutions: the same weights serve single patches
    (:meth:`forward`) and, dilated, a whole image (:meth:`dense`).

    Parameters
    ----------
    num_votes
        k, the number of votes of a patch; at least 1.
    in_channels
        Channels of the image: 3 for RGB, 1 for grey.
    channels
        Widths of the three convolutions.
    hidden
        Widths of the fully connected layers before the last; may be empty.
    dropout
        Probability of dropping a hidden unit during training, from 0 to 1.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> net = dvfast.nn.DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=(8,))
    >>> net(torch.rand(5, 3, 39, 39)).shape
    torch.Size([5, 6])
    >>> net.dense(torch.rand(1, 3, 50, 60)).shape
    torch.Size([1, 6, 12, 22])
    """

    def __init__(
        self,
        num_votes: int = 2,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 32, 32),
        hidden: Sequence[int] = (1024,),
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        check_count("num_votes", num_votes)
        check_count("in_channels", in_channels)
        check_integers("channels", channels, "three integers")
        check_integers("hidden", hidden, "a sequence of integers")
        check_number("dropout", dropout)
        if len(channels) != 3 or min(channels) < 1:
            raise ValueError(f"channels must be three positive widths, got {tuple(channels)}")
        if any(width < 1 for width in hidden):
            raise ValueError(f"hidden must be positive widths, got {tuple(hidden)}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be from 0 to 1, got {dropout}")
        # What JSON can hold: NumPy's integers it cannot.
        self.num_votes = int(num_votes)
        self.in_channels = int(in_channels)
        self.margin = PATCH_SIZE // 2
        self.channels = tuple(map(int, channels))
        self.hidden = tuple(map(int, hidden))
        self.dropout = nn.Dropout(float(dropout))
        self.conv1 = nn.Conv2d(in_channels, channels[0], 6)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 4)
        self.conv3 = nn.Conv2d(channels[1], channels[2], 3)
        widths = [channels[2], *hidden, 3 * num_votes]
        self.head = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 5 if i == 0 else 1)
            for i, (n_in, n_out) in enumerate(itertools.pairwise(widths))
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Kaiming normal, the last layer a tenth of that."""
        layers = [self.conv1, self.conv2, self.conv3, *cast(Sequence[nn.Conv2d], self.head)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            # Images lie in [0, 1]; the first layer starts as if they were centred and scaled,
            # (x - 1/2) / (1/4). Else its units are all on or all off, and many never learn.
            assert self.conv1.bias is not None
            self.conv1.weight.mul_(4)
            self.conv1.bias.copy_(-0.5 * self.conv1.weight.sum(dim=(1, 2, 3)))
            # Votes start near the patch centre with confidence one half, whatever the widths.
            layers[-1].weight.mul_(0.1)

    @property
    def architecture(self) -> dict[str, Any]:
        """The arguments that build this network again, as JSON can hold them."""
        return {
            "num_votes": self.num_votes,
            "in_channels": self.in_channels,
            "channels": list(self.channels),
            "hidden": list(self.hidden),
            "dropout": self.dropout.p,
        }

    def forward(self, patches: Tensor) -> Tensor:
        """Logits of patches in [0, 1]: ``[N, C, 39, 39]`` -> ``[N, 3k]``."""
        self._check_input("patches", patches)
        if patches.shape[2:] != (PATCH_SIZE, PATCH_SIZE):
            raise ValueError(
                f"patches must be [N, {self.in_channels}, {PATCH_SIZE}, {PATCH_SIZE}], got "
                f"{list(patches.shape)}; whole images go through dense()"
            )
        return self.dense(patches, stride=POOLED_STRIDE).flatten(1)

    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        """Logits of every ``stride``-th patch that fits the image, in one pass.

        Parameters
        ----------
        image
            ``[B, C, H, W]`` in [0, 1] with ``H, W >= 39``. The votes are those of the pixels
            ``19 + stride * i``: pad by 19 first to have a vote for every pixel.
        stride
            Distance in pixels between neighbouring votes; at least 1. The strides of the poolings
            are taken where they divide it, and the fully connected layers are evaluated at the
            wanted pixels only.

        Returns
        -------
        Tensor
            ``[B, 3k, ceil((H - 38) / stride), ceil((W - 38) / stride)]``.

        Raises
        ------
        TypeError, ValueError
            If `image` or `stride` is something else.
        """
        self._check_input("image", image)
        check_stride(stride)
        if image.shape[2] < PATCH_SIZE or image.shape[3] < PATCH_SIZE:
            raise ValueError(
                f"image must be at least {PATCH_SIZE} pixels high and wide, got "
                f"{list(image.shape)}; pad it by {PATCH_SIZE // 2} on every side"
            )
        return self.head_pass(self.trunk_pass(image, stride), stride)

    def trunk_pass(self, image: Tensor, stride: int) -> Tensor:
        """The convolutions and poolings of :meth:`dense`; samples lie ``gcd(stride, 4)`` apart."""
        x = image
        layers = (self.conv1, self.conv2, self.conv3)
        for layer, geometry in zip(layers, trunk_geometry(stride), strict=True):
            dilation, pool_stride, pool_dilation = geometry
            x = torch.relu(_convolve(layer, x, dilation))
            if pool_stride:
                x = nn.functional.max_pool2d(x, 2, stride=pool_stride, dilation=pool_dilation)
        return x

    def head_pass(self, features: Tensor, stride: int) -> Tensor:
        """The fully connected layers of :meth:`dense` over what :meth:`trunk_pass` returned."""
        step = math.gcd(stride, POOLED_STRIDE)
        for i, layer in enumerate(cast(Sequence[nn.Conv2d], self.head)):
            if i == 0:
                features = _convolve(layer, features, POOLED_STRIDE // step, stride // step)
            else:
                features = layer(self.dropout(torch.relu(features)))
        return features


def _convolve(layer: nn.Module, x: Tensor, dilation: int, stride: int = 1) -> Tensor:
    """What a layer makes of every `dilation`-th sample, at every `stride`-th place."""
    if dilation == stride == 1:
        return cast(Tensor, layer(x))
    if _is_plain(layer):
        return nn.functional.conv2d(x, layer.weight, layer.bias, stride=stride, dilation=dilation)
    return _by_phases(layer, x, dilation)[:, :, ::stride, ::stride]


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is no more than its weights: to call it would give nothing else."""
    return (
        isinstance(layer, nn.Conv2d)
        and type(layer).forward is nn.Conv2d.forward
        and type(layer)._conv_forward is nn.Conv2d._conv_forward
        and "forward" not in layer.__dict__
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and not (layer._backward_hooks or layer._backward_pre_hooks)
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding == (0, 0)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
    )


def _by_phases(layer: nn.Module, x: Tensor, dilation: int) -> Tensor:
    """A layer of any kind, dilated: it is called once, on every phase of the samples.

    So whatever there is to a layer (hooks, weights that a hook makes, adapters around it) has its
    effect, and the layer, which other threads may be calling, stays as it is.
    """
    if dilation == 1:
        return cast(Tensor, layer(x))
    below, right = ((dilation - size % dilation) % dilation for size in x.shape[2:])
    x = nn.functional.pad(x, (0, right, 0, below))
    batch, channels, height, width = x.shape
    phases = x.reshape(batch, channels, height // dilation, dilation, width // dilation, dilation)
    made = layer(phases.permute(3, 5, 0, 1, 2, 4).flatten(0, 2))
    made = made.unflatten(0, (dilation, dilation, batch)).permute(2, 3, 4, 0, 5, 1)
    made = made.flatten(4, 5).flatten(2, 3)
    return cast(Tensor, made[:, :, : made.shape[2] - below, : made.shape[3] - right])
