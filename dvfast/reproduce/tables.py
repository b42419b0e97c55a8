"""Records as tables: Markdown for the page, CSV for everything else."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..bench.tables import Table, seconds_text
from ..evaluation import Spread
from .methods import METHODS
from .records import CONDITIONS, Condition
from .statistics import Difference, Interval, Row, difference, summarise

__all__ = ["Entries", "RecordData", "condition_text", "csv_text", "difference_text", "entries_of",
           "f1_text", "score_table", "time_table"]  # fmt: skip

RecordData = dict[str, Any]
Entries = Mapping[str, list[dict[str, Any]]]  # by method, of every seed


def entries_of(
    record: RecordData,
    keys: list[str] | None = None,
    seeds_of: Callable[[str], int] | None = None,
) -> Entries:
    """The entries of a record by method, in the order of the table.

    Parameters
    ----------
    record
        Of a data set.
    keys
        Of the methods; all by default.
    seeds_of
        How many of a method's seeds, from 0 on; all by default.
    """
    grouped: dict[str, list[dict[str, Any]]] = {}
    for key in METHODS if keys is None else keys:
        found = {
            int(name.rpartition("/")[2]): entry
            for name, entry in record["entries"].items()
            if name.rpartition("/")[0] == key
        }
        chosen = [found[seed] for seed in sorted(found) if seeds_of is None or seed < seeds_of(key)]
        if chosen:
            grouped[key] = chosen
    return grouped


def condition_text(record: RecordData, condition: Condition) -> str:
    """In words."""
    radius = condition.share * record["data_set"]["radius"]
    share = {0.5: "half the mean radius", 1.0: "the mean radius"}.get(
        condition.share, f"{condition.share:g} × the mean radius"
    )
    return f"{condition.mode}, within {radius:.3g} px ({share})"


def score_table(record: RecordData, entries: Entries, condition: Condition) -> Table:
    """Scores and errors of all methods under a condition; the best of F1 in bold."""
    rows = {key: summarise(record, of, condition) for key, of in entries.items()}
    best = max(rows, key=lambda key: rows[key].micro.f1)
    best_macro = max(row.macro.f1 for row in rows.values())
    seeds = max(len(of) for of in entries.values())
    headings = ["", "P", "R", "F1 [95 %]", f"F1 less {METHODS[best].name}'s"]
    headings += ["F1 of each seed"] if seeds > 1 else []
    headings += ["P, macro", "R, macro", "F1, macro [95 %]"]
    headings += ["μ_d ± σ_d, px", "μ_n ± σ_n, A − D", "μ_n ± σ_n, A − TP"]
    cells = []
    for (key, row), of in zip(rows.items(), entries.values(), strict=True):
        gap = ""
        if key != best:
            gap = difference_text(difference(record, of, entries[best], condition))
        line = [METHODS[key].name, _number(row.micro.precision), _number(row.micro.recall)]
        line += [f1_text(row.micro.f1, row.micro_interval, rows[best].micro.f1), gap]
        if seeds > 1:
            line.append(", ".join(map(_number, row.seed_f1)) if len(of) > 1 else "")
        line += [_number(row.macro.precision), _number(row.macro.recall)]
        line += [f1_text(row.macro.f1, row.macro_interval, best_macro)]
        line += [_spread(row.distance), _spread(row.count_error), _spread(row.missed)]
        cells.append(line)
    return Table(condition_text(record, condition), headings, cells, [])


def time_table(record: RecordData, entries: Entries) -> Table:
    """Seconds per image, speed, and how long it took to prepare the method."""
    cells = []
    slid = False
    for key, of in entries.items():
        seconds, pixels, images = _times(record, of)
        prepared = [entry["preparation_seconds"] for entry in of]
        known = [value for value in prepared if value is not None]
        sliding = any("sliding" in entry for entry in of)
        slid |= sliding
        cells.append(
            [
                METHODS[key].name + " †" * sliding,
                # Those that are slid over are other images than all.
                "" if sliding else seconds_text(seconds / images),
                f"{pixels / seconds / 1e6:.3g}",
                seconds_text(float(np.mean(known))) if known else "",
            ]
        )
    notes = ["Mpx/s: of the pixels of the files."]
    notes += [
        "Preparation: training, of networks that rows share, and the choice of thresholds or "
        "parameters; empty where a training was interrupted or weights were ready. Unlike "
        "detection it may have shared the machine with other trainings: an upper limit."
    ]
    notes += ["† Slid over a few images, see the protocol."] if slid else []
    machines = {entry["machine"]["cpu"] for of in entries.values() for entry in of}
    notes += ["Rows were timed on different machines."] if len(machines) > 1 else []
    return Table("Times", ["", "an image", "Mpx/s", "preparation"], cells, notes)


_SPREADS = ("distance", "count_error", "missed")
_COLUMNS = [
    *("data_set", "method", "name", "seeds", "radius", "matching"),
    *("precision", "recall", "f1", "f1_low", "f1_high", "seed_spread"),
    *("macro_precision", "macro_recall", "macro_f1", "macro_f1_low", "macro_f1_high"),
    *(f"{name}_{part}" for name in _SPREADS for part in ("mean", "std")),
    *("seconds_per_image", "megapixels_per_second", "preparation_seconds"),
]


def csv_text(record: RecordData, entries: Entries) -> str:
    """Every figure of a data set: a line for every condition and method."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    about = record["data_set"]
    for condition in CONDITIONS:
        for key, of in entries.items():
            row = summarise(record, of, condition)
            seconds, pixels, images = _times(record, of)
            known = [e["preparation_seconds"] for e in of if e["preparation_seconds"]]
            radius = condition.share * about["radius"]
            writer.writerow(
                [about["name"], key, METHODS[key].name, len(of), f"{radius:g}", condition.mode]
                + [_cell(value) for value in _flat(row)]
                + [_cell(seconds / images), _cell(pixels / seconds / 1e6)]
                + [_cell(float(np.mean(known)) if known else math.nan)]
            )
    return text.getvalue()


