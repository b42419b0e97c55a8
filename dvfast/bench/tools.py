"""Contests of whole tools: the network of each over one image, and what each does after it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from .. import functional
from ..detection import Detector
from ..scan import Precision, can_scan, scan
from .contest import Contender, Contest, Entry, Settings
from .workers import TOOLS, ToolError, Worker

__all__ = ["ENTRIES"]

_RADIUS = 6.6  # of nuclei, in pixels
_RANDOM = (
    "The other networks have random weights: this is their throughput, and says nothing about what "
    "they find."
)


def _start(settings: Settings, image: NDArray[Any], stack: ExitStack) -> list[Worker]:
    """The tools that can run, each with the image loaded."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    file = Path(folder) / "image.npy"
    np.save(file, image)
    workers = []
    for tool in TOOLS:
        try:
            assert settings.peers is not None
            worker = stack.enter_context(Worker(settings.peers, tool, threads=settings.threads))
            worker.ask("load", image=str(file), radius=_RADIUS)
        except ToolError:  # it is missing from the table, which says so
            continue
        workers.append(worker)
    if not workers:
        stack.close()
        raise LookupError(f"none of {', '.join(TOOLS)} can run in {settings.peers}")
    return workers


def _seconds(worker: Worker, run: str) -> float:
    return float(worker.ask(run)["seconds"])


def _theirs(workers: Sequence[Worker], run: str) -> list[Contender]:
    return [
        Contender(
            f"{worker.about['tool']} {worker.about['version']}",
            partial(_seconds, worker, run),
            tells=True,
        )
        for worker in workers
    ]


def _missing(workers: Sequence[Worker]) -> list[str]:
    missing = [tool for tool in TOOLS if tool not in {worker.tool for worker in workers}]
    return [f"Not installed: {', '.join(missing)}."] if missing else []


def _forward(settings: Settings) -> Contest:
    """A real image: what some tools take depends on what they find."""
    image: NDArray[np.float32] = data.immunohistochemistry().astype(np.float32) / 255
    tensor = torch.from_numpy(image).movedim(2, 0).contiguous().to(settings.device)
    precisions: list[Precision] = ["float32", "bfloat16"]
    ours = []
    for weights in ("ihc", "ihc-patch"):
        detector = Detector.from_pretrained(weights).to(settings.device)
        own = detector.settings.stride
        for stride in sorted({own, detector.net.output_stride}, reverse=True):
            ours += [
                Contender(
                    f"dvfast, weights {weights}, stride {stride}, {precision}",
                    partial(scan, detector.net, tensor, stride=stride, precision=precision),
                    True,
                )
                for precision in precisions
                if can_scan(detector.net, precision) and (precision == "float32" or stride == own)
            ]
    stack = ExitStack()
    workers = _start(settings, image, stack)
    height, width = image.shape[:2]
    return Contest(
        [*ours, *_theirs(workers, "forward")],
        lambda: [_seconds(worker, "forward") for worker in workers],  # each checks what it gets
        height * width,
        notes=[_RANDOM, "blob_log has no network: its time is that of the whole.",
               *_missing(workers)],
        close=stack.close,
    )  # fmt: skip


def _postprocess(settings: Settings) -> Contest:
    """From maps as a trained network would give them to objects."""
    side = 512
    stride = 4
    generator = torch.Generator().manual_seed(0)
    nuclei = side * torch.rand(side * side // 400, 2, generator=generator)
    image = torch.rand(side, side, 3, generator=generator).numpy()
    stack = ExitStack()
    installed = _start(settings, image, stack)
    workers = [worker for worker in installed if "postprocess" in worker.about["runs"]]

    def ours(step: int) -> Callable[[], int]:
        votes = functional.vote_targets(nuclei, (side, side), 2, r1=12, r2=24, stride=step)
        votes = votes.to(settings.device)

        def run() -> int:
            density = functional.vote_density(votes, (side, side), sigma=3, window=19, stride=step)
            return len(functional.find_peaks(density[0], min_distance=6)[0])

        return run

    steps = {f"dvfast, stride {step}": ours(step) for step in (stride, 1)}

    def verify() -> None:
        for name, run in steps.items():  # nuclei that lie on each other are found as one
            assert 0.5 * len(nuclei) < run() <= len(nuclei), name
        for worker in workers:
            _seconds(worker, "postprocess")

    return Contest(
        [
            *(Contender(name, run, True) for name, run in steps.items()),
            *_theirs(workers, "postprocess"),
        ],
        verify,
        side * side,
        notes=["Every tool gets maps such as its own network would give.", *_missing(installed)],
        close=stack.close,
    )


ENTRIES = (
    Entry(
        "tools-forward",
        "tools",
        "The network of each tool, 512 × 512 RGB pixels",
        _forward,
        quick=False,
        needs="peers",
        repeats=5,
    ),
    Entry(
        "tools-postprocess",
        "tools",
        "From maps to objects, 512 × 512 pixels",
        _postprocess,
        quick=False,
        needs="peers",
        repeats=5,
    ),
)
