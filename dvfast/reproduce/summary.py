"""The summary of the data sets' pages: made of the figures that lie beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..bench.tables import Table, markdown
from ..data import atomic_path
from ..errors import InputError
from .data_sets import KNOWN
from .methods import METHODS
from .paper import quoted_table
from .records import PRIMARY

__all__ = ["summary", "summary_table", "write_summary"]

Figures = Sequence[Mapping[str, str]]  # lines of a CSV file by column

_INTRODUCTION = """\
Deep voting beside the methods that its paper compares it with (Xie, Kong, Xing, Liu, Su, Yang,
MICCAI 2015, Table 1), and some more, on open data: the paper's own images were not published.
Every data set has a page: the command that makes it, the protocol, precision, recall and the errors
of positions and counts under four ways of counting, times, which nuclei are found, pictures."""

_ONE_TO_ONE = """\
F1 on `test/`, of the counts of all images together, one detection for one annotation: within the
mean radius of a nucleus, and, as in the paper, within half of it; the mean of a row's seeds, where
it has several. The best of a column is bold; whether it is clearly better, the intervals on the
pages tell."""

_PAPERS = """\
On 44 Ki67-stained images of neuroendocrine tumours, 400 × 400 pixels, as printed. An F1 there is a
mean over images and not the harmonic mean of P and R beside it."""


def write_summary(pages: Path) -> Path:
    """Write the summary of the pages in a folder, beside it and named after it; its path.

    Pages of earlier runs count: a data set can be done anew without the others.

    Raises
    ------
    InputError
        If a CSV file in the folder is not one of a page.
    """
    figures = {path.stem: _read(path) for path in sorted(pages.glob("*.csv"))}
    known = [name for name in KNOWN if name in figures]
    ordered = {name: figures[name] for name in [*known, *sorted(figures.keys() - KNOWN.keys())]}
    target = pages.with_suffix(".md")
    with atomic_path(target) as temporary:
        temporary.write_text(summary(ordered, pages.name), encoding="utf-8")
    return target


def summary(figures: Mapping[str, Figures], folder: str) -> str:
    """The summary in Markdown.

    Parameters
    ----------
    figures
        By data set, the lines of its CSV file.
    folder
        Where the pages are, relative to the summary.
    """
    parts = ["# Reproduction of Table 1", _INTRODUCTION]
    parts += ["\n".join(f"- [{_title(name)}]({folder}/{name}.md)" for name in figures)]
    parts += ["## F1", _ONE_TO_ONE, markdown(summary_table(figures))]
    shown = {line["method"] for lines in figures.values() for line in lines}
    methods = [METHODS[key] for key in METHODS if key in shown]
    parts += ["## Methods", "\n".join(f"- {method.name}: {method.citation}" for method in methods)]
    parts += ["## The paper's figures", _PAPERS, markdown(quoted_table())]
    return "\n\n".join(parts) + "\n"


def summary_table(figures: Mapping[str, Figures]) -> Table:
    """F1 of every method on every data set, one to one."""
    headings, columns = [""], []
    for name, lines in figures.items():
        counted = [line for line in lines if line["matching"] == PRIMARY.mode]
        for radius in sorted({line["radius"] for line in counted}, key=float, reverse=True):
            headings.append(f"`{name}`, {float(radius):.3g} px")
            scores = {line["method"]: line["f1"] for line in counted if line["radius"] == radius}
            columns.append({key: f"{float(value):.3f}" for key, value in scores.items() if value})
    best = [max(column.values(), default="") for column in columns]
    rows = []
    for key in METHODS:
        cells = [column.get(key, "") for column in columns]
        if any(cells):
            bold = [
                f"**{cell}**" if cell and cell == highest else cell
                for cell, highest in zip(cells, best, strict=True)
            ]
            rows.append([METHODS[key].name, *bold])
    return Table("F1", headings, rows, [])


def _title(name: str) -> str:
    return KNOWN[name].title if name in KNOWN else name


def _read(path: Path) -> Figures:
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    if not lines or not {"method", "matching", "radius", "f1"} <= lines[0].keys():
        raise InputError(
            f"{path}: is not a table of `dvfast reproduce table1`, as all CSV files in this folder "
            "must be; take it out, or write the report elsewhere"
        )
    return lines
