"""``python -m dvfast.demo``: nuclei in a real image, by every scanning mode."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import skimage
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from .detection import DetectionResult, Detector
from .detection.overlay import density_to_rgb, write_png

__all__ = ["main"]

# A patch for every pixel is what fast scanning spares us: the sliding window gets a corner only.
_CORNER = 100


def main(folder: str = "demo") -> None:
    """Find the nuclei of scikit-image's immunohistochemistry image; write what was found."""
    output = Path(folder)
    output.mkdir(parents=True, exist_ok=True)
    console = Console()
    image = skimage.data.immunohistochemistry()
    detector = Detector.from_pretrained("ihc")
    stride = detector.settings.stride

    table = Table(title=f"{image.shape[0]} x {image.shape[1]} pixels, model at {_scale(detector)}")
    for heading in ("mode", "part", "nuclei", "seconds", "Mpx/s"):
        table.add_column(heading, justify="left" if heading in ("mode", "part") else "right")
    corner = image[:_CORNER, :_CORNER]
    runs: list[tuple[Literal["fast", "sliding"], int, str, NDArray[Any]]] = [
        ("fast", stride, "image", image),
        ("fast", 1, "image", image),
        ("fast", 1, "corner", corner),
        ("fast", 3, "corner", corner),
        ("sliding", 3, "corner", corner),
        ("sliding", 1, "corner", corner),
    ]
    results: list[DetectionResult] = []
    with console.status("scanning"):
        for mode, step, part, pixels in runs:
            start = time.perf_counter()
            results.append(detector.detect(pixels, mode=mode, stride=step))
            seconds = time.perf_counter() - start
            name = f"{mode}, stride {step}" + (" (default)" if not results[1:] else "")
            speed = pixels.shape[0] * pixels.shape[1] / seconds / 1e6
            table.add_row(name, part, str(len(results[-1])), f"{seconds:.2f}", f"{speed:.3f}")
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


def _scale(detector: Detector) -> str:
    scale = detector.scale_of()
    return "their own scale" if scale == 1 else f"{scale:g} times their scale"


if __name__ == "__main__":
    main(*sys.argv[1:])
