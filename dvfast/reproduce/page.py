"""The page of a data set: the protocol, the tables, the figures, and where the ranking differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..bench.tables import markdown
from ..data import atomic_path, pair_by_stem
from ..data.json_files import write_json
from ..data.paths import make_folder
from .adjoining import adjoining, adjoining_table
from .breakdown import Breakdown, break_down, breakdown_table, contrast_text, measure_nuclei
from .data_sets import DataSet
from .figures import draw_boxes, draw_overlays
from .methods import METHODS, PAPER_STEPS, Method
from .paper import Reversal, reversals
from .records import CONDITIONS, LITERAL, PRIMARY, WITHIN_RADIUS
from .settings import Settings, evenly
from .tables import (
    Entries,
    RecordData,
    condition_text,
    csv_text,
    entries_of,
    score_table,
    time_table,
)

__all__ = ["machines", "page", "write_page"]

Breakdowns = Mapping[str, Breakdown]  # by method

_PICTURED = 2  # images of every data set

_INTRODUCTION = """\
Deep voting beside the methods that its paper compares it with (Xie, Kong, Xing, Liu, Su, Yang,
MICCAI 2015, Table 1), and some more, on open data."""


def _protocol(settings: Settings) -> str:
    seeds = "one seed, 0" if settings.seeds == 1 else f"seeds 0 to {settings.seeds - 1}"
    if settings.seeds > 1 and settings.seeded is not None:
        names = ", ".join(METHODS[key].name for key in settings.seeded)
        seeds = f"{seeds} for {names}; 0 for the others"
    text = f"""\
- Networks learn from `train/`, of which a part is kept for validation, drawn by the seed
  ({seeds}). The classical methods choose their parameters on at most {settings.tuning_images}
  images of the same validation part, by trying a grid; NERS, which learns, learns from all of the
  training part. DV-U and the heat-map U-Net are one network but for its last layer, trained by the
  same loop for as many steps; so are the paper's network and CNN+PC. "The paper's constants" were
  trained for {PAPER_STEPS:,} steps of 128 patches, an eighth of what `--preset paper` makes.
- Thresholds, too, are those of highest micro F1 on the validation part, one to one within the mean
  nuclear radius; "the paper's constants" keep the paper's ξ = 0.2. `test/` is measured on and
  nothing else.
- A detection counts within half the mean radius of a nucleus, as in the paper, or within the mean
  radius. One to one: a detection for an annotation. Literal, the paper's wording: every detection
  within the circle of any annotation is right; but recall is the share of annotations that are
  found, where the paper's TP / (TP + FN) counts an annotation as often as it is detected.
- P, R, F1: of the counts of all images together; macro: means over images, which is how the paper's
  F1 come about. In brackets: bootstrap intervals of 95 % over images, and over seeds where there
  are several: **those of a row of one seed know nothing of the luck of a training.** Differences to
  the best row are resampled in pairs. Scores are means over the seeds.
- μ_d, σ_d: distance of true positives; μ_n, σ_n: of the absolute difference per image between the
  numbers of annotations and detections, A − D, and of annotations and true positives, A − TP. The
  paper defines the second and prints figures that fit the first.
- DV-1 and DV-3 ask for a patch per voter. Fast scanning gives the same bits, and is what found
  their nuclei. Patches were really slid over test images ({settings.sliding_images} of them):
  every vote was the same to the bit, and so were the nuclei. Times of the two are of the sliding.
