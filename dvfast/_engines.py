"""What the scan engines have in common: packed weights are kept, and only known layers are run."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from .nn import VotingNetwork

__all__ = ["PackedNetwork", "held", "kept", "no_kernels", "why_not_plain"]


_Made = TypeVar("_Made")


class PackedNetwork:
    """Knows the weights that it was packed from."""

    def __init__(self, net: VotingNetwork) -> None:
        self._originals = [tensor.detach().clone() for tensor in _weights(net)]
        self._made: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        device: torch.device = self._originals[0].device
        return device

    def made_once(self, name: str, make: Callable[[], _Made]) -> _Made:
        """What is packed only when it is first needed."""
        if name in self._made:
            found: _Made = self._made[name]
            return found
        made = make()
        if not _capturing():
            _finish_packing(self.device)
            self._made[name] = made
        return made

    def is_of(self, net: VotingNetwork) -> bool:
        """Whether these are the weights that the network has now, however they may have changed."""
        tensors = _weights(net)
        return len(tensors) == len(self._originals) and all(
            now.device == then.device and torch.equal(now, then)
            for now, then in zip(tensors, self._originals, strict=True)
        )


def _weights(net: VotingNetwork) -> list[Tensor]:
    # Not the state_dict, which a hook may have changed: it is for checkpoints.
    named = chain(
        net.named_parameters(remove_duplicate=False), net.named_buffers(remove_duplicate=False)
    )
    return [tensor for _, tensor in named]


_Packed = TypeVar("_Packed", bound=PackedNetwork)
_Net = TypeVar("_Net", bound=VotingNetwork)

_packed: weakref.WeakKeyDictionary[VotingNetwork, Any] = weakref.WeakKeyDictionary()


def kept(net: _Net, pack: Callable[[_Net], _Packed]) -> _Packed:
    """The packed network, packed anew only if its weights have changed."""
    if _tracing(net):
        return pack(net)
    engine: _Packed | None = _packed.get(net)
    # A CUDA graph holds the weights that were packed before it was captured, and cannot compare.
    if engine is not None and (_capturing() or engine.is_of(net)):
        return engine
    engine = pack(net)
    if not _capturing():
        _finish_packing(engine.device)
        _packed[net] = engine
    return engine


def _capturing() -> bool:
    """Whether a CUDA graph is being captured: what is made now is made when it is replayed."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _tracing(net: VotingNetwork) -> bool:
    """Whether tensors stand for others: what is made of them means nothing afterwards.

    Packing is then part of what is traced, so that what was packed before does not enter either.
    """
    return (
        torch.compiler.is_exporting()
        or torch._C._functorch.maybe_current_level() is not None
        or any(mode.is_infra_mode() for mode in _get_current_dispatch_mode_stack())
        or any(
            type(weight) not in (Tensor, nn.Parameter)
            or torch._C._functorch.is_functorch_wrapped_tensor(weight)
            for weight in _weights(net)
        )
    )


def _finish_packing(device: torch.device) -> None:
    # Kept weights are read on any stream, not only on the one that packed them.
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def held(net: VotingNetwork) -> PackedNetwork | None:
    """What is kept of a network, for whoever needs it for longer: a graph that reads its memory."""
    engine: PackedNetwork | None = _packed.get(net)
    return engine


def why_not_plain(module: nn.Module) -> str | None:
    """What a module does beyond its class: hooks, a forward of its own."""
    if module._forward_hooks or module._forward_pre_hooks:
        return "has hooks"
    if "forward" in vars(module):
        return "has a forward of its own"
    return None


def no_kernels(operator: str, device: str) -> str | None:
    """Why a device cannot run an operator of the engine; ``None`` if it can."""
    if device in ("cpu", "cuda") and torch._C._dispatch_has_kernel_for_dispatch_key(
        f"dvfast::{operator}", device.upper()
    ):
        return None
    return f"it has no kernels for {device}"