def _flat(row: Row) -> list[float]:
    """In the order of the columns."""
    micro, macro = row.micro, row.macro
    values = [micro.precision, micro.recall, micro.f1]
    values += [row.micro_interval.low, row.micro_interval.high, row.seed_spread]
    values += [macro.precision, macro.recall, macro.f1]
    values += [row.macro_interval.low, row.macro_interval.high]
    for name in _SPREADS:
        values += [getattr(row, name).mean, getattr(row, name).std]
    return values


def _times(record: RecordData, entries: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Seconds, pixels and images of what was timed: the sliding, where there was some."""
    slid = [entry["sliding"] for entry in entries if "sliding" in entry]
    if slid:
        seconds = [second for of in slid for second in of["seconds"]]
        return sum(seconds), sum(sum(of["pixels"]) for of in slid), len(seconds)
    seconds = [image["seconds"] for entry in entries for image in entry["images"]]
    pixels = sum(image["height"] * image["width"] for image in record["test"]) * len(entries)
    return sum(seconds), pixels, len(seconds)


def difference_text(gap: Difference) -> str:
    """With its interval."""
    return f"{gap.value:+.3f} {_interval(gap.interval, '+')}".rstrip()


def f1_text(value: float, interval: Interval, best: float = math.nan) -> str:
    """With its interval; in bold if it is the best."""
    number = _number(value)
    # Rows that show the same number are the best alike.
    text = f"**{number}**" if number == _number(best) else number
    return f"{text} {_interval(interval)}".rstrip()


def _interval(interval: Interval, sign: str = "") -> str:
    if math.isnan(interval.low):
        return ""
    return f"[{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _spread(spread: Spread) -> str:
    return "" if math.isnan(spread.mean) else f"{spread.mean:.2f} ± {spread.std:.2f}"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