- Times are of detection alone, from an image in memory to points."""
    if settings.steps is not None:
        text += f"\n- Trainings were cut to {settings.steps} steps."
    if settings.test_images is not None:
        text += f"\n- Only {settings.test_images} test images were looked at."
    return text


def page(
    record: RecordData,
    entries: Entries,
    settings: Settings,
    command: str,
    pictures: Sequence[str] = (),
    breakdowns: Breakdowns = MappingProxyType({}),
    summary: str | None = None,
    adjoin: Sequence[bool] = (),
) -> str:
    """The page of a data set in Markdown, whole in itself.

    Parameters
    ----------
    record
        Of the data set.
    entries
        Those of its entries that are shown, by method.
    settings
        Of the run.
    command
        That makes this page.
    pictures
        The files to show, relative to the page.
    breakdowns
        Of every method: which nuclei it finds.
    summary
        Of all data sets, relative to the page.
    adjoin
        Which test images adjoin training images.
    """
    name = record["data_set"]["name"]
    parts = [f"# {record['data_set']['title'] or name}", _INTRODUCTION]
    if summary is not None:
        parts[-1] += f" All data sets and the paper's figures: [the summary]({summary})."
    if settings.test_images is not None:
        parts.append("**A quick run: it shows that everything works, its figures mean nothing.**")
    parts += [f"```\n{command}\n```", "## Data", _about(record)]
    parts += ["## Protocol", _protocol(settings)]
    for condition in CONDITIONS:
        table = score_table(record, entries, condition)
        parts += [f"## {table.title[0].upper()}{table.title[1:]}", markdown(table)]
    if any(adjoin) and not all(adjoin):
        table = adjoining_table(record, entries, adjoin, WITHIN_RADIUS)
        parts += ["## Test images beside training images", _beside(adjoin), table.title + ":"]
        parts += [markdown(table)]
    parts += ["## Times", markdown(time_table(record, entries))]
    if breakdowns:
        table = breakdown_table(breakdowns)
        parts += [f"## {table.title}", _which_nuclei(record), markdown(table)]
    parts += ["## Against the paper's ranking", _ranking(record, entries, breakdowns)]
    parts += [f"![{name}]({file})" for file in pictures]
    parts += ["## Machine", *machines([entries])]
    return "\n\n".join(parts) + "\n"


def _about(record: RecordData) -> str:
    about, images = record["data_set"], record["test"]
    radii = [entry["parameters"].get("centroid_radius", 0) for entry in record["entries"].values()]
    centroids = (
        f" Nuclei of U-Nets lie at the centroids of their peaks within {max(radii):.3g} of their "
        "pixels, for votes and heat maps alike, as validation parts had it."
        if max(radii, default=0)
        else ""
    )
    return (
        f"`{about['name']}`: {len(images)} test images, "
        f"{sum(image['annotations'] for image in images):,} nuclei of a mean radius of "
        f"{about['radius']:g} px; {about['validation_fraction']:.0%} of the "
        f"training images are for validation. The classical methods see nuclei as "
        f"`dvfast.baselines.nucleus_density(image, {about['stain']!r})` shows them. Licence: "
        f"{about['licence']}. Source: {about['attribution']}.{centroids}"
    )


def _beside(adjoin: Sequence[bool]) -> str:
    return f"""\
{sum(adjoin)} of the {len(adjoin)} test images adjoin an image of `train/`, to the pixel: tiles of
one picture lie in both parts. No pixel is in both, but nuclei on the border are, and tissue and
stain are the same. What learns from `train/` may be better there than on slides of others."""


def _ranking(record: RecordData, entries: Entries, breakdowns: Breakdowns) -> str:
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


def _which_nuclei(record: RecordData) -> str:
    radius = record["data_set"]["radius"]
    return f"""\
Shares of the nuclei with a detection within {radius / 2:.3g} px (half the mean radius), by thirds
of all nuclei: by their contrast (nuclear stain within {radius / 2:.3g} px of the click less that
between {radius:.3g} and {2 * radius:.3g} px), their size (the scale at which the normalised
Laplacian of a Gaussian at the click is strongest; neighbours that touch look like one large
nucleus), and the distance to the nearest other click. Then wrong detections per 100 nuclei:
displaced, up to {radius:.3g} px from a nucleus, and elsewhere."""


def machines(shown: Iterable[Entries]) -> list[str]:
    """On which entries were made: a line of each."""
    seen: dict[str, None] = {}
    for entry in (entry for entries in shown for of in entries.values() for entry in of):
        m = entry["machine"]
        seen[
            f"{m.get('gpu') or m['cpu']}, {m['threads']} threads, torch {m['torch']}, dvfast "
            f"{m['dvfast']} at commit {m['commit'] or 'unknown'}."
        ] = None
    return list(seen)


def write_page(
    folder: Path,
    record: RecordData,
    data_set: DataSet,
    methods: Sequence[Method],
    settings: Settings,
    command: str,
) -> Path:
    """Write the page of a data set, ``NAME.md``, with ``NAME.csv``, its figures and the record.

    Returns
    -------
    pathlib.Path
        Of the page.
    """
    make_folder(folder)
    name = data_set.name
    entries = entries_of(record, [method.key for method in methods], settings.seeds_of)
    samples = evenly(pair_by_stem(data_set.test), settings.test_images)
    nuclei = measure_nuclei(data_set, samples)
    breakdowns = {key: break_down(nuclei, of, data_set.radius) for key, of in entries.items()}
    pictures = [f"{name}-boxes.png"]
    draw_boxes(folder / pictures[0], record, entries, PRIMARY)
    for number, index in enumerate(evenly(range(len(samples)), _PICTURED), 1):
        pictures.append(f"{name}-{number}.png")
        target = folder / pictures[-1]
        draw_overlays(target, data_set, samples[index], entries, index, PRIMARY.share)
    # From which a run goes on, to do one row anew or to add one of one's own.
    write_json(folder / f"{name}.json", record)
    with atomic_path(folder / f"{name}.csv") as temporary:
        temporary.write_text(csv_text(record, entries), encoding="utf-8")
    with atomic_path(folder / f"{name}.md") as temporary:
        text = page(
            record,
            entries,
            settings,
            command,
            pictures,
            breakdowns,
            f"../{folder.name}.md",
            adjoining(samples, pair_by_stem(data_set.train)),
        )
        temporary.write_text(text, encoding="utf-8")
    return folder / f"{name}.md"
