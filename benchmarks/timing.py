"""Timing runs on one device, and refusing to time what is wrong."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_REPEATS = 15
Run = Callable[[], Any]


def measure(runs: dict[str, Run], device: torch.device) -> dict[str, float]:
    """Median seconds of every run; the runs take turns, so that drift hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(_REPEATS + 3):
        for name, run in runs.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if repeat >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def same(ours: Tensor, theirs: Tensor, tolerance: float, name: str = "the operator") -> None:
    if ours.shape != theirs.shape:
        raise SystemExit(f"{name} is {list(ours.shape)}, not {list(theirs.shape)}")
    if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance):
        raise SystemExit(f"{name} differs by {(ours - theirs).abs().max():.2e}: not worth timing")
