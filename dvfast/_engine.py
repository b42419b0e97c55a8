"""The scan engine: native kernels for trunk and head, and the weights as they want them.

The kernels' contract (layout of maps and packed weights, order of the sums) stands in
``csrc/core/network.h``; :func:`dvfast.scan` is the public face.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ._engines import PackedNetwork, kept, no_kernels, why_not_plain
from ._library import cpu_info, ops
from ._packing import (
    TRUNK_LAYERS,
    WINOGRAD_OUTPUTS,
    Convolution,
    Layer,
    pack,
    pack_bfloat16,
    pack_for_warpgroups,
    pack_matrices,
    winograd_weight,
)
from .nn import DeepVotingNet
from .nn.deep_voting_net import POOLED_STRIDE, trunk_geometry

__all__ = ["Engine", "engine_of", "replaced_passes", "why_not"]

_PASSES = ("forward", "dense", "trunk_pass", "head_pass")
_MAX_HEAD_LAYERS = 8  # as in csrc/core/network.h
_BFLOAT16_PIXELS = 16  # as in csrc/core/bfloat16_network.h
_MATRIX_PRECISIONS = {"bfloat16": 0, "tf32": 1, "float32": 2}  # csrc/cuda/matrix_precision.h
_MOST_MATRIX_VOTES = 5  # csrc/cuda/vote_head_tensor_cores.h
_MOST_WARPGROUP_CHANNELS = 32  # that shared memory has room for in every precision
# Whether the head is to run by csrc/cuda/vote_head_warpgroups.cu. Only the emulation has run it:
# benchmarks/scan_on_device.py compares both.
WARPGROUPS = False


class Engine(PackedNetwork):
    """A network with its weights packed for the native kernels."""

    def __init__(self, net: DeepVotingNet) -> None:
        super().__init__(net)
        self.num_votes = net.num_votes
        convolutions = [net.conv1, net.conv2, net.conv3, *cast(Sequence[nn.Conv2d], net.head)]
        self._convolutions = [Convolution(layer) for layer in convolutions]
        self._layers = pack(self._convolutions, net.in_channels)

    @property
    def _num_hidden_layers(self) -> int:
        return len(self._layers) - TRUNK_LAYERS - 1

    def why_not(self, precision: str) -> str | None:
        """What it takes that is not there; ``None`` if the precision can be had."""
        if precision in ("exact", "float32"):
            return None
        if self._num_hidden_layers != 1:
            return f"a network with one hidden layer, not {self._num_hidden_layers}"
        if self.device.type == "cuda":
            if not self._has_tensor_cores:
                return (
                    "a CUDA device of compute capability 8.0 and a network of at most "
                    f"{_MOST_MATRIX_VOTES} votes"
                )
        elif precision == "tf32":
            return "a CUDA device"
        elif not cpu_info()["matrix_unit"]:
            return "a CPU with AMX, on Linux"
        return None

    @property
    def _has_tensor_cores(self) -> bool:
        return (
            self.device.type == "cuda"
            and torch.cuda.get_device_capability(self.device) >= (8, 0)
            and self.num_votes <= _MOST_MATRIX_VOTES
        )

    @property
    def has_warpgroups(self) -> bool:
        return (
            self._has_tensor_cores
            and torch.cuda.get_device_capability(self.device) == (9, 0)
            and self._layers[TRUNK_LAYERS].weight.shape[1] <= 25 * _MOST_WARPGROUP_CHANNELS
        )

    def _kernels(
        self, precision: str, stride: int
    ) -> Literal["exact", "winograd", "bfloat16", "matrix"]:
        """Which kernels run: those that are as accurate as was asked, and fastest."""
        if precision == "exact" or self._num_hidden_layers != 1:
            return "exact"
        if self.device.type == "cuda":
            return "matrix" if self._has_tensor_cores else "exact"
        if precision == "bfloat16":
            return "bfloat16"
        return "winograd" if POOLED_STRIDE % stride == 0 else "exact"

    def block(self, precision: str, stride: int) -> tuple[int, int]:
        """Rows and columns of votes between which an image may be cut into tiles."""
        kernels = self._kernels(precision, stride)
        if kernels == "winograd":
            side = WINOGRAD_OUTPUTS * POOLED_STRIDE // stride
            return side, side
        return (1, _BFLOAT16_PIXELS) if kernels == "bfloat16" else (1, 1)

    def votes(self, images: Tensor, stride: int, precision: str = "exact") -> Tensor:
        """Votes ``[B, 3k, h, w]`` of every ``stride``-th patch of ``[B, H, W, C]``."""
        kernels = self._kernels(precision, stride)
        if kernels == "bfloat16":
            return self._bfloat16_votes(images, stride)
        if kernels == "matrix":
            return self._matrix_votes(images, stride, precision)
        features = images
        trunk, head = self._layers[:TRUNK_LAYERS], self._layers[TRUNK_LAYERS:]
        for layer, geometry in zip(trunk, trunk_geometry(stride), strict=True):
            features = ops.trunk_layer(features, *layer, *geometry)
        if kernels == "winograd":
            return self._winograd_votes(features, POOLED_STRIDE // stride)
        weights, biases, kernel_sizes = zip(*head, strict=True)
        votes: Tensor = ops.vote_head(
            features, weights, biases, self.num_votes, kernel_sizes[0], *_head_geometry(stride)
        )
        return votes

    def _winograd_votes(self, features: Tensor, dilation: int) -> Tensor:
        first, last = self._layers[TRUNK_LAYERS:]
        weight = self.made_once(
            "winograd", lambda: winograd_weight(first.weight, first.kernel_size)
        )
        votes: Tensor = ops.winograd_head(
            features, weight, first.bias, last.weight, last.bias, self.num_votes, dilation
        )
        return votes

    def _bfloat16_votes(self, images: Tensor, stride: int) -> Tensor:
        conv1, *trunk, first, last = self.made_once(
            "amx", lambda: pack_bfloat16(self._convolutions, images.shape[3])
        )
        geometry = trunk_geometry(stride)
        # An image has few channels and needs its precision: the first layer stays in float32.
        features = ops.trunk_layer(images, *conv1, *geometry[0]).bfloat16()
        for layer, place in zip(trunk, geometry[1:], strict=True):
            features = ops.bfloat16_trunk_layer(features, *layer, *place)
        votes: Tensor = ops.bfloat16_head(
            features, *first[:2], *last[:2], self.num_votes, *_window(first, stride)
        )
        return votes

    def _matrix_votes(self, images: Tensor, stride: int, precision: str) -> Tensor:
        conv1, *trunk, first, last = self.made_once(
            precision, lambda: pack_matrices(self._convolutions, images.shape[3], precision)
        )
        number = _MATRIX_PRECISIONS[precision]
        geometry = trunk_geometry(stride)
        features = ops.trunk_layer(images, *conv1, *geometry[0])
        if precision == "bfloat16":
            features = features.bfloat16()
        for layer, place in zip(trunk, geometry[1:], strict=True):
            features = ops.matrix_trunk_layer(features, *layer, *place, number)
        window = _window(first, stride)
        votes: Tensor
        if WARPGROUPS and self.has_warpgroups and window[2] == 1:
            weight = self.made_once(
                f"{precision}, warpgroups",
                lambda: pack_for_warpgroups(
                    self._convolutions[TRUNK_LAYERS], features.shape[3], precision
                ),
            )
            votes = ops.warpgroup_vote_head(
                features, weight, first.bias, *last[:2], self.num_votes, *window[:2], number
            )
        else:
            votes = ops.matrix_vote_head(
                features, *first[:2], *last[:2], self.num_votes, *window, number
            )
        return votes


def _window(layer: Layer, stride: int) -> tuple[int, int, int]:
    return (layer.kernel_size, *_head_geometry(stride))


def _head_geometry(stride: int) -> tuple[int, int]:
    """Dilation and stride of the head over the features of :func:`trunk_geometry`."""
    step = math.gcd(stride, POOLED_STRIDE)
    return POOLED_STRIDE // step, stride // step


def engine_of(net: DeepVotingNet) -> Engine:
    """The engine of a network, packed anew only if its weights have changed."""
    return kept(net, Engine)


def replaced_passes(net: DeepVotingNet) -> list[str]:
    """Those that are not the class's own, be it in a subclass or in this one network."""
    return [
        name
        for name in _PASSES
        if name in vars(net) or getattr(type(net), name) is not getattr(DeepVotingNet, name)
    ]


