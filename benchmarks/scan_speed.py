"""The scan engine beside the strongest PyTorch forms of the same pass, and beside the machine.

    python benchmarks/scan_speed.py [--size 400] [--repeats 7] [--json FILE]

Every comparison takes its runs in turns and gives the median of the ratios of neighbouring runs:
what else the machine does meanwhile hits both. Results are compared before anything is timed. The
default network has random weights; pixels are those at the network's own scale.
"""

from __future__ import annotations

import copy
import json
import math
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import torch
from machine import describe, fma_peak, peak_memory
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

import dvfast
from dvfast._engine import engine_of
from dvfast.nn import PATCH_SIZE, DeepVotingNet
from dvfast.scan import pad_image

_Run = Callable[[], Any]
_PART = 16  # rows of the image that the sliding window gets; its time is in proportion


def torch_dense(net: DeepVotingNet, padded: Tensor, stride: int, band: int) -> Tensor:
    """The dense pass as an expert writes it in PyTorch: channels_last, dilated, head in bands."""
    features = net.trunk_pass(padded.contiguous(memory_format=torch.channels_last), stride)
    # Samples between one row of votes and the next, and those that a row of votes spans.
    between = stride // math.gcd(stride, 4)
    reach = 16 // math.gcd(stride, 4) + 1
    rows = (padded.shape[2] - PATCH_SIZE) // stride + 1
    parts = []
    for y in range(0, rows, band):
        last = min(y + band, rows)
        needed = features[:, :, y * between : (last - 1) * between + reach]
        parts.append(dvfast.hybrid_activation(net.head_pass(needed, stride)))
    return torch.cat(parts, dim=2)


def torch_sliding(net: DeepVotingNet, padded: Tensor, stride: int) -> Tensor:
    """The sliding window in PyTorch: batches of channels_last patches."""
    patches = padded[0].unfold(1, PATCH_SIZE, stride).unfold(2, PATCH_SIZE, stride)
    rows, columns = patches.shape[1:3]
    parts = []
    for y in range(rows):
        for x in range(0, columns, 128):
            batch = patches[:, y, x : x + 128].transpose(0, 1)
            batch = batch.contiguous(memory_format=torch.channels_last)
            parts.append(dvfast.hybrid_activation(net(batch)))
    return torch.cat(parts).T.reshape(1, -1, rows, columns)


