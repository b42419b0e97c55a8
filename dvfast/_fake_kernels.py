"""What operators give, without data: shapes, dtypes, layouts; for meta tensors and compilers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__: list[str] = []


def _grid_length(size: int, stride: int, offset: float) -> int:
    """How many of the pixels ``offset + stride * i`` lie in an image of ``size`` pixels."""
    return max(0, (size - 1 - math.ceil(offset)) // stride + 1)


def _fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a fake kernel, which runs also where one tensor among others has no data."""

    def register(kernel: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(kernel)
        def checked(*arguments: Any) -> Any:
            devices = {x.device for x in pytree.tree_leaves(arguments) if isinstance(x, Tensor)}
            if len(devices) > 1:
                raise RuntimeError(
                    f"{name}: all tensors must be on one device, got "
                    f"{' and '.join(sorted(map(str, devices)))}"
                )
            return kernel(*arguments)

        torch.library.register_fake(f"dvfast::{name}", checked)
        return kernel

    return register


@_fake("hybrid_activation")
def _(logits: Tensor) -> Tensor:
    return torch.empty_like(logits)


@_fake("hybrid_activation_backward")
def _(grad_output: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output)


@_fake("hybrid_activation_double_backward")
def _(grad_grad_input: Tensor, grad_output: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output)


@_fake("voting_loss")
def _(
    logits: Tensor, target: Tensor, lam: float, per_patch: bool, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    shape = [logits.shape[0], *logits.shape[2:]] if per_patch else []
    loss = logits.new_empty(shape, dtype=dtype)
    return loss, torch.empty_like(logits, dtype=dtype) if with_gradient else loss.new_empty(0)


@_fake("voting_loss_backward")
def _(grad_output: Tensor, gradient: Tensor) -> Tensor:
    return torch.empty_like(gradient)


@_fake("vote_targets")
def _(
    points: Tensor,
    splits: Tensor,
    height: int,
    width: int,
    num_votes: int,
    r1: float,
    r2: float,
    beta: float,
    stride: int,
    offset_y: float,
    offset_x: float,
) -> Tensor:
    return points.new_empty(
        splits.shape[0] - 1,
        3 * num_votes,
        _grid_length(height, stride, offset_y),
        _grid_length(width, stride, offset_x),
    )


def _fake_map(votes: Tensor, height: int, width: int, *_: Any) -> tuple[Tensor, Tensor]:
    batch = votes.shape[0]
    return votes.new_empty(batch, height, width), votes.new_empty(batch, dtype=torch.int64)


def _fake_map_backward(grad: Tensor, votes: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(votes)


for _name in ("vote_map", "vote_density", "parzen_density"):
    _fake(_name)(_fake_map)
    _fake(f"{_name}_backward")(_fake_map_backward)


@_fake("find_peaks")
def _(density: Tensor, threshold: float, relative: bool, min_distance: int) -> Tensor:
    num_peaks = torch.library.get_ctx().new_dynamic_size()
    return density.new_empty(num_peaks, 2, dtype=torch.int64)


@_fake("find_first_peaks")
def _(
    density: Tensor, threshold: float, relative: bool, min_distance: int, capacity: int
) -> tuple[Tensor, Tensor]:
    points = density.new_empty(capacity, 2, dtype=torch.int64)
    return points, points.new_empty(1)


@_fake("density_peaks")
def _(
    votes: Tensor, height: int, width: int, *settings: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    capacity = settings[-1]
    num_points = torch.library.get_ctx().new_dynamic_size() if capacity < 0 else capacity
    points = votes.new_empty(num_points, 2, dtype=torch.int64)
    density = votes.new_empty(1, height, width)
    return density, points, points.new_empty(1), points.new_empty(1)


def _num_windows(size: int, reach: int, stride: int) -> int:
    return max(0, (size - reach - 1) // stride + 1)


def _fake_trunk_layer(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    kernel_size: int,
    dilation: int,
    pool_stride: int,
    pool_dilation: int,
    *_: int,
) -> Tensor:
    lengths = [_num_windows(n, (kernel_size - 1) * dilation, 1) for n in features.shape[1:3]]
    if pool_stride:
        lengths = [_num_windows(n, pool_dilation, pool_stride) for n in lengths]
    return features.new_empty(features.shape[0], *lengths, bias.shape[0])


for _name in ("trunk_layer", "bfloat16_trunk_layer", "matrix_trunk_layer"):
    _fake(_name)(_fake_trunk_layer)


def _fake_votes(
    features: Tensor, num_votes: int, kernel_size: int, dilation: int, stride: int, *_: int
) -> Tensor:
    reach = (kernel_size - 1) * dilation
    lengths = [_num_windows(n, reach, stride) for n in features.shape[1:3]]
    return features.new_empty(features.shape[0], 3 * num_votes, *lengths, dtype=torch.float32)


@_fake("vote_head")
def _(features: Tensor, weights: list[Tensor], biases: list[Tensor], *geometry: int) -> Tensor:
    return _fake_votes(features, *geometry)


@_fake("winograd_unet")
def _(
    image: Tensor,
    rows: Tensor,
    columns: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    widths: list[int],
    finest: int,
    num_votes: int,
) -> Tensor:
    height, width = rows.shape[0] >> finest, columns.shape[0] >> finest
    return image.new_empty(image.shape[0], 3 * num_votes, height, width)


def _fake_two_layers(geometry: Callable[..., tuple[int, ...]]) -> Callable[..., Tensor]:
    """Of a head with weights and biases of two layers; what `geometry` makes of the rest."""

    def kernel(
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        last_weight: Tensor,
        last_bias: Tensor,
        *rest: int,
    ) -> Tensor:
        return _fake_votes(features, *geometry(*rest))

    return kernel


for _name in ("bfloat16_head", "matrix_vote_head"):
    _fake(_name)(_fake_two_layers(lambda *geometry: geometry))
_fake("winograd_head")(_fake_two_layers(lambda num_votes, dilation: (num_votes, 5, dilation, 1)))
_fake("warpgroup_vote_head")(_fake_two_layers(lambda *geometry: (*geometry[:3], 1)))