def why_not(net: DeepVotingNet) -> str | None:
    """What keeps the engine from running a network; ``None`` if nothing does."""
    if type(net) is not DeepVotingNet:
        return f"it is a {type(net).__name__}, not a DeepVotingNet itself"
    if replaced := replaced_passes(net):
        return f"its {replaced[0]} was replaced"
    if reason := why_not_plain(net):
        return f"it {reason}"
    head = cast(Sequence[nn.Module], net.head)
    if len(head) > _MAX_HEAD_LAYERS:
        return f"its head has {len(head)} layers, more than {_MAX_HEAD_LAYERS}"
    layers = [
        ("conv1", net.conv1, 6),
        ("conv2", net.conv2, 4),
        ("conv3", net.conv3, 3),
        *((f"head[{i}]", layer, 1 if i else 5) for i, layer in enumerate(head)),
    ]
    channels = net.in_channels
    for name, layer, kernel_size in layers:
        if reason := _why_not_layer(layer, kernel_size, channels):
            return f"{name} {reason}"
        channels = cast(nn.Conv2d, layer).out_channels
    if channels != 3 * net.num_votes:
        return f"its last layer gives {channels} channels, not {3 * net.num_votes}"
    if type(net.dropout) not in (nn.Dropout, nn.Identity):
        return f"its dropout is a {type(net.dropout).__name__}"
    if reason := why_not_plain(net.dropout):
        return f"its dropout {reason}"
    return no_kernels("vote_head", net.conv1.weight.device.type)


def _why_not_layer(layer: nn.Module, kernel_size: int, channels: int) -> str | None:
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
    if layer.in_channels != channels:
        return f"takes {layer.in_channels} channels, not {channels}"
    if layer.bias is None:
        return "has no bias"
    if layer.weight.dtype != torch.float32:
        return f"is {layer.weight.dtype}, not torch.float32"
    return why_not_plain(layer)
