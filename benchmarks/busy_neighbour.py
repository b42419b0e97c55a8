"""How much longer a scan takes while another program keeps one core busy.

    python benchmarks/busy_neighbour.py

Alone and beside it in turns, the ways of scanning too; 512 x 512 pixels, the weights `ihc`. Where
there are n cores, n + 1 programs share them: at best it takes (n + 1) / n times as long.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import click
import torch
from skimage.data import immunohistochemistry
from torch import Tensor

import dvfast
from dvfast.data import image_to_tensor

_SAMPLES = 8  # scans in a turn: the scheduler takes its time


@contextmanager
def neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """A program that does nothing but compute, asleep as yet."""
    program = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        program.send_signal(signal.SIGSTOP)
        yield program
    finally:
        program.kill()
        program.wait()


def seconds_of(run: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    for _ in range(_SAMPLES):
        run()
    return (time.perf_counter() - start) / _SAMPLES


def ways() -> dict[str, Callable[[], Tensor]]:
    """Image to votes."""
    detector = dvfast.Detector.from_pretrained("ihc")
    net, stride = detector.net, detector.settings.stride
    image = image_to_tensor(immunohistochemistry(), 3)
    crops = image[None].contiguous(memory_format=torch.channels_last)
    return {
        "float32": partial(dvfast.scan, net, image, stride=stride, precision="float32"),
        "exact": partial(dvfast.scan, net, image, stride=stride, precision="exact"),
        "PyTorch, channels_last": partial(net.dense, crops, stride),
    }


@click.command(help=__doc__.splitlines()[0])
@click.option("--rounds", default=9, show_default=True)
def main(rounds: int) -> None:
    runs = ways()
    alone: dict[str, list[float]] = {name: [] for name in runs}
    beside: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad(), neighbour() as program:
        for run in runs.values():
            run()
        for _ in range(rounds):
            for name, run in runs.items():
                alone[name].append(seconds_of(run))
                program.send_signal(signal.SIGCONT)
                beside[name].append(seconds_of(run))
                program.send_signal(signal.SIGSTOP)
    click.echo(f"{torch.get_num_threads()} threads, {len(os.sched_getaffinity(0))} cores")
    for name in runs:
        ratio = statistics.median(b / a for a, b in zip(alone[name], beside[name], strict=True))
        click.echo(
            f"{name}: {1e3 * statistics.median(alone[name]):.1f} ms alone, "
            f"{1e3 * statistics.median(beside[name]):.1f} beside a busy program ({ratio:.2f})"
        )


if __name__ == "__main__":
    main()
