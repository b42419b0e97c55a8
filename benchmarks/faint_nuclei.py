"""How many annotated nuclei are so faint that detection on slides would take them for blank.

    python benchmarks/faint_nuclei.py endonuke_ihc bbbc038_histology bbbc038_fluo

Looks at `train/` of the data sets of `dvfast reproduce`: at the range of the pixels within the mean
radius around each nucleus, which is the least that its cell can have.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from dvfast.data import image_to_tensor, load_sample, normalize, pair_by_stem
from dvfast.detection.tiling import BLANK
from dvfast.reproduce.data_sets import DataSet, data_set


def contrasts(data: DataSet) -> list[float]:
    """Of every nucleus, in the channel in which it is largest."""
    window = 2 * int(data.radius) + 1
    found: list[float] = []
    for sample in pair_by_stem(data.train):
        image, points = load_sample(sample)
        planes = normalize(image_to_tensor(image, 3), data.normalization).numpy()
        ranges = [maximum_filter(x, window) - minimum_filter(x, window) for x in planes]
        highest = np.max(ranges, axis=0)
        y, x = np.clip(np.rint(points).astype(int), 0, np.array(highest.shape) - 1).T
        found.extend(highest[y, x].tolist())
    return found


@click.command(help=__doc__.splitlines()[0])
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(folders: tuple[Path, ...]) -> None:
    everything: list[float] = []
    for folder in folders:
        found = contrasts(data_set(folder, tested=False))
        everything += found
        click.echo(f"{folder.name}: {sum(c <= BLANK for c in found)} of {len(found):,} nuclei")
    click.echo(f"together: {sum(c <= BLANK for c in everything)} of {len(everything):,} nuclei")


if __name__ == "__main__":
    main()
