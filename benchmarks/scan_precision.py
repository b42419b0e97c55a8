"""What each precision of the scan does to votes and detections, on annotated images.

    python benchmarks/scan_precision.py FOLDER [--weights ihc] [--radius 6.6]

Against the same network in float64: the largest and the mean deviation of the offsets in pixels (of
votes with a confidence of at least one half) and of the confidences; how many votes land on another
pixel; and how many detections are not within a tenth of a pixel of one of float64.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import click
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import dvfast
from dvfast.data import load_sample, pair_by_stem
from dvfast.detection.pixels import pixels_for
from dvfast.evaluation import evaluate_points, match_points
from dvfast.scan import PRECISIONS, can_scan


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--weights", default="ihc")
@click.option("--radius", default=6.6)
def main(folder: Path, weights: str, radius: float) -> None:
    path = Path(weights)
    detector = (
        dvfast.Detector.load(path) if path.exists() else dvfast.Detector.from_pretrained(weights)
    )
    precisions = [precision for precision in PRECISIONS if can_scan(detector.net, precision)]
    reference = dvfast.Detector(
        copy.deepcopy(detector.net).double(),
        detector.settings,
        pixel_size=detector.pixel_size,
        image_pixel_size=detector.image_pixel_size,
    )
    warnings.filterwarnings("ignore", "the scan engine cannot run this network")
    deviations: dict[str, list[list[float]]] = {precision: [] for precision in precisions}
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {p: [] for p in precisions}
    changed = dict.fromkeys(precisions, 0)
    for sample in track(pair_by_stem(folder), console=Console(stderr=True), transient=True):
        image, annotations = load_sample(sample)
        tensor = pixels_for(detector.net, detector.settings, image, detector.scale_of())
        settings = {"stride": detector.settings.stride, "padding": detector.settings.padding}
        expected = dvfast.scan(reference.net, tensor, **settings)
        expected_points = reference.detect(image).points
        for precision in precisions:
            votes = dvfast.scan(detector.net, tensor, precision=precision, **settings)
            deviations[precision].append(_deviation(votes, expected))
            points = detector.detect(image, precision=precision).points
            same = match_points(points, expected_points, radius=0.1).true_positives
            changed[precision] += max(len(points), len(expected_points)) - same
            found[precision].append((points, annotations))
    table = Table(
        title=f"{weights}, {folder}, stride {detector.settings.stride}", box=box.SIMPLE_HEAD
    )
    for heading in (
        "precision",
        "offset: max, mean",
        "confidence: max, mean",
        "votes moved",
        "detections",
        "changed",
        "F1",
    ):
        table.add_column(heading, justify="right")
    for precision in precisions:
        each = np.array(deviations[precision])
        evaluation = evaluate_points(found[precision], radius)
        table.add_row(
            precision,
            f"{each[:, 0].max():.1e}, {each[:, 1].mean():.1e}",
            f"{each[:, 2].max():.1e}, {each[:, 3].mean():.1e}",
            f"{each[:, 4].mean():.4%}",
            str(sum(len(points) for points, _ in found[precision])),
            str(changed[precision]),
            f"{evaluation.micro.f1:.4f}",
        )
    Console(width=120).print(table)


def _deviation(votes: Tensor, expected: Tensor) -> list[float]:
    confidences = (votes[:, 0::3] - expected[:, 0::3]).abs()
    voters = torch.arange(votes.shape[2])[:, None], torch.arange(votes.shape[3])
    offsets, moved = [], []
    for channel, voter in ((1, voters[0]), (2, voters[1])):
        certain = expected[:, 0::3] >= 0.5
        offsets.append((votes[:, channel::3] - expected[:, channel::3]).abs()[certain])
        lands = [(voter - x[:, channel::3]).round()[certain] for x in (votes.double(), expected)]
        moved.append(lands[0] != lands[1])
    offset = torch.cat(offsets) if offsets[0].numel() else torch.zeros(1)
    anywhere = (moved[0] | moved[1]).double()
    return [
        float(offset.max()),
        float(offset.mean()),
        float(confidences.max()),
        float(confidences.mean()),
        float(anywhere.mean()) if len(anywhere) else 0.0,
    ]


if __name__ == "__main__":
    main()
