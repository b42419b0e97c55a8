"""``ablation.md``: what each setting is worth, as a table of every data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..bench.tables import Table, markdown, seconds_text
from ..data import atomic_path
from ..data.paths import make_folder
from .ablation import ABLATION
from .page import machines
from .records import CONDITIONS, PRIMARY
from .statistics import Difference, difference, summarise
from .tables import Entries, RecordData, difference_text, f1_text
from .variations import BASE, VARIATIONS, Variation

__all__ = ["ablation_page", "ablation_table", "chosen_entries", "write_ablation"]

# One to one; the reading is chosen for the first.
_CONDITIONS = (CONDITIONS[1], PRIMARY)

_SEEDS = [BASE.key, *(item.key for item in VARIATIONS if item.group == "seed")]

_INTRODUCTION = """\
What settings of deep voting's training and reading are worth. The base is the paper's network as
in the comparison's table (DV, fast scanning), trained for fewer steps; each row changes one setting
of it, some to what the paper has (Xie, Kong, Xing, Liu, Su, Yang, MICCAI 2015)."""

_PROTOCOL = """\
- All is done on `train/`; `test/` is not looked at. Networks learn from the training part, and are
  read and scored on the validation part, which is the same for all variations, whatever their seed.
- There is one validation, after the last step: the last network counts, not the best on the way.
- How votes are read (σ, the least distance of peaks, an absolute threshold) is chosen for every
  trained variation by the micro F1, one to one within the mean radius, on the same validation part
  that it is scored on. **So these scores are optimistic, alike for all**: they are for comparing
  the variations with each other, and with nothing else.
- Variations of the group "reading", and "the paper's training and reading", train nothing: they
  read the weights of the base, or of the paper's training, with one setting otherwise than was
  chosen for them, and the threshold chosen anew, unless it is part of what varies.
- All have as many steps as the base, so what learns slowly is judged before it has learnt, and
  "the paper's training" is not what it reaches in days.
- F1: of the counts of all validation images together, one detection for one annotation. In
  brackets: bootstrap intervals of 95 % over the images; differences to the base are resampled in
  pairs, and **bold** where the interval excludes 0. Of the many differences here a few would do so
  by chance.
- Intervals are over images and know nothing of the luck of a training. "Another seed" is the base
  with other initial weights and other samples: differences no larger than these are noise.
- Training: seconds with the validation at the end, whatever else the machine did then; empty where
  nothing was trained, or a training was interrupted."""


def chosen_entries(record: RecordData, variations: Sequence[Variation]) -> Entries:
    """The entries of a record by variation, in the order of the variations."""
    return {
        item.key: [record["entries"][item.key]]
        for item in variations
        if item.key in record["entries"]
    }


def ablation_table(record: RecordData, entries: Entries) -> Table:
    """F1 of all variations within both radii, and how far they are from the base's."""
    measured = _as_tested(record)
    radius = record["data_set"]["radius"]
    headings = [""]
    for condition in _CONDITIONS:
        headings += [f"F1, {condition.share * radius:.3g} px [95 %]", "less the base's"]
    cells = []
    for key, of in entries.items():
        line = [BASE.name if key == BASE.key else key.replace("/", ": ", 1)]
        if "failed" in of[0]:
            cells.append([line[0], *("diverged", "") * len(_CONDITIONS), ""])
            continue
        for condition in _CONDITIONS:
            row = summarise(measured, of, condition)
            gap = difference(measured, of, entries[BASE.key], condition)
            line.append(f1_text(row.micro.f1, row.micro_interval))
            line.append("" if key == BASE.key else _marked(gap))
        seconds = of[0]["training_seconds"]
        trained = seconds is not None and of[0]["reading"] is None
        cells.append([*line, seconds_text(seconds) if trained else ""])
    notes = ["In bold: the interval of the difference excludes 0."]
    if any("failed" in of[0] for of in entries.values()):
        notes.append("diverged: the loss did not stay finite.")
    return Table("What settings are worth", [*headings, "training"], cells, notes)


def ablation_page(records: Mapping[str, tuple[RecordData, Entries]], command: str) -> str:
    """The page in Markdown.

    Parameters
    ----------
    records
        By data set: the record, and its entries by variation.
    command
        That makes this page.
    """
    steps = {entries[BASE.key][0]["settings"]["steps"] for _, entries in records.values()}
    length = " or ".join(f"{number:,}" for number in sorted(steps))
    parts = ["# What settings are worth", _INTRODUCTION, f"```\n{command}\n```", "## Protocol"]
    parts.append(f"{_PROTOCOL}\n- Steps of every training: {length}.")
    for name, (record, entries) in records.items():
        about, images = record["data_set"], record[ABLATION.part]
        parts += [
            f"## {about['title'] or name}",
            f"`{name}`: {len(images)} validation images, {about['validation_fraction']:.0%} of "
            f"`train/`, with {sum(image['annotations'] for image in images):,} nuclei of a mean "
            f"radius of {about['radius']:g} px. Licence: {about['licence']}. Source: "
            f"{about['attribution']}.",
            markdown(ablation_table(record, entries)),
            _noise(record, entries),
            _base(entries),
        ]
    parts += ["## Machine", *machines(entries for _, entries in records.values())]
    return "\n\n".join(parts) + "\n"


def write_ablation(
    folder: Path,
    records: Mapping[str, RecordData],
    variations: Sequence[Variation],
    command: str,
) -> Path:
    """Write ``ablation.md`` into a folder, which is made; its path."""
    chosen = {
        name: (record, chosen_entries(record, variations)) for name, record in records.items()
    }
    make_folder(folder)
    target = folder / "ablation.md"
    with atomic_path(target) as temporary:
        temporary.write_text(ablation_page(chosen, command), encoding="utf-8")
    return target


def _as_tested(record: RecordData) -> RecordData:
    """For the statistics, which are of what was measured on, by the name that a comparison has."""
    return {**record, "test": record[ABLATION.part]}


def _marked(gap: Difference) -> str:
    return f"**{difference_text(gap)}**" if gap.is_clear else difference_text(gap)


def _noise(record: RecordData, entries: Entries) -> str:
    """What another seed makes of the same settings."""
    seeds = [entries[key] for key in _SEEDS if key in entries and "failed" not in entries[key][0]]
    if len(seeds) < 2:
        return "No other seed was trained: how far trainings differ by luck is not known here."
    texts = []
    for condition in _CONDITIONS:
        scores = [summarise(_as_tested(record), of, condition).micro.f1 for of in seeds]
        radius = condition.share * record["data_set"]["radius"]
        numbers = ", ".join(f"{score:.3f}" for score in scores)
        texts.append(f"{numbers} within {radius:.3g} px, {max(scores) - min(scores):.3f} apart")
    return f"F1 of the base with {len(seeds)} seeds: {'; '.join(texts)}."


def _base(entries: Entries) -> str:
    settings = entries[BASE.key][0]["settings"]
    detection = entries[BASE.key][0]["detection"]
    return (
        f"The base: k = {settings['num_votes']}, r1 = {settings['r1']:.3g}, "
        f"r2 = {settings['r2']:.3g}, β = {settings['beta']:g}, λ = {settings['lam']:g}, channels "
        f"{settings['channels']}, hidden {settings['hidden']}, {settings['sampling']}, "
        f"{settings['schedule']} with {settings['optimizer']} at {settings['learning_rate']:g}, "
        f"{settings['precision']}; read with stride {detection['stride']}, "
        f"σ = {detection['sigma']:.3g}, window {detection['window']}, least distance "
        f"{detection['min_distance']} and threshold {detection['threshold']:.3g}."
    )
