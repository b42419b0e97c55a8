"""What rounding does: the density of section 2.3 beside that of eq. 6 and 7, on a real image.

    python benchmarks/rounding.py

Both get the same votes. `difference` is the largest deviation of the densities in units of the
highest peak; `moved` the mean distance between the peaks that both have, in pixels.
"""

from __future__ import annotations

import skimage
import torch
from rich import box
from rich.console import Console
from rich.table import Table

import dvfast
from dvfast.data import image_to_tensor, resample
from dvfast.evaluation import match_points


def main() -> None:
    detector = dvfast.Detector.from_pretrained("ihc-patch")
    image = image_to_tensor(skimage.data.immunohistochemistry()[:256, 256:], 3)
    image = resample(image, detector.scale_of())
    size = (image.shape[1], image.shape[2])
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("stride", "sigma", "window", "difference", "peaks", "exact", "both", "moved"):
        table.add_column(heading, justify="right")
    for stride in (1, 4):
        votes = dvfast.scan(detector.net, image, stride=stride)
        for sigma, window in ((1.0, 5), (detector.settings.sigma, detector.settings.window)):
            settings = {"sigma": sigma, "window": window, "stride": stride}
            fast = dvfast.vote_density(votes, size, **settings)[0]
            exact = dvfast.parzen_density(votes, size, **settings)[0]
            found = [_peaks(density, detector) for density in (fast, exact)]
            common = match_points(*found, radius=detector.settings.min_distance)
            table.add_row(
                str(stride),
                f"{sigma:g}",
                str(window),
                f"{(fast - exact).abs().max() / exact.max():.2%}",
                *(str(len(points)) for points in found),
                str(common.true_positives),
                f"{common.distances.mean():.2f} px",
            )
    Console().print(table)


def _peaks(density: torch.Tensor, detector: dvfast.Detector) -> torch.Tensor:
    return dvfast.find_peaks(density, min_distance=detector.settings.min_distance)[0]


if __name__ == "__main__":
    main()
