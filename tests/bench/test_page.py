"""The page of figures: what is committed is what the records that are committed give."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dvfast.bench.page import page, write_page
from dvfast.bench.plots import PLOTS, digest, digest_of_file, draw
from dvfast.bench.records import load_record

ROOT = Path(__file__).parents[2]
RECORDS = sorted((ROOT / "benchmarks" / "results").glob("bench-*.json"))
IMAGES = ROOT / "docs" / "images"


def records() -> dict[str, dict[str, Any]]:
    return {path.stem: load_record(path) for path in RECORDS}


def test_the_page_is_that_of_the_records() -> None:
    """If not: `make performance`."""
    assert RECORDS
    assert page(records()) == (ROOT / "docs" / "performance.md").read_text()


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_plots_are_those_of_the_records(path: Path, plot: str) -> None:
    image = IMAGES / f"performance-{path.stem.removeprefix('bench-')}-{plot}.png"
    assert digest_of_file(image) == digest(load_record(path), plot)


def test_another_figure_makes_another_page(tmp_path: Path) -> None:
    (name, record), *_ = records().items()
    changed = copy.deepcopy(record)
    seconds = changed["contests"]["scan"]["rows"][0]["seconds"]
    seconds.update({name: 1.5 * value for name, value in seconds.items()})
    assert page({name: changed}) != page({name: record})
    assert draw(changed, "scan", tmp_path / "scan.png")
    assert digest_of_file(tmp_path / "scan.png") != digest(record, "scan")


def test_records_are_clean() -> None:
    """Measured in one state of the files, all contests of it, none of them wrong."""
    for name, record in records().items():
        commits = [c["commit"] for c in record["contests"].values() if "commit" in c]
        for commit in (record["machine"]["commit"], *commits):
            assert not str(commit).endswith("-dirty"), name
        assert not record["quick"], name
        wrong = [key for key, contest in record["contests"].items() if "error" in contest]
        assert wrong == [], name


def test_a_page_of_its_own(tmp_path: Path) -> None:
    write_page(tmp_path / "page.md", RECORDS[:1])
    text = (tmp_path / "page.md").read_text()
    for image in sorted((tmp_path / "images").iterdir()):
        assert f"images/{image.name}" in text
    assert "| --- |" in text


def _times(text: str) -> list[float]:
    """In milliseconds."""
    found = re.findall(r"(?<![\w.])([\d,]*\.?\d+) (s|ms|µs)\b", text)
    unit = {"s": 1e3, "ms": 1.0, "µs": 1e-3}
    return [float(number.replace(",", "")) * unit[name] for number, name in found]


def _told(text: str) -> Iterator[str]:
    """Milliseconds in tables: in columns of them, and in other cells."""
    heading: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        for name, cell in zip(heading, cells, strict=False):
            if re.search(r"\bms$", name):
                yield from re.findall(r"^[\d,]*\.?\d+$", cell)
            yield from re.findall(r"([\d,]*\.?\d+) ms", cell)
        heading = (heading or cells) if cells else []


@pytest.mark.parametrize("page", ["README.md", "docs/scanning.md"])
def test_times_that_other_pages_tell_are_those_of_the_records(page: str) -> None:
    recorded = _times((ROOT / "docs" / "performance.md").read_text())
    numbers = list(_told((ROOT / page).read_text()))
    assert len(numbers) > 7
    for number in numbers:
        value = float(number.replace(",", ""))
        # As printed here, and as printed there: with three digits.
        slack = max(0.505 * 10.0 ** -len(number.partition(".")[2]), 0.005 * value)
        assert any(abs(time - value) <= slack for time in recorded), f"{number} ms"
