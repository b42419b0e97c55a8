"""The pages in docs say what the tables of figures beside them say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dvfast.reproduce import records
from dvfast.reproduce.data_sets import KNOWN
from dvfast.reproduce.methods import METHODS
from dvfast.reproduce.preparation import recipe
from dvfast.reproduce.records import key_of, load_record
from dvfast.reproduce.settings import Settings
from dvfast.reproduce.summary import write_summary

DOCS = Path(__file__).parents[2] / "docs"
PAGES = DOCS / "reproduction"


@pytest.mark.parametrize("name", KNOWN)
def test_every_f1_stands_on_the_page(name: str) -> None:
    with open(PAGES / f"{name}.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"`{name}`:" in page
    for row in rows:
        assert row["data_set"] == name
        heading = f"## {row['matching'].capitalize()}, within {float(row['radius']):.3g} px"
        table = page.split(heading, 1)[1].split("\n## ", 1)[0]
        lines = [line for line in table.splitlines() if line.startswith(f"| {row['name']} |")]
        assert len(lines) == 1, (heading, row["name"])
        cells = [cell.strip() for cell in lines[0].split("|")]
        assert cells[2:4] == [f"{float(row['precision']):.3f}", f"{float(row['recall']):.3f}"]
        assert cells[4].replace("**", "").startswith(f"{float(row['f1']):.3f} [")


@pytest.mark.parametrize("name", KNOWN)
def test_its_pictures_are_there(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    shown = [part.split(")")[0] for part in text.split("](")[1:]]
    pictures = [file for file in shown if file.endswith(".png")]
    assert len(pictures) >= 3
    assert all((PAGES / file).is_file() for file in pictures)


def test_the_summary_is_of_these_pages(tmp_path: Path) -> None:
    pages = tmp_path / "reproduction"
    pages.mkdir()
    for path in PAGES.glob("*.csv"):
        (pages / path.name).write_bytes(path.read_bytes())
    published = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    assert write_summary(pages).read_text(encoding="utf-8") == published


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.json")), ids=lambda path: path.stem)
def test_its_rows_come_of_the_settings_of_today(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = load_record(path)
    data_set, data = KNOWN[path.stem], record["data_set"]["fingerprint"]
    for name, entry in record["entries"].items():
        method, _, seed = name.rpartition("/")
        monkeypatch.setattr(records, "__version__", entry["machine"]["dvfast"])
        what = recipe(METHODS[method], data_set, int(seed), Settings(tuning_images=10))
        assert entry["key"] == key_of(**what, data=data), name
