"""``reproduction.md``: the protocol, the tables, the figures, and where the ranking differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..bench.tables import markdown
from ..data import atomic_path, pair_by_stem
from .breakdown import Breakdown, break_down, breakdown_table, contrast_text, measure_nuclei
from .data_sets import DataSet
from .figures import draw_boxes, draw_overlays
from .methods import METHODS, Method
from .paper import Reversal, quoted_table, reversals
from .records import CONDITIONS, LITERAL, PRIMARY
from .settings import Progress, Settings, evenly
from .tables import (
    Entries,
    Record,
    condition_text,
    csv_text,
    entries_of,
    score_table,
    time_table,
)

__all__ = ["machines", "page", "write_report"]

Breakdowns = Mapping[str, Breakdown]  # by method

_PICTURED = 2  # images of every data set

_INTRODUCTION = """\
Deep voting beside the methods that its paper compares it with (Xie, Kong, Xing, Liu, Su, Yang,
MICCAI 2015, Table 1), and some more, on open data: the paper's own images were not published."""


def _protocol(settings: Settings) -> str:
    seeds = "one seed, 0" if settings.seeds == 1 else f"seeds 0 to {settings.seeds - 1}"
    if settings.seeds > 1 and settings.seeded is not None:
        names = ", ".join(METHODS[key].name for key in settings.seeded)
        seeds = f"{seeds} for {names}; 0 for the others"
    text = f"""\
- Networks learn from `train/`, of which a part is kept for validation, drawn by the seed
  ({seeds}). The classical methods see at most {settings.tuning_images} images of each of the same
  two parts: those that learn do so on the training part, and all choose their parameters on the
  validation part, by trying a grid.
- Thresholds, too, are those of highest micro F1 on the validation part, one to one within the mean
  nuclear radius; "the paper's constants" keep the paper's ξ = 0.2. `test/` is measured on and
  nothing else.
- A detection counts within half the mean radius of a nucleus, as in the paper, or within the mean
  radius. One to one: a detection for an annotation. Literal, the paper's wording: every detection
  within the circle of any annotation is right.
- P, R, F1: of the counts of all images together; macro: means over images, which is how the paper's
  F1 come about. In brackets: bootstrap intervals of 95 % over images; differences to the best row
  are resampled in pairs. Scores are means over the seeds.
- μ_d, σ_d: distance of true positives; μ_n, σ_n: of the absolute difference per image between the
  numbers of annotations and detections, A − D, and of annotations and true positives, A − TP. The
  paper defines the second and prints figures that fit the first.
- DV-1 and DV-3 ask for a patch per voter. Fast scanning gives the same bits, and is what found
  their nuclei. Patches were really slid over test images ({settings.sliding_images} of every set):
  every vote was the same to the bit, and so were the nuclei. Times of the two are of the sliding.
- Times are of detection alone, from an image in memory to points."""
    if settings.steps is not None:
        text += f"\n- Trainings were cut to {settings.steps} steps."
    if settings.test_images is not None:
        text += f"\n- Only {settings.test_images} test images of every set were looked at."
    return text


def page(
    records: Mapping[str, tuple[Record, Entries]],
    settings: Settings,
    command: str,
    pictures: Mapping[str, Sequence[str]] = MappingProxyType({}),
    breakdowns: Mapping[str, Breakdowns] = MappingProxyType({}),
) -> str:
    """The page in Markdown.

    Parameters
    ----------
    records
        By data set: the record, and its entries by method.
    settings
        Of the run.
    command
        That makes this page.
    pictures
        By data set, the files to show, relative to the page.
    breakdowns
        By data set, of every method: which nuclei it finds.
    """
    parts = ["# Reproduction of Table 1", _INTRODUCTION]
    if settings.test_images is not None:
        parts.append("**A quick run: it shows that everything works, its figures mean nothing.**")
    parts += [f"```\n{command}\n```", "## Protocol", _protocol(settings)]
    for name, (record, entries) in records.items():
        parts += _data_set(record, entries, breakdowns.get(name, {}))
        parts += [f"![{name}]({file})" for file in pictures.get(name, ())]
    shown = {key for _, entries in records.values() for key in entries}
    parts += ["## Methods", _citations([METHODS[key] for key in METHODS if key in shown])]
    parts += ["## The paper's figures", _PAPERS, markdown(quoted_table())]
    parts += ["## Machine", *machines(records)]
    return "\n\n".join(parts) + "\n"


_PAPERS = """\
On 44 Ki67-stained images of neuroendocrine tumours, 400 × 400 pixels, as printed. An F1 there is a
mean over images and not the harmonic mean of P and R beside it."""


