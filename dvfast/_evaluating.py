"""What holds while a network is scanned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .nn import VotingNetwork

__all__ = ["evaluating"]


@contextmanager
def evaluating(net: VotingNetwork) -> Iterator[None]:
    """Without dropout, and with convolutions in float32: on a GPU PyTorch's are TF32 by default.

    Both are set back at the end.
    """
    modes = [(module, module.training) for module in net.modules()]
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # made at run time
    precision = convolutions.fp32_precision
    net.eval()
    if precision == "tf32":
        convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        if precision == "tf32":
            convolutions.fp32_precision = precision
        for module, training in modes:
            module.training = training
