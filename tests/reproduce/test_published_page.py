"""The page in docs says what the table of figures beside it says."""

from __future__ import annotations

import csv
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE, FIGURES = DOCS / "reproduction.md", DOCS / "reproduction.csv"


def test_every_f1_stands_on_the_page() -> None:
    with open(FIGURES, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["data_set"] for row in rows} == {
        "endonuke_ihc",
        "bbbc038_histology",
        "bbbc038_fluo",
    }
    page = PAGE.read_text(encoding="utf-8")
    for row in rows:
        section = page.split(f"`{row['data_set']}`:", 1)[1].split("\n## ", 1)[0]
        heading = f"### {row['matching'].capitalize()}, within {float(row['radius']):.3g} px"
        table = section.split(heading, 1)[1].split("\n### ", 1)[0]
        lines = [line for line in table.splitlines() if line.startswith(f"| {row['name']} |")]
        assert len(lines) == 1, (row["data_set"], heading, row["name"])
        cells = [cell.strip() for cell in lines[0].split("|")]
        assert cells[2:4] == [f"{float(row['precision']):.3f}", f"{float(row['recall']):.3f}"]
        assert cells[4].replace("**", "").startswith(f"{float(row['f1']):.3f} [")


def test_its_pictures_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    pictures = [part.split(")")[0] for part in text.split("](")[1:]]
    shown = [name for name in pictures if name.endswith(".png")]
    assert len(shown) >= 9
    assert all((DOCS / name).is_file() for name in shown)
