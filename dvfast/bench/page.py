"""``docs/performance.md`` and its plots, from records alone.

    python -m dvfast.bench.page docs/performance.md benchmarks/results/bench-*.json

The plots go into a folder ``images`` beside the page. A test asks that the page which is committed
is what this makes of the records that are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..data import atomic_path
from .plots import PLOTS, draw
from .records import load_record
from .tables import markdown, table_of

__all__ = ["page", "write_page", "write_report"]

_SECTIONS = {
    "scanning": (
        "Scanning",
        "The network over a whole image. The peers run the same network with the same weights in "
        "PyTorch; the sliding window's time is that of 16 rows of votes, in proportion. Shares of "
        "the float32 or bfloat16 peak count the multiplications of the direct sum, and compare "
        "with multiply-adds on registers, measured in turns with the runs.",
        ("scan",),
    ),
    "voting": (
        "The operators around the network",
        "Each beside what one would otherwise write. Shares of copying: the time that a copy of as "
        "many bytes as the operator must read and write takes, in the same run.",
        (),
    ),
    "curves": (
        "Cost curves",
        "How the time grows; exponents are fitted in the logarithms.",
        ("curves",),
    ),
    "frontier": (
        "Accuracy against speed",
        "What one chooses from. Nothing was tuned on these images.",
        ("frontier",),
    ),
    "tools": (
        "Whole tools",
        "Other tools of the field on the same image and cores. Their published weights have to be "
        "downloaded and are not: the networks have random weights, which take the same time, so "
        "that this says how fast they are and nothing about how well they detect. What they do "
        "after the network is timed apart, on maps like those a trained network would give.",
        (),
    ),
}

_HOW = """\
All contenders of a table take turns, and every ratio is the median of the ratios of neighbouring
runs, ± half the distance of its quartiles: what else the machine does hits both. A table is
measured only after its contenders were seen to compute the same; data is random, never zero. Memory
is what the process (or the GPU's allocator) grew by at most during a run, results included; what
the allocator kept of the runs before makes it larger or smaller by some ten MiB.

This page is made of a record (`make performance`) that `dvfast bench` makes on any machine."""


def page(records: dict[str, dict[str, Any]], images: str = "images") -> str:
    """The page in Markdown, of records by the names of their files."""
    parts = ["# Performance", _HOW]
    for name, record in records.items():
        parts += _machine(name, record, len(records) > 1)
        for section, (heading, introduction, plots) in _SECTIONS.items():
            contests = {
                key: contest
                for key, contest in record["contests"].items()
                if contest["section"] == section
            }
            if not any("rows" in contest for contest in contests.values()):
                continue
            parts += [f"## {heading}", introduction]
            for plot in plots:
                if "rows" in record["contests"].get(PLOTS[plot][1][0], {}):
                    parts.append(f"![{heading}]({images}/{_image_name(name, plot)})")
            for key, contest in contests.items():
                parts += _contest(key, contest)
    return "\n\n".join(parts) + "\n"


def _machine(name: str, record: dict[str, Any], one_of_many: bool) -> list[str]:
    machine = record["machine"]
    where = machine.get("gpu") or machine["cpu"]
    units = machine["instruction_set"].upper() + (", AMX" if machine["matrix_unit"] else "")
    lines = [
        f"Measured on {where}, {machine['threads']} threads ({units}), torch {machine['torch']}, "
        f"dvfast {machine['dvfast']} at commit {machine['commit'] or 'unknown'}, "
        f"{record['started'][:10]}; record: `benchmarks/results/{name}.json`."
    ]
    return [f"# {where}", *lines] if one_of_many else lines


def _contest(name: str, contest: dict[str, Any]) -> list[str]:
    heading = f"### {contest['title']}"
    again = f"`dvfast bench --only {name}`"
    if "commit" in contest:
        again += f", measured anew at commit {contest['commit']}"
    if "rows" not in contest:
        return [heading, f"Not measured: {contest.get('skipped') or contest['error']}. {again}"]
    return [heading, markdown(table_of(contest)), again]


def _image_name(record: str, plot: str) -> str:
    return f"performance-{record.removeprefix('bench-')}-{plot}.png"


def write_report(folder: Path, record: dict[str, Any]) -> Path:
    """Write the page of one record into a folder; the path of the page."""
    target = folder / "performance.md"
    _write(target, {"here": record})
    return target


def write_page(target: Path, files: Sequence[Path]) -> None:
    """Write the page of records, and its plots."""
    _write(target, {file.stem: load_record(file) for file in files})


def _write(target: Path, records: dict[str, dict[str, Any]]) -> None:
    folder = target.parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name, record in records.items():
        for plot in PLOTS:
            draw(record, plot, folder / _image_name(name, plot))
    with atomic_path(target) as temporary:
        temporary.write_text(page(records), encoding="utf-8")


@click.command(help=__doc__.splitlines()[0])
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def _main(target: Path, records: tuple[Path, ...]) -> None:
    write_page(target, records)


if __name__ == "__main__":
    _main()