def _data_set(record: Record, entries: Entries, breakdowns: Breakdowns) -> list[str]:
    about = record["data_set"]
    images = record["test"]
    parts = [
        f"## {about['title'] or about['name']}",
        f"`{about['name']}`: {len(images)} test images, "
        f"{sum(image['annotations'] for image in images):,} nuclei of a mean radius of "
        f"{about['radius']:g} px; {about['validation_fraction']:.0%} of the "
        f"training images are for validation. Licence: {about['licence']}. Source: "
        f"{about['attribution']}.",
    ]
    for condition in CONDITIONS:
        table = score_table(record, entries, condition)
        parts += [f"### {table.title[0].upper()}{table.title[1:]}", markdown(table)]
    parts += ["### Times", markdown(time_table(record, entries))]
    if breakdowns:
        table = breakdown_table(breakdowns)
        parts += [f"### {table.title}", _which_nuclei(record), markdown(table)]
    parts += ["### Against the paper's ranking", _ranking(record, entries, breakdowns)]
    return parts


def _ranking(record: Record, entries: Entries, breakdowns: Breakdowns) -> str:
    found = reversals(record, entries)
    how = f"macro F1, {condition_text(record, LITERAL)}"
    if not found:
        return f"No two methods are clearly in another order than in the paper ({how})."
    lines = [f"Clearly in another order than in the paper ({how}; the interval excludes 0):"]
    return "\n".join([*lines, "", *(_reversal(item, breakdowns) for item in found)])


def _reversal(item: Reversal, breakdowns: Breakdowns) -> str:
    gain, interval = item.difference.value, item.difference.interval
    text = (
        f"- {METHODS[item.ahead_here].name} is ahead of {METHODS[item.ahead_there].name} by "
        f"{gain:.3f} [{interval.low:.3f}, {interval.high:.3f}]."
    )
    if not breakdowns:
        return text
    return f"{text} {contrast_text(item.ahead_here, item.ahead_there, breakdowns)}"


def _which_nuclei(record: Record) -> str:
    radius = record["data_set"]["radius"]
    return f"""\
Shares of the nuclei with a detection within {radius / 2:.3g} px (half the mean radius), by thirds
of all nuclei: by their contrast (nuclear stain within {radius / 2:.3g} px of the click less that
between {radius:.3g} and {2 * radius:.3g} px), their size (the scale at which the normalised
Laplacian of a Gaussian at the click is strongest; neighbours that touch look like one large
nucleus), and the distance to the nearest other click. Then wrong detections per 100 nuclei:
displaced, up to {radius:.3g} px from a nucleus, and elsewhere."""


def _citations(methods: Sequence[Method]) -> str:
    return "\n".join(f"- {method.name}: {method.citation}" for method in methods)


def machines(records: Mapping[str, tuple[Record, Entries]]) -> list[str]:
    """On which the entries were made: a line of each."""
    seen: dict[str, None] = {}
    for _, entries in records.values():
        for entry in (entry for of in entries.values() for entry in of):
            m = entry["machine"]
            seen[
                f"{m.get('gpu') or m['cpu']}, {m['threads']} threads, torch {m['torch']}, dvfast "
                f"{m['dvfast']} at commit {m['commit'] or 'unknown'}."
            ] = None
    return list(seen)


def write_report(
    folder: Path,
    records: Mapping[str, dict[str, Any]],
    data_sets: Sequence[DataSet],
    methods: Sequence[Method],
    settings: Settings,
    command: str,
    progress: Progress,
) -> Path:
    """Write the page, ``reproduction.csv`` and the figures into a folder; the path of the page."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    keys = [method.key for method in methods]
    chosen = {
        name: (record, entries_of(record, keys, settings.seeds_of))
        for name, record in records.items()
    }
    pictures: dict[str, list[str]] = {}
    breakdowns: dict[str, Breakdowns] = {}
    for data_set in progress.track(data_sets, "drawing"):
        record, entries = chosen[data_set.name]
        samples = evenly(pair_by_stem(data_set.test), settings.test_images)
        nuclei = measure_nuclei(data_set, samples)
        breakdowns[data_set.name] = {
            key: break_down(nuclei, of, data_set.radius) for key, of in entries.items()
        }
        names = [f"reproduction-{data_set.name}-boxes.png"]
        draw_boxes(images / names[0], record, entries, PRIMARY)
        for number, index in enumerate(evenly(range(len(samples)), _PICTURED), 1):
            names.append(f"reproduction-{data_set.name}-{number}.png")
            target = images / names[-1]
            draw_overlays(target, data_set, samples[index], entries, index, PRIMARY.share)
        pictures[data_set.name] = [f"images/{name}" for name in names]
    with atomic_path(folder / "reproduction.csv") as temporary:
        temporary.write_text(csv_text(chosen), encoding="utf-8")
    target = folder / "reproduction.md"
    with atomic_path(target) as temporary:
        text = page(chosen, settings, command, pictures, breakdowns)
        temporary.write_text(text, encoding="utf-8")
    return target
