"""The scan on one GPU, image to points: beside PyTorch's dense pass and the matrix rate.

Run by ``make gpu-check``. As in on_device.py, times of a comparison are taken in turns, and results
are compared before they are timed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from timing import measure
from torch import Tensor

import dvfast
from dvfast import _engine
from dvfast.detection.peaks import density_peaks
from dvfast.nn import DeepVotingNet
from dvfast.nn.deep_voting_net import PATCH_SIZE
from dvfast.scan import PRECISIONS, pad_image

_CAPACITY = 65_536
_FORMS = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}
# Largest deviation from "exact" that a precision may have: offsets are some pixels.
_TOLERANCE = {"exact": 0.0, "float32": 1e-3, "tf32": 0.05, "bfloat16": 0.5}


def points_of(votes: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
    settings = dvfast.DetectionSettings(sigma=1.0, window=5, min_distance=1)
    return density_peaks(votes, size, settings, _CAPACITY)


def captured(run: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """The same as a CUDA graph; itself where there is none."""
    if device.type != "cuda":
        return run
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def heads(engine: _engine.Engine, precision: str) -> dict[str, bool]:
    """By name, whether the head runs by the matrix instructions of four warps."""
    found = {precision: False}
    if precision != "exact" and engine.has_warpgroups:
        found[f"{precision}, warpgroups"] = True
    return found


@contextmanager
def head_by(warpgroups: bool) -> Iterator[None]:
    before, _engine.WARPGROUPS = _engine.WARPGROUPS, warpgroups
    try:
        yield
    finally:
        _engine.WARPGROUPS = before


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP per second of a product of square matrices, by PyTorch."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = measure({"product": lambda: a @ b}, device)["product"]
    return 2 * side**3 / seconds


def torch_names(precision: str) -> tuple[str, str]:
    return f"PyTorch, {precision}", f"PyTorch compiled, {precision}"


def torch_forms(
    net: DeepVotingNet, padded: Tensor, size: tuple[int, int]
) -> dict[str, Callable[[], Any]]:
    """The same as PyTorch does it, eagerly and compiled, in each of its precisions."""
    runs: dict[str, Callable[[], Any]] = {}
    for precision, dtype in _FORMS.items():
        plain = copy.deepcopy(net).to(dtype=dtype, memory_format=torch.channels_last)
        x = padded.to(dtype)

        def dense(plain: DeepVotingNet = plain, x: Tensor = x) -> Any:
            return points_of(dvfast.hybrid_activation(plain.dense(x)).float(), size)

        def run(dense: Callable[[], Any], rounded: bool = precision == "tf32") -> Any:
            torch.backends.cudnn.conv.fp32_precision = "tf32" if rounded else "ieee"
            return dense()

        for name, form in zip(torch_names(precision), (dense, torch.compile(dense)), strict=True):
            runs[name] = partial(run, form)
    return runs


@torch.inference_mode()
def scanning(device: torch.device, side: int, *, peers: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    net = DeepVotingNet().to(device).eval()
    image = torch.rand(3, side, side, device=device)
    size = (side, side)
    padded = pad_image(image, PATCH_SIZE // 2)[None].contiguous(memory_format=torch.channels_last)
    engine = _engine.engine_of(net)
    exact = dvfast.scan(net, image)
    deviation = {}
    runs: dict[str, Callable[[], Any]] = {}
    for precision in (p for p in PRECISIONS if engine.why_not(p) is None):
        for name, warpgroups in heads(engine, precision).items():

            def detect(precision: Any = precision, warpgroups: bool = warpgroups) -> Any:
                with head_by(warpgroups):
                    return points_of(dvfast.scan(net, image, precision=precision), size)

            with head_by(warpgroups):
                found = dvfast.scan(net, image, precision=precision)
            deviation[name] = float((found - exact).abs().max())
            if not deviation[name] <= _TOLERANCE[precision]:
                raise SystemExit(f"{name} is off by {deviation[name]:.1e}: not worth timing")
            runs[name] = detect
            if peers:  # where launches count beside what they launch
                runs[f"{name}, graph"] = captured(detect, device)
    failed = {}
    for name, peer in (torch_forms(net, padded, size) if peers else {}).items():
        try:
            peer()
        except Exception as error:  # a peer that cannot run must not cost the other figures
            failed[name] = str(error)[:500]
        else:
            runs[name] = peer
    seconds = measure(runs, device)
    flops = 2.0 * side**2 * sum(p.numel() for p in net.parameters() if p.dim() == 4)
    result = {
        "side": side,
        "seconds": seconds,
        "deviation_from_exact": deviation,
        "flops_per_second": {name: flops / value for name, value in seconds.items()},
    }
    if failed:
        result["failed"] = failed
    theirs = {p: [v for n, v in seconds.items() if n in torch_names(p)] for p in _FORMS}
    result["faster_than_the_best"] = {
        precision: min(theirs[precision])
        / min(value for name, value in seconds.items() if name.split(",")[0] == precision)
        for precision in _FORMS
        if len(theirs[precision]) == 2 and precision in seconds  # the best of both, or of none
    }
    return result


def all_scans(device: torch.device, side: int) -> dict[str, Any]:
    """The comparison for an image of this side, beside the rates of products of matrices."""
    small = device.type == "cpu"
    return {
        "matrix_flops_per_second": {
            str(dtype): matrix_rate(device, dtype, 256 if small else 8192)
            for dtype in (torch.bfloat16, torch.float32)
        },
        # Beyond, PyTorch's hidden map alone would take 64 GiB.
        "scan": scanning(device, side, peers=side <= 1024),
    }
