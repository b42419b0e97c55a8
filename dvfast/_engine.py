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

    def is_of(self, net: DeepVotingNet) -> bool:
        """Whether these are the weights that the network has now, however they may have changed."""
        parameters = list(net.parameters())
        return len(parameters) == len(self._originals) and all(
            now.device == then.device and torch.equal(now, then)
            for now, then in zip(parameters, self._originals, strict=True)
        )

    def votes(self, images: Tensor, stride: int) -> Tensor:
        """Votes ``[B, 3k, h, w]`` of every ``stride``-th patch of ``[B, H, W, C]``."""
        features = images
        for layer, geometry in zip(self._trunk, trunk_geometry(stride), strict=True):
            features = ops.trunk_layer(
                features, layer.weight, layer.bias, layer.kernel_size, *geometry
            )
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
