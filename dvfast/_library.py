"""Loads the native library and tells torch what C++ cannot: shapes, gradients, autocast.

The schemas stand in ``csrc/torch/library.cpp``. Every operator has a fake kernel
(:mod:`dvfast._fake_kernels`), and here a gradient where it is differentiable. The public face, with
contracts and documentation, is :mod:`dvfast.functional`.
"""

from __future__ import annotations

import ctypes
import json
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["HAS_CUDA_KERNELS", "arithmetic_peak", "build_info", "cpu_info", "ops"]


def _find_library() -> Path:
    found = sorted(Path(__file__).parent.glob("_C*.so"))
    if not found:
        raise ImportError(
            "the native library of dvfast is not built: run `pip install .` in the project's folder"
        )
    return found[0]


_CAPABILITIES = ("portable", "avx2", "avx512")
_MOST_THREADS = 4096

_PATH = _find_library()
if (_asked := os.environ.get("DVFAST_CPU_CAPABILITY", "avx512")) not in _CAPABILITIES:
    warnings.warn(
        f"DVFAST_CPU_CAPABILITY is {_asked!r}, expected one of {', '.join(_CAPABILITIES)}: it is "
        "ignored",
        RuntimeWarning,
        stacklevel=2,
    )
torch.ops.load_library(_PATH)
ops = torch.ops.dvfast

from . import _fake_kernels  # noqa: E402, F401  (they belong to operators that are there)


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


HAS_CUDA_KERNELS = build_info()["cuda_sources"] > 0


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
    if not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"threads must be from 1 to {_MOST_THREADS}, got {threads}")
    library = ctypes.CDLL(str(_PATH))
    library.dvfast_arithmetic_peak.restype = ctypes.c_double
    library.dvfast_arithmetic_peak.argtypes = [ctypes.c_bool, ctypes.c_int, ctypes.c_int64]
    peak: float = library.dvfast_arithmetic_peak(unit == "matrix", threads, rounds)
    return peak


def release_memory() -> None:
    """Give back what this thread keeps of the memory that the CPU's kernels worked in."""
    ctypes.CDLL(str(_PATH)).dvfast_release_memory()


# --- Gradients ------------------------------------------------------------------------------------


def refuse_transforms(name: str, value: Tensor) -> None:
    """Derivatives that the operators do not have, but by backward."""
    refuse_tangent(name, value)
    if not torch.compiler.is_compiling() and _is_differentiated(value):
        raise NotImplementedError(
            f"{name} is differentiated by torch.func, but dvfast's operators know backward and "
            "torch.autograd.grad alone; use those, or dvfast.reference"
        )


def _is_differentiated(value: Tensor) -> bool:
    """By a transform, be it one around others; within one, constants are wrapped, too."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_gradtrackingtensor(value) and value.requires_grad:
            return True
        value = functorch.get_unwrapped(value)
    return False


def refuse_tangent(name: str, value: Tensor) -> None:
    """PyTorch would take the derivative of an operator without forward mode for zero."""
    if forward_ad._current_level < 0:
        return
    tangent = forward_ad.unpack_dual(value).tangent
    if tangent is not None:
        raise NotImplementedError(
            f"{name} carries a tangent, but dvfast's operators have no derivatives in forward "
            "mode; use backward or torch.autograd.grad, or dvfast.reference"
        )


def _hybrid_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _hybrid_backward(ctx: Any, grad_output: Tensor) -> Tensor:
    refuse_tangent("grad_output", grad_output)
    (output,) = ctx.saved_tensors
    return ops.hybrid_activation_backward(grad_output, output)


def _hybrid_backward_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _hybrid_double_backward(ctx: Any, grad_grad_input: Tensor) -> tuple[Tensor, Tensor]:
    refuse_tangent("grad_grad_input", grad_grad_input)
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
    ctx.dtype = inputs[0].dtype
    ctx.with_gradient = inputs[4]


def _loss_backward(ctx: Any, grad_loss: Tensor, _: Any) -> tuple[Tensor, None, None, None, None]:
    refuse_tangent("grad_output", grad_loss)
    if not ctx.with_gradient:
        raise RuntimeError(
            "voting_loss has no gradient here: it was captured (by torch.export, make_fx or "
            "torch.jit.trace) with logits that did not require one, and computes none since. "
            "Capture it with logits that require a gradient"
        )
    (gradient,) = ctx.saved_tensors
    # Rounded to a half only now that 1 / N and the scale of losses are in it.
    scaled = ops.voting_loss_backward(grad_loss, gradient).to(ctx.dtype)
    return scaled, None, None, None, None


torch.library.register_autograd("dvfast::voting_loss", _loss_backward, setup_context=_loss_setup)


def _map_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    votes, _height, _width, *settings = inputs
    ctx.save_for_backward(votes)
    ctx.settings = settings


def _register_map_gradient(name: str) -> None:
    backward_op = getattr(ops, f"{name}_backward")

    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        refuse_tangent("grad_output", grad)
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
