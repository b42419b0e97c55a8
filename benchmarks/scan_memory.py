"""Memory of a scan beyond the image and its votes, each scan in a process of its own.

    python benchmarks/scan_memory.py

In a process that has done other things, what its allocator keeps is used again, or is in the way.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import click
import torch

import dvfast
from dvfast._padding import pad_image
from dvfast.bench.machine import peak_memory
from dvfast.bench.peers import dense_pass
from dvfast.nn import DeepVotingNet
from dvfast.nn.deep_voting_net import PATCH_SIZE

_RUNS = {
    "exact, 400 x 400": ("exact", 400, 1),
    "float32, 400 x 400": ("float32", 400, 1),
    "exact, 8000 x 8000 at stride 4": ("exact", 8000, 4),
    "float32, 8000 x 8000 at stride 4": ("float32", 8000, 4),
    "PyTorch, head in bands of 8 rows, 400 x 400": (8, 400, 1),
    "PyTorch, head in one piece, 400 x 400": (None, 400, 1),
    **{
        f"{weights}, {precision}, {size} x {size}": (precision, size, 2, weights)
        for weights in ("ihc", "histology")
        for precision, sizes in (("exact", (512, 4000)), ("float32", (512, 4000, 8000)))
        for size in sizes
    },
}


@torch.no_grad()
def used(how: str | int | None, size: int, stride: int, weights: str | None = None) -> int:
    """Bytes; `how` is a precision, or the rows of a band of PyTorch's head."""
    torch.manual_seed(0)
    net = dvfast.Detector.from_pretrained(weights).net if weights else DeepVotingNet().eval()
    image = torch.rand(3, size, size)
    padded = pad_image(image, PATCH_SIZE // 2)[None] if not isinstance(how, str) else image

    def run() -> torch.Tensor:
        if isinstance(how, str):
            return dvfast.scan(net, image, precision=how, stride=stride)  # type: ignore[arg-type]
        return dense_pass(net, padded, stride, how)

    if isinstance(how, str):  # packed weights are no working memory
        few = image[:, :64, :64]
        dvfast.scan(net, few, precision=how, stride=stride)  # type: ignore[arg-type]
    peak = peak_memory(run, torch.device("cpu"))
    if peak is None:
        raise SystemExit("this system does not tell how much memory a process uses")
    return peak - 6 * (-(-size // stride)) ** 2 * 4


@click.command(help=__doc__.splitlines()[0])
def main() -> None:
    for name, how in _RUNS.items():
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            click.echo(f"{name}: {process.submit(used, *how).result() / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
