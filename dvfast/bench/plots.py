"""Results as pictures: the scan beside its peers, cost curves, accuracy against speed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import atomic_path
from .tables import exponent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PLOTS", "digest", "digest_of_file", "draw"]

_OURS, _THEIRS = "tab:orange", "tab:blue"
_KEY = "Data"  # of the PNG's text, which tells what the picture was drawn from


def _scan(contests: dict[str, Any], figure: Figure) -> None:
    """Bars of seconds, on a logarithmic axis."""
    axes = figure.subplots()
    rows = [
        (row, suffix)
        for name, suffix in (("scan", ""), ("scan-bfloat16", " (bfloat16)"))
        for row in contests.get(name, {}).get("rows", [])
    ]
    rows.sort(key=lambda pair: -float(pair[0]["seconds"]["median"]))
    for place, (row, _) in enumerate(rows):
        seconds = row["seconds"]
        error = [[seconds["median"] - seconds["low"]], [seconds["high"] - seconds["median"]]]
        axes.barh(
            place,
            seconds["median"],
            xerr=error,
            color=_OURS if row["ours"] else _THEIRS,
            height=0.7,
        )
    axes.set_yticks(
        range(len(rows)), [row["name"] + suffix * (not row["ours"]) for row, suffix in rows]
    )
    axes.set_xscale("log")
    axes.set_xlabel("seconds for the votes of 400 × 400 pixels")
    axes.grid(axis="x", alpha=0.3)


def _curves(contests: dict[str, Any], figure: Figure) -> None:
    """Cost against image size, stride, votes, hidden units, threads; logarithmic both ways."""
    from matplotlib.ticker import NullLocator

    names = [
        name for name in ("sizes", "strides", "widths", "votes", "threads") if name in contests
    ]
    grid: list[Axes] = figure.subplots(2, 3).ravel().tolist()
    for axes, name in zip(grid, names, strict=False):
        contest = contests[name]
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in contest["rows"]:
            lines.setdefault(row["line"], []).append((row["x"], row["seconds"]["median"]))
        for line, points in lines.items():
            x, seconds = ([point[i] for point in points] for i in (0, 1))
            power = exponent(x, seconds)
            axes.plot(
                x, seconds, "o-", ms=4, label=f"{line}{'' if power is None else f': {power:.2f}'}"
            )
        axes.set(xscale="log", yscale="log", xlabel=contest["axis"], ylabel="seconds")
        axes.grid(which="both", alpha=0.2)
        axes.legend(fontsize=7, title="line: exponent", title_fontsize=7)
        if name != "sizes":
            ticks = sorted({row["x"] for row in contest["rows"]})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
    for axes in grid[len(names) :]:
        axes.axis("off")


def _frontier(contests: dict[str, Any], figure: Figure) -> None:
    """F1 against speed; other tools as lines at their speed, as their weights are random."""
    axes = figure.subplots()
    contest = contests["frontier"]
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for row in contest["rows"]:
        speed = contest["pixels"] / row["seconds"]["median"] / 1e6
        line, _, where = row["name"].rpartition(", ") if row["ours"] else (row["name"], "", "")
        lines.setdefault(line, []).append((speed, float(row["facts"]["F1"]), where))
    for line, points in lines.items():
        speeds, scores = ([point[i] for point in points] for i in (0, 1))
        axes.plot(speeds, scores, "o-" if len(points) > 1 else "s", ms=5, label=line)
        for speed, score, where in points:
            axes.annotate(
                where.removeprefix("stride ").removesuffix(" (default)"),
                (speed, score),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=7,
            )
    forward = contests.get("tools-forward", {})
    for row in forward.get("rows", []):
        if not row["ours"]:
            speed = forward["pixels"] / row["seconds"]["median"] / 1e6
            axes.axvline(speed, color="gray", lw=0.8, ls=":")
            axes.text(speed, 0.02, f" {row['name']}", rotation=90, fontsize=7, color="gray",
                      transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("Mpx/s, of the image as it came")
    axes.set_ylabel("F1")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, title="numbers: stride", title_fontsize=8, loc="center left")


# What is drawn, from which contests, and how large, in inches.
PLOTS: dict[
    str, tuple[Callable[[dict[str, Any], Figure], None], tuple[str, ...], tuple[float, float]]
]
PLOTS = {
    "scan": (_scan, ("scan", "scan-bfloat16"), (9, 4)),
    "curves": (_curves, ("sizes", "strides", "widths", "votes", "threads"), (12, 7)),
    "frontier": (_frontier, ("frontier", "tools-forward"), (8, 5)),
}


def digest(record: dict[str, Any], plot: str) -> str:
    """Of what a plot is drawn from."""
    used = {name: record["contests"].get(name) for name in PLOTS[plot][1]}
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def digest_of_file(path: Path) -> str | None:
    """What the picture says it was drawn from."""
    from PIL import Image

    with Image.open(path) as image:
        text: str | None = image.info.get(_KEY)
        return text


def draw(record: dict[str, Any], plot: str, path: Path) -> bool:
    """Draw a plot into a PNG file, if the record has what it shows."""
    from matplotlib.figure import Figure

    function, needs, size = PLOTS[plot]
    if "rows" not in record["contests"].get(needs[0], {}):
        return False
    figure = Figure(figsize=size, layout="constrained")
    contests = {name: c for name, c in record["contests"].items() if "rows" in c}
    function(contests, figure)
    with atomic_path(path) as temporary:
        figure.savefig(
            temporary,
            dpi=100,
            format="png",
            metadata={"Software": None, _KEY: digest(record, plot)},
        )
    return True
