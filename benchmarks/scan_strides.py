"""How accuracy and speed depend on the stride, on images that training has not seen.

    python benchmarks/scan_strides.py FOLDER [--weights ihc] [--radius 6.6]

FOLDER is the one the weights were trained on: what counts is the validation part that training
split off. The threshold is the weights' own at every stride. Speeds are from image to points, per
pixel of the image as it came and per pixel at the network's scale.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

import dvfast
from dvfast.data import load_sample, pair_by_stem
from dvfast.evaluation import evaluate_points
from dvfast.training.dataset import split


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--weights", default="ihc")
@click.option("--radius", default=6.6)
def main(folder: Path, weights: str, radius: float) -> None:
    path = Path(weights)
    detector = (
        dvfast.Detector.load(path) if path.exists() else dvfast.Detector.from_pretrained(weights)
    )
    training = detector.description["training"]
    samples = split(pair_by_stem(folder), training["validation_fraction"], training["seed"])[1]
    strides = range(detector.net.output_stride, 9, detector.net.output_stride)
    found = {stride: [] for stride in strides}
    seconds = {stride: [] for stride in strides}
    pixels = 0
    for sample in track(samples, console=Console(stderr=True), transient=True):
        image, annotations = load_sample(sample)
        pixels = image.shape[0] * image.shape[1]
        for stride in strides:
            start = time.perf_counter()
            result = detector.detect(image, stride=stride)
            seconds[stride].append((time.perf_counter() - start) / pixels)
            found[stride].append((result.points, annotations))
    table = Table(title=f"{weights}, {len(samples)} images of {folder}", box=box.SIMPLE_HEAD)
    for heading in ("stride", "precision", "recall", "F1", "Mpx/s", "at the network's scale"):
        table.add_column(heading, justify="right")
    for stride in strides:
        micro = evaluate_points(found[stride], radius).micro
        speed = 1e-6 / statistics.median(seconds[stride])
        own = " (default)" if stride == detector.settings.stride else ""
        table.add_row(
            f"{stride}{own}",
            f"{micro.precision:.4f}",
            f"{micro.recall:.4f}",
            f"{micro.f1:.4f}",
            f"{speed:.2f}",
            f"{speed * detector.scale_of() ** 2:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
