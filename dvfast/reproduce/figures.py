"""The paper's Fig. 2, detections on images, and Fig. 3, box plots of the images' scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..baselines import nucleus_density
from ..data import Sample, atomic_path, load_sample
from ..detection.overlay import draw_overlay, write_png
from .data_sets import DataSet
from .methods import METHODS
from .records import Condition
from .statistics import image_scores
from .tables import Entries, RecordData, condition_text

__all__ = ["draw_boxes", "draw_overlays"]

_COLUMNS = 4
_PANEL = 400  # pixels across
_STRIP = 22  # for the name of the method
_FIELD = 30  # nuclear radii across: the middle of the image, where it is larger
_DOT = 0.15  # nuclear radii


def draw_overlays(
    path: Path, data_set: DataSet, sample: Sample, entries: Entries, index: int, share: float
) -> None:
    """Draw what every method finds in one image: yellow dots, the truth as green circles.

    Parameters
    ----------
    path
        A PNG file.
    data_set, sample
        The image, and of what kind it is.
    entries
        Of the methods; their first seed is drawn.
    index
        Of the image among the test images.
    share
        Of the mean radius: the size of the circles.
    """
    image, truth = load_sample(sample)
    radius = data_set.radius
    side = min(*image.shape[:2], round(_FIELD * radius))
    corner = np.array([(size - side) // 2 for size in image.shape[:2]])
    window = tuple(slice(start, start + side) for start in corner)
    field = _visible(image, data_set)[window]
    panels = []
    for key, of in entries.items():
        points = np.array(of[0]["images"][index]["points"]).reshape(-1, 2)
        drawn = draw_overlay(
            field,
            points - corner,
            truth=truth - corner,
            radius=share * radius,
            dot=_DOT * radius,
        )
        panels.append(_panel(drawn, METHODS[key].name))
    columns = min(_COLUMNS, len(panels))
    height, width = panels[0].shape[:2]
    sheet = np.full((-(-len(panels) // columns) * height, columns * width, 3), 255, np.uint8)
    for place, panel in enumerate(panels):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height, left : left + width] = panel
    write_png(path, sheet)


def draw_boxes(path: Path, record: RecordData, entries: Entries, condition: Condition) -> None:
    """Draw box plots of F1, precision and recall of every image, by method.

    Of several seeds the mean of an image counts, so that a box has as many images in every row.
    """
    # Not pyplot: it would choose a window system, and touch the caller's figures.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scores = {key: image_scores(record, of, condition) for key, of in entries.items()}
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    names = [METHODS[key].name for key in scores]
    panels = figure.subplots(1, 3, sharey=True)
    for axes, title, which in zip(panels, ("F1", "precision", "recall"), (2, 0, 1), strict=True):
        axes.boxplot(
            [values[which].mean(axis=0) for values in scores.values()],
            widths=0.6,
            flierprops={"markersize": 3},
            medianprops={"color": "tab:orange"},
        )
        axes.set(title=title, ylim=(-0.02, 1.02))
        axes.grid(axis="y", alpha=0.3)
        axes.set_xticks(range(1, len(names) + 1), names, rotation=60, ha="right")
    figure.suptitle(f"Of every test image, {condition_text(record, condition)}", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None})


def _visible(image: NDArray[Any], data_set: DataSet) -> NDArray[Any]:
    """The image, or of a dark exposure what its range shows when it is stretched."""
    if data_set.stain != "fluorescence":
        return image
    return nucleus_density(image, "fluorescence").astype(np.float32)


def _panel(drawn: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    panel = Image.new("RGB", (_PANEL + 4, _PANEL + _STRIP + 4), "white")
    shrunk = Image.fromarray(drawn).resize((_PANEL, _PANEL), Image.Resampling.BOX)
    panel.paste(shrunk, (2, _STRIP + 2))
    writer = ImageDraw.Draw(panel)
    writer.text((4, 4), name, fill="black", font=ImageFont.load_default(14))
    return np.array(panel)
