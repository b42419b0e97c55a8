"""Records of a comparison made by hand, for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dvfast.reproduce.records import COMPARISON, matches

MACHINE = {"cpu": "a machine", "threads": 1, "torch": "2", "dvfast": "0", "commit": "0123456"}
RADIUS = 10.0


def entry(found: list[Any], truths: list[Any], seconds: float = 0.5, **more: Any) -> dict[str, Any]:
    """What a method found: points for every image."""
    images = [
        {
            "points": np.reshape(points, (-1, 2)).tolist(),
            "seconds": seconds,
            "matches": matches(np.reshape(points, (-1, 2)), np.reshape(truth, (-1, 2)), RADIUS),
        }
        for points, truth in zip(found, truths, strict=True)
    ]
    common = {"key": "", "parameters": {}, "preparation_seconds": 60.0, "machine": MACHINE}
    return {**common, "images": images, **more}


def record(truths: list[Any], entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A record of images of 100 x 200 pixels; entries by method and seed, as ``"itcn/0"``."""
    about = {
        "name": "tiles",
        "title": "Tiles",
        "radius": RADIUS,
        "stain": "dark",
        "validation_fraction": 0.15,
        "licence": "CC0",
        "attribution": "nobody",
    }
    test = [
        {"stem": f"image_{i}", "height": 100, "width": 200, "annotations": len(truth)}
        for i, truth in enumerate(truths)
    ]
    return {"format": COMPARISON.form, "data_set": about, "test": test, "entries": entries}
