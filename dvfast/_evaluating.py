"""What holds while a network is scanned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .nn import VotingNetwork

__all__ = ["convolving_in_float32", "evaluating"]


@contextmanager
def convolving_in_float32() -> Iterator[None]:
    """Float32 as it is: on a GPU PyTorch convolves in TF32 by default. Set back at the end."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # made at run time
    rounded = convolutions.fp32_precision == "tf32"
    if rounded:
        convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        if rounded:
            convolutions.fp32_precision = "tf32"


@contextmanager
def evaluating(net: VotingNetwork) -> Iterator[None]:
    """Without dropout, and in float32 where that is asked for. Set back at the end."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with convolving_in_float32():
            yield
    finally:
        for module, training in modes:
            module.training = training
