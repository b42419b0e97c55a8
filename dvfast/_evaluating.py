"""What holds while a network is scanned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .nn import VotingNetwork

__all__ = ["convolving_in_float32", "evaluating"]

_lock = threading.Lock()
_held: dict[Hashable, tuple[int, Callable[[], None]]] = {}


@contextmanager
def _holding(key: Hashable, enter: Callable[[], Callable[[], None]]) -> Iterator[None]:
    """Between the first `enter` and what it returns, which the last of all threads calls."""
    with _lock:
        count, leave = _held[key] if key in _held else (0, enter())
        _held[key] = (count + 1, leave)
    try:
        yield
    finally:
        with _lock:
            count, leave = _held.pop(key)
            if count > 1:
                _held[key] = (count - 1, leave)
            else:
                leave()


@contextmanager
def convolving_in_float32() -> Iterator[None]:
    """Float32 as it is: on a GPU PyTorch convolves in TF32 by default. Set back at the end."""
    # Both are made at run time.
    kinds: list[Any] = [torch.backends.cudnn.conv, torch.backends.mkldnn.conv]  # type: ignore[attr-defined]

    def enter() -> Callable[[], None]:
        rounded = [
            (convolutions, convolutions.fp32_precision)
            for convolutions in kinds
            if convolutions.fp32_precision in ("tf32", "bf16")
        ]
        for convolutions, _ in rounded:
            convolutions.fp32_precision = "ieee"

        def leave() -> None:
            for convolutions, precision in rounded:
                convolutions.fp32_precision = precision

        return leave

    with _holding("float32", enter):
        yield


def _only_sets_a_flag(module: nn.Module) -> bool:
    """Whether `train` is PyTorch's: others merge adapters into their weights, and split them."""
    return type(module).train is nn.Module.train and "train" not in vars(module)


@contextmanager
def evaluating(net: VotingNetwork) -> Iterator[None]:
    """Without dropout, and in float32 where that is asked for. Set back at the end."""

    def enter() -> Callable[[], None]:
        modes = [(module, module.training) for module in net.modules()]
        net.eval()

        def leave() -> None:
            # What comes later stands further in, and has the last word about itself.
            for module, training in modes:
                if _only_sets_a_flag(module):
                    module.training = training
                else:
                    module.train(training)

        return leave

    with _holding(id(net), enter), convolving_in_float32():
        yield
