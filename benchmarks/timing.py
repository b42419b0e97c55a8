"""Timing runs on one device, and refusing to time what is wrong."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

# Neither needs more than torch, which is all that a machine with a GPU may have.
from dvfast.bench.machine import wait
from dvfast.bench.timing import take_turns

_WARM_UP, _REPEATS = 3, 15
_LONG = 20.0  # seconds that all repeats together may take, beyond the least number of them
_LEAST = 5
Run = Callable[[], Any]


def measure(runs: dict[str, Run], device: torch.device) -> dict[str, float]:
    """Median seconds of every run; the runs take turns, so that drift hits all of them."""
    samples = {name: partial(_timed, run, device) for name, run in runs.items()}
    a_turn = sum(min(values) for values in take_turns(samples, _WARM_UP).values())
    least = min(_LEAST, _REPEATS)
    seconds = take_turns(samples, min(_REPEATS, max(least, int(_LONG / a_turn))))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _timed(run: Run, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def same(ours: Tensor, theirs: Tensor, tolerance: float, name: str = "the operator") -> None:
    """Refuse what differs by more than this share of the largest number."""
    if ours.shape != theirs.shape:
        raise SystemExit(f"{name} is {list(ours.shape)}, not {list(theirs.shape)}")
    largest = float(theirs.abs().max()) if theirs.numel() else 0.0
    if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * largest):
        raise SystemExit(f"{name} differs by {(ours - theirs).abs().max():.2e}: not worth timing")
