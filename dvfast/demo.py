"""``python -m dvfast.demo``: nuclei in a real image, by every scanning mode."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import skimage
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from .data.paths import make_folder
from .detection import DetectionResult, Detector
from .detection.overlay import density_to_rgb, write_png

__all__ = ["main"]

# A patch for every pixel is what fast scanning spares us: the sliding window gets a part only.
_PART = (slice(220, 300), slice(200, 280))
# Here the antibody has stained membranes, in the training tiles nuclei: the votes are fainter.
_THRESHOLD = 0.5


def main(folder: str = "demo") -> None:
    """Find the nuclei of scikit-image's immunohistochemistry image; write what was found."""
    output = Path(folder)
    make_folder(output)
    console = Console()
    image = skimage.data.immunohistochemistry()
    detector = Detector.from_pretrained("ihc-patch")
    stride = detector.settings.stride

    part = image[_PART]
    table = Table(
        title=f"the image is enlarged {detector.scale_of():g} times; threshold {_THRESHOLD} "
        f"(the weights' own: {detector.settings.threshold:.2f})"
    )
    for heading in ("mode", "pixels", "nuclei", "seconds", "Mpx/s"):
        table.add_column(heading, justify="left" if heading == "mode" else "right")
    runs: list[tuple[Literal["fast", "sliding"], int, NDArray[Any]]] = [
        ("fast", stride, image),
        ("fast", 1, image),
        ("fast", 1, part),
        ("fast", 3, part),
        ("sliding", 3, part),
        ("sliding", 1, part),
    ]
    results: list[DetectionResult] = []
    with console.status("scanning"):
        for mode, step, pixels in runs:
            seconds = math.inf
            for _ in range(2):  # the first run of a shape also chooses algorithms
                start = time.perf_counter()
                result = detector.detect(pixels, mode=mode, stride=step, threshold=_THRESHOLD)
                seconds = min(seconds, time.perf_counter() - start)
            results.append(result)
            name = f"{mode}, stride {step}" + (" (default)" if not results[1:] else "")
            height, width = pixels.shape[:2]
            table.add_row(
                name,
                f"{height} x {width}",
                str(len(results[-1])),
                f"{seconds:.3g}",
                f"{height * width / seconds / 1e6:.3f}",
            )
    console.print(table)

    result = results[0]
    files = {
        "points": output / "nuclei.csv",
        "points for QuPath": output / "nuclei.geojson",
        "overlay": output / "nuclei.png",
        "vote density": output / "density.png",
    }
    result.to_csv(files["points"])
    result.to_geojson(files["points for QuPath"])
    result.to_png(files["overlay"])
    write_png(files["vote density"], density_to_rgb(np.asarray(result.density)))
    console.print(f"[bold]{len(result)} nuclei[/bold]")
    for name, path in files.items():
        console.print(f"{name:>17}: {path.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
