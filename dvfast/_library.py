"""Loads the native library and tells torch what C++ cannot: shapes, gradients, autocast.

The schemas stand in ``csrc/torch/library.cpp``. Every operator has a fake kernel here (for meta
tensors and ``torch.compile``), and a gradient where it is differentiable. The public face, with
contracts and documentation, is :mod:`dvfast.functional`.
"""

from __future__ import annotations

import ctypes
import json
import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["arithmetic_peak", "build_info", "cpu_info", "grid_length", "ops"]


def _find_library() -> Path:
    found = sorted(Path(__file__).parent.glob("_C*.so"))
    if not found:
        raise ImportError(
            "the native library of dvfast is not built: run `pip install .` in the project's folder"
        )
    return found[0]


_PATH = _find_library()
torch.ops.load_library(_PATH)
ops = torch.ops.dvfast


def build_info() -> dict[str, Any]:
    """How the native library was built: compiler, torch version, number of CUDA sources.

    Examples
    --------
    >>> import dvfast
    >>> sorted(dvfast.build_info())
    ['built_with_torch', 'compiler', 'cuda_sources', 'library']
    """
    tell = ctypes.CDLL(str(_PATH)).dvfast_build_info
    tell.restype = ctypes.c_char_p
    return {**json.loads(tell().decode()), "library": str(_PATH)}


def cpu_info() -> dict[str, Any]:
    """What the scan engine's kernels use of this CPU: vector instructions, and a matrix unit."""
    library = ctypes.CDLL(str(_PATH))
    library.dvfast_instruction_set.restype = ctypes.c_char_p
    library.dvfast_has_matrix_unit.restype = ctypes.c_bool
    return {
        "instruction_set": library.dvfast_instruction_set().decode(),
        "matrix_unit": library.dvfast_has_matrix_unit(),
    }


def arithmetic_peak(unit: Literal["vector", "matrix"], threads: int, rounds: int) -> float:
    """FLOP per second of multiply-adds in registers: float32 vectors, or bfloat16 in AMX."""
    if unit == "matrix" and not cpu_info()["matrix_unit"]:
        raise RuntimeError("this CPU has no matrix unit")
    library = ctypes.CDLL(str(_PATH))
    library.dvfast_arithmetic_peak.restype = ctypes.c_double
    library.dvfast_arithmetic_peak.argtypes = [ctypes.c_bool, ctypes.c_int, ctypes.c_int64]
    peak: float = library.dvfast_arithmetic_peak(unit == "matrix", threads, rounds)
    return peak


def release_memory() -> None:
    """Give back what this thread keeps of the memory that the CPU's kernels worked in."""
    ctypes.CDLL(str(_PATH)).dvfast_release_memory()


