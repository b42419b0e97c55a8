"""The scan engine: native kernels for trunk and head, and the weights as they want them.

The kernels' contract (layout of maps and packed weights, order of the sums) stands in
``csrc/core/network.h``; :func:`dvfast.scan` is the public face.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._library import ops
from .nn import POOLED_STRIDE, DeepVotingNet, trunk_geometry

__all__ = ["Engine", "engine_of", "why_not"]

_PANEL_WIDTH = 32  # these three as in csrc/core/network.h
_CHANNEL_BLOCK = 16
_MAX_HEAD_LAYERS = 8

# F(4x4, 5x5), csrc/core/winograd.h. Its finite points, one more being infinity.
WINOGRAD_OUTPUTS = 4
_WINOGRAD_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


@dataclass(frozen=True)
class _Layer:
    weight: Tensor
    bias: Tensor
    kernel_size: int


class Engine:
    """A network with its weights packed for the native kernels."""

    def __init__(self, net: DeepVotingNet) -> None:
        self.num_votes = net.num_votes
        self._originals = [parameter.detach().clone() for parameter in net.parameters()]
        channels = net.in_channels
        self._trunk: list[_Layer] = []
        for conv in (net.conv1, net.conv2, net.conv3):
            self._trunk.append(_pack_convolution(conv, channels))
            channels = len(self._trunk[-1].bias)
        self._head: list[_Layer] = []
        for i, conv in enumerate(cast(Sequence[nn.Conv2d], net.head)):
            pack = _pack_last if 0 < i == len(net.head) - 1 else _pack_convolution
            self._head.append(pack(conv, channels))
            channels = len(self._head[-1].bias)
        self._winograd: Tensor | None = None  # made when it is first needed

    def is_of(self, net: DeepVotingNet) -> bool:
        """Whether these are the weights that the network has now, however they may have changed."""
        parameters = list(net.parameters())
        return len(parameters) == len(self._originals) and all(
            now.device == then.device and torch.equal(now, then)
            for now, then in zip(parameters, self._originals, strict=True)
        )

    def block(self, precision: str, stride: int) -> int:
        """Votes that belong together: an image in parts is to be cut between such blocks."""
        winograd = precision == "float32" and len(self._head) == 2 and POOLED_STRIDE % stride == 0
        return WINOGRAD_OUTPUTS * POOLED_STRIDE // stride if winograd else 1

    def votes(self, images: Tensor, stride: int, precision: str = "exact") -> Tensor:
        """Votes ``[B, 3k, h, w]`` of every ``stride``-th patch of ``[B, H, W, C]``."""
        features = images
        for layer, geometry in zip(self._trunk, trunk_geometry(stride), strict=True):
            features = ops.trunk_layer(
                features, layer.weight, layer.bias, layer.kernel_size, *geometry
            )
        if self.block(precision, stride) > 1:
            return self._winograd_votes(features, POOLED_STRIDE // stride)
        step = math.gcd(stride, POOLED_STRIDE)
        votes: Tensor = ops.vote_head(
            features,
            [layer.weight for layer in self._head],
            [layer.bias for layer in self._head],
            self.num_votes,
            self._head[0].kernel_size,
            POOLED_STRIDE // step,
            stride // step,
        )
        return votes

    def _winograd_votes(self, features: Tensor, dilation: int) -> Tensor:
        first, last = self._head
        if self._winograd is None:
            self._winograd = _winograd_weight(first.weight)
        votes: Tensor = ops.winograd_head(
            features,
            self._winograd,
            first.bias,
            last.weight,
            last.bias,
            self.num_votes,
            dilation,
        )
        return votes


_engines: weakref.WeakKeyDictionary[DeepVotingNet, Engine] = weakref.WeakKeyDictionary()


def engine_of(net: DeepVotingNet) -> Engine:
    """The engine of a network, packed anew only if its weights have changed."""
    engine = _engines.get(net)
    if engine is None or not engine.is_of(net):
        engine = _engines[net] = Engine(net)
    return engine


def why_not(net: DeepVotingNet) -> str | None:
    """What keeps the engine from running a network; ``None`` if nothing does."""
    if type(net) is not DeepVotingNet:
        return f"it is a {type(net).__name__}, not a DeepVotingNet itself"
    replaced = {"forward", "dense", "trunk_pass", "head_pass"} & vars(net).keys()
    if replaced:
        return f"its {min(replaced)} was replaced"
    head = cast(Sequence[nn.Module], net.head)
    if len(head) > _MAX_HEAD_LAYERS:
        return f"its head has {len(head)} layers, more than {_MAX_HEAD_LAYERS}"
    layers = [
        ("conv1", net.conv1, 6),
        ("conv2", net.conv2, 4),
        ("conv3", net.conv3, 3),
        *((f"head[{i}]", layer, 1 if i else 5) for i, layer in enumerate(head)),
    ]
    for name, layer, kernel_size in layers:
        if reason := _why_not_layer(layer, kernel_size):
            return f"{name} {reason}"
    device = net.conv1.weight.device.type
    if not torch._C._dispatch_has_kernel_for_dispatch_key("dvfast::vote_head", device.upper()):
        return f"it has no kernels for {device}"
    return None


def _why_not_layer(layer: nn.Module, kernel_size: int) -> str | None:
    if type(layer) is not nn.Conv2d:
        return f"is a {type(layer).__name__}"
    expected = {
        "kernel_size": (kernel_size, kernel_size),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
    }
    for attribute, value in expected.items():
        if getattr(layer, attribute) != value:
            return f"has {attribute} {getattr(layer, attribute)}, not {value}"
    if layer.bias is None:
        return "has no bias"
    if layer.weight.dtype != torch.float32:
        return f"is {layer.weight.dtype}, not torch.float32"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "has hooks"
    return None


def _filled_up(x: Tensor, dim: int, block: int) -> Tensor:
    """Zeros appended so that a dimension is a whole number of blocks."""
    missing = -x.shape[dim] % block
    return F.pad(x, [0, 0] * (x.dim() - 1 - dim) + [0, missing]) if missing else x


def _pack_convolution(conv: nn.Conv2d, channels: int) -> _Layer:
    """``[panel, tap * channel, output of the panel]``, for maps of so many channels."""
    weight = conv.weight.detach()
    assert conv.bias is not None
    weight = F.pad(weight, (0, 0, 0, 0, 0, channels - weight.shape[1]))
    rows = _filled_up(weight.permute(2, 3, 1, 0).flatten(0, 2), 1, _PANEL_WIDTH)
    panels = rows.reshape(len(rows), -1, _PANEL_WIDTH).transpose(0, 1).contiguous()
    bias = _filled_up(conv.bias.detach(), 0, _CHANNEL_BLOCK).contiguous()
    return _Layer(panels, bias, conv.kernel_size[0])


def _pack_last(conv: nn.Conv2d, channels: int) -> _Layer:
    """``[output, input]`` of the last of several layers."""
    assert conv.bias is not None
    weight = conv.weight.detach().flatten(1)
    return _Layer(
        F.pad(weight, (0, channels - weight.shape[1])).contiguous(), conv.bias.detach().clone(), 1
    )


def _winograd_weight(weight: Tensor) -> Tensor:
    """Transform packed 5x5 kernels: ``[panel, 25 * C, 32]`` -> ``[panel, 64 * C, 32]``."""
    points = torch.tensor(_WINOGRAD_POINTS, dtype=torch.float64)
    others = (points[:, None] - points).fill_diagonal_(1).prod(dim=1)
    finite = points[:, None] ** torch.arange(5) / others[:, None]
    transform = torch.cat([finite, torch.eye(5, dtype=torch.float64)[-1:]]).to(weight.device)
    kernels = weight.double().reshape(len(weight), 5, 5, -1, _PANEL_WIDTH)
    products = torch.einsum("iy,jx,pyxco->pijco", transform, transform, kernels)
    return products.flatten(1, 3).to(weight.dtype).contiguous()