def in_turns(runs: dict[str, _Run], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:  # the first is for warming up
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> tuple[float, float]:
    """The median of the ratios of neighbouring runs, and their spread (half the quartiles')."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return statistics.median(ratios), (high - low) / 2


def flops(net: DeepVotingNet, size: int) -> float:
    """Of the dense pass at stride 1: two for every product of the convolutions' valid outputs."""
    padded = size + PATCH_SIZE - 1
    products = 0
    for layer, reach in ((net.conv1, 5), (net.conv2, 12), (net.conv3, 22)):
        products += (padded - reach) ** 2 * layer.weight.numel()
    products += size**2 * sum(layer.weight.numel() for layer in net.head)  # type: ignore[operator]
    return 2.0 * products


@torch.inference_mode()
def measure(size: int, repeats: int) -> dict[str, Any]:
    torch.manual_seed(0)
    net = DeepVotingNet().eval()
    half = copy.deepcopy(net).bfloat16()
    image = torch.rand(3, size, size)
    padded = pad_image(image, PATCH_SIZE // 2)[None]
    part = padded[:, :, : _PART + PATCH_SIZE - 1]
    threads = torch.get_num_threads()
    compiled = torch.compile(torch_dense, dynamic=False)

    def scan(precision: str, stride: int = 1) -> Tensor:
        return dvfast.scan(net, image, precision=precision, stride=stride)  # type: ignore[arg-type]

    bfloat16 = engine_of(net).why_not("bfloat16") is None
    exact = scan("exact")
    for found, tolerance in (
        (scan("float32"), 1e-4),
        (torch_dense(net, padded, 1, 8), 1e-4),
        (torch_sliding(net, part, 1), 1e-4),
        (torch_dense(half, padded.bfloat16(), 1, 8).float(), 0.1),
        *([(scan("bfloat16"), 0.1)] if bfloat16 else []),
    ):
        torch.testing.assert_close(found, exact[:, :, : found.shape[2]], rtol=0, atol=tolerance)

    peaks: list[float] = []
    runs: dict[str, _Run] = {
        "exact": lambda: scan("exact"),
        "peak": lambda: peaks.append(fma_peak(threads)),
        "float32": lambda: scan("float32"),
        "PyTorch, bands of 8": lambda: torch_dense(net, padded, 1, 8),
        "PyTorch, bands of 16": lambda: torch_dense(net, padded, 1, 16),
        "PyTorch compiled": lambda: compiled(net, padded, 1, 8),
        "PyTorch bfloat16": lambda: torch_dense(half, padded.bfloat16(), 1, 16),
        "PyTorch bfloat16, bands of 8": lambda: torch_dense(half, padded.bfloat16(), 1, 8),
        "PyTorch bfloat16 compiled": lambda: compiled(half, padded.bfloat16(), 1, 16),
        "sliding window": lambda: torch_sliding(net, part, 1),
    }
    if bfloat16:
        runs["bfloat16"] = lambda: scan("bfloat16")
    for stride in (3, 4):
        runs[f"exact, stride {stride}"] = lambda stride=stride: scan("exact", stride)
        runs[f"float32, stride {stride}"] = lambda stride=stride: scan("float32", stride)
        strip = padded[:, :, : (_PART - 1) * stride + PATCH_SIZE]
        runs[f"sliding window, stride {stride}"] = lambda strip=strip, stride=stride: torch_sliding(
            net, strip, stride
        )
    seconds = in_turns(runs, repeats)
    for name in list(seconds):
        if name.startswith("sliding window"):
            stride = int(name[-1]) if name[-1].isdigit() else 1
            rows = -(-size // stride)
            seconds[name] = [value * rows / _PART for value in seconds[name]]
    at_peak = [flops(net, size) / peak for peak in peaks[1:]]

    def best(*names: str) -> list[float]:
        return min((seconds[name] for name in names), key=statistics.median)

    peer = best("PyTorch, bands of 8", "PyTorch, bands of 16", "PyTorch compiled")
    rows = {
        "exact: share of the FMA peak": ratio(at_peak, seconds["exact"]),
        "exact / PyTorch": ratio(peer, seconds["exact"]),
        "float32 / PyTorch": ratio(peer, seconds["float32"]),
        "exact / sliding window": ratio(seconds["sliding window"], seconds["exact"]),
        "float32 / sliding window": ratio(seconds["sliding window"], seconds["float32"]),
    }
    if bfloat16:
        half_peer = best(
            "PyTorch bfloat16", "PyTorch bfloat16, bands of 8", "PyTorch bfloat16 compiled"
        )
        rows["bfloat16 / PyTorch in bfloat16"] = ratio(half_peer, seconds["bfloat16"])
    for stride in (3, 4):
        name = f"exact / sliding window, both at stride {stride}"
        rows[name] = ratio(
            seconds[f"sliding window, stride {stride}"], seconds[f"exact, stride {stride}"]
        )
    return {
        "size": size,
        "repeats": repeats,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "ratios": {name: {"median": a, "spread": b} for name, (a, b) in rows.items()},
        "peak_flops": statistics.median(peaks),
        "flops": flops(net, size),
    }


@torch.inference_mode()
def measure_memory(size: int) -> dict[str, int]:
    """Bytes beyond the image and the votes."""
    net = DeepVotingNet().eval()
    image = torch.rand(3, size, size)
    padded = pad_image(image, PATCH_SIZE // 2)[None]
    votes = 6 * size * size * 4
    for precision in ("exact", "float32"):  # packed weights are no working memory
        dvfast.scan(net, image[:, :64, :64], precision=precision)  # type: ignore[arg-type]
    large = torch.rand(3, 20 * size, 20 * size)
    large_votes = 6 * (20 * size // 4) ** 2 * 4
    return {
        "exact": peak_memory(lambda: dvfast.scan(net, image)) - votes,
        "float32": peak_memory(lambda: dvfast.scan(net, image, precision="float32")) - votes,
        f"float32, {20 * size} x {20 * size} at stride 4": peak_memory(
            lambda: dvfast.scan(net, large, precision="float32", stride=4)
        )
        - large_votes,
        "PyTorch, bands of 8": peak_memory(lambda: torch_dense(net, padded, 1, 8)) - votes,
        "PyTorch unbanded": peak_memory(lambda: torch_dense(net, padded, 1, size)) - votes,
    }


def measure_detection(size: int, repeats: int) -> dict[str, float]:
    """Seconds from image to points with the shipped weights, and the network's share of them."""
    detector = dvfast.Detector.from_pretrained("ihc")
    detector.pixel_size = None
    image = torch.rand(size, size, 3).numpy()
    tensor = torch.from_numpy(image).movedim(2, 0).contiguous()
    net = DeepVotingNet().eval()
    votes = dvfast.scan(net, tensor, precision="float32")

    def vote() -> None:
        density = dvfast.vote_density(votes, (size, size))
        dvfast.find_peaks(density[0])

    stride = detector.settings.stride
    seconds = in_turns(
        {
            "image to points, shipped weights": lambda: detector.detect(image),
            "image to points, shipped weights, stride 1": lambda: detector.detect(image, stride=1),
            "its network": lambda: dvfast.scan(
                detector.net, tensor, stride=stride, precision="float32"
            ),
            "voting, density and peaks, stride 1": vote,
        },
        repeats,
    )
    return {name: statistics.median(values) for name, values in seconds.items()}


@click.command()
@click.option("--size", default=400)
@click.option("--repeats", default=7)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(size: int, repeats: int, json_file: Path | None) -> None:
    warnings.filterwarnings("ignore", category=UserWarning)
    record = {"machine": describe(), **measure(size, repeats)}
    record["detection_seconds"] = measure_detection(size, repeats)
    # In a process of its own: what PyTorch's allocator keeps would be used again, or be in the way.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        record["memory_bytes"] = process.submit(measure_memory, size).result()
    console = Console()
    table = Table(title=f"{size} x {size} pixels, default network", box=box.SIMPLE_HEAD)
    for heading in ("ratio", "median", "±"):
        table.add_column(heading, justify="right" if heading != "ratio" else "left")
    for name, row in record["ratios"].items():
        table.add_row(name, f"{row['median']:.3g}", f"{row['spread']:.2g}")
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("run", "ms", "Mpx/s"):
        table.add_column(heading, justify="right" if heading != "run" else "left")
    for name, seconds in {**record["seconds"], **record["detection_seconds"]}.items():
        if name != "peak":
            table.add_row(name, f"{seconds * 1e3:.1f}", f"{size**2 / seconds / 1e6:.2f}")
    console.print(table)
    for name, used in record["memory_bytes"].items():
        console.print(f"memory beyond image and votes, {name}: {used / 2**20:.0f} MiB")
    if json_file is not None:
        json_file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