def grid_length(size: int, stride: int, offset: float) -> int:
    """How many of the pixels ``offset + stride * i`` lie in an image of ``size`` pixels."""
    return max(0, (size - 1 - math.ceil(offset)) // stride + 1)


# --- Fake kernels: shape, dtype and layout, without data ------------------------------------------


@torch.library.register_fake("dvfast::hybrid_activation")
def _(logits: Tensor) -> Tensor:
    return torch.empty_like(logits)


@torch.library.register_fake("dvfast::hybrid_activation_backward")
def _(grad_output: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output)


@torch.library.register_fake("dvfast::hybrid_activation_double_backward")
def _(grad_grad_input: Tensor, grad_output: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output)


@torch.library.register_fake("dvfast::voting_loss")
def _(
    logits: Tensor, target: Tensor, lam: float, per_patch: bool, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    shape = [logits.shape[0], *logits.shape[2:]] if per_patch else []
    gradient = torch.empty_like(logits) if with_gradient else logits.new_empty(0)
    return logits.new_empty(shape, dtype=dtype), gradient


@torch.library.register_fake("dvfast::voting_loss_backward")
def _(grad_output: Tensor, gradient: Tensor) -> Tensor:
    return torch.empty_like(gradient)


@torch.library.register_fake("dvfast::vote_targets")
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
        grid_length(height, stride, offset_y),
        grid_length(width, stride, offset_x),
    )


def _fake_map(votes: Tensor, height: int, width: int, *_: Any) -> tuple[Tensor, Tensor]:
    batch = votes.shape[0]
    return votes.new_empty(batch, height, width), votes.new_empty(batch, dtype=torch.int64)


def _fake_map_backward(grad: Tensor, votes: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(votes)


for _name in ("vote_map", "vote_density", "parzen_density"):
    torch.library.register_fake(f"dvfast::{_name}", _fake_map)
    torch.library.register_fake(f"dvfast::{_name}_backward", _fake_map_backward)


@torch.library.register_fake("dvfast::find_peaks")
def _(density: Tensor, threshold: float, relative: bool, min_distance: int) -> Tensor:
    num_peaks = torch.library.get_ctx().new_dynamic_size()
    return density.new_empty(num_peaks, 2, dtype=torch.int64)


@torch.library.register_fake("dvfast::find_first_peaks")
def _(
    density: Tensor, threshold: float, relative: bool, min_distance: int, capacity: int
) -> tuple[Tensor, Tensor]:
    points = density.new_empty(capacity, 2, dtype=torch.int64)
    return points, points.new_empty(1)


@torch.library.register_fake("dvfast::density_peaks")
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
    torch.library.register_fake(f"dvfast::{_name}", _fake_trunk_layer)


def _fake_votes(
    features: Tensor, num_votes: int, kernel_size: int, dilation: int, stride: int, *_: int
) -> Tensor:
    reach = (kernel_size - 1) * dilation
    lengths = [_num_windows(n, reach, stride) for n in features.shape[1:3]]
    return features.new_empty(features.shape[0], 3 * num_votes, *lengths, dtype=torch.float32)


@torch.library.register_fake("dvfast::vote_head")
def _(features: Tensor, weights: list[Tensor], biases: list[Tensor], *geometry: int) -> Tensor:
    return _fake_votes(features, *geometry)


@torch.library.register_fake("dvfast::winograd_head")
def _(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    last_weight: Tensor,
    last_bias: Tensor,
    num_votes: int,
    dilation: int,
) -> Tensor:
    return _fake_votes(features, num_votes, 5, dilation, 1)


@torch.library.register_fake("dvfast::winograd_unet")
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


def _fake_two_layers(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    last_weight: Tensor,
    last_bias: Tensor,
    *geometry: int,
) -> Tensor:
    return _fake_votes(features, *geometry)


for _name in ("bfloat16_head", "matrix_vote_head"):
    torch.library.register_fake(f"dvfast::{_name}", _fake_two_layers)


@torch.library.register_fake("dvfast::warpgroup_vote_head")
def _(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    last_weight: Tensor,
    last_bias: Tensor,
    num_votes: int,
    kernel_size: int,
    dilation: int,
    precision: int,
) -> Tensor:
    return _fake_votes(features, num_votes, kernel_size, dilation, 1)


# --- Gradients ------------------------------------------------------------------------------------


def _hybrid_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _hybrid_backward(ctx: Any, grad_output: Tensor) -> Tensor:
    (output,) = ctx.saved_tensors
    return ops.hybrid_activation_backward(grad_output, output)


def _hybrid_backward_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _hybrid_double_backward(ctx: Any, grad_grad_input: Tensor) -> tuple[Tensor, Tensor]:
    grad_output, output = ctx.saved_tensors
    return (
        ops.hybrid_activation_backward(grad_grad_input, output),
        ops.hybrid_activation_double_backward(grad_grad_input, grad_output, output),
    )


torch.library.register_autograd(
    "dvfast::hybrid_activation", _hybrid_backward, setup_context=_hybrid_setup
)
torch.library.register_autograd(
    "dvfast::hybrid_activation_backward",
    _hybrid_double_backward,
    setup_context=_hybrid_backward_setup,
)


def _loss_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _loss_backward(ctx: Any, grad_loss: Tensor, _: Any) -> tuple[Tensor, None, None, None, None]:
    (gradient,) = ctx.saved_tensors
    return ops.voting_loss_backward(grad_loss, gradient), None, None, None, None


torch.library.register_autograd("dvfast::voting_loss", _loss_backward, setup_context=_loss_setup)


def _map_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    votes, _height, _width, *settings = inputs
    ctx.save_for_backward(votes)
    ctx.settings = settings


def _register_map_gradient(name: str) -> None:
    backward_op = getattr(ops, f"{name}_backward")

    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        (votes,) = ctx.saved_tensors
        return backward_op(grad, votes, *ctx.settings), None, None, *(None for _ in ctx.settings)

    torch.library.register_autograd(f"dvfast::{name}", backward, setup_context=_map_setup)


def _refuse_double_backward(name: str) -> None:
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            f"dvfast.{name} does not differentiate twice; its gradient is computed by a kernel of "
            f"its own. dvfast.reference.{name} does."
        )

    torch.library.register_autograd(f"dvfast::{name}_backward", backward)


for _name in ("vote_map", "vote_density", "parzen_density"):
    _register_map_gradient(_name)
for _name in ("voting_loss", "vote_map", "vote_density", "parzen_density"):
    _refuse_double_backward(_name)


def _hybrid_triple_backward(ctx: Any, *grads: Any) -> Any:
    raise RuntimeError(
        "dvfast.hybrid_activation does not differentiate three times; "
        "dvfast.reference.hybrid_activation does."
    )


torch.library.register_autograd(
    "dvfast::hybrid_activation_double_backward", _hybrid_triple_backward
)


def _refuse_gradient(name: str, purpose: str) -> None:
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(f"torch.ops.dvfast.{name} has no gradient: {purpose}")

    torch.library.register_autograd(f"dvfast::{name}", backward)


for _name in (
    "trunk_layer",
    "vote_head",
    "winograd_head",
    "winograd_unet",
    "bfloat16_trunk_layer",
    "bfloat16_head",
    "matrix_trunk_layer",
    "matrix_vote_head",
    "warpgroup_vote_head",
):
    _refuse_gradient(
        _name,
        "it is made for dvfast.scan, which is for inference only. "
        "The networks' own dense() has one.",
    )
_refuse_gradient(
    "density_peaks",
    "it is made for detection. dvfast.vote_density and dvfast.find_peaks have one.",
)

# --- Autocast: a half has too few digits for a pixel coordinate -----------------------------------

for _name in (
    "vote_targets",
    "vote_map",
    "vote_density",
    "parzen_density",
    "find_peaks",
    "find_first_peaks",
    "density_peaks",
):
    for _device in ("cpu", "cuda"):
        torch.library.register_autocast(f"dvfast::{_name}", _device, torch.float32)
