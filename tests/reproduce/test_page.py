"""Tables, figures and the page, of a record made by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made_record import MACHINE, entry, record
from PIL import Image
from synthetic_tiles import write_tile

from dvfast.bench.tables import markdown
from dvfast.data import pair_by_stem
from dvfast.errors import InputError
from dvfast.reproduce import figures
from dvfast.reproduce.breakdown import Breakdown
from dvfast.reproduce.data_sets import KNOWN, data_set
from dvfast.reproduce.figures import draw_boxes, draw_overlays
from dvfast.reproduce.methods import METHODS
from dvfast.reproduce.page import page, write_page
from dvfast.reproduce.paper import TABLE_1, reversals
from dvfast.reproduce.records import PRIMARY, load_record
from dvfast.reproduce.settings import Settings
from dvfast.reproduce.summary import summary, summary_table, write_summary
from dvfast.reproduce.tables import csv_text, entries_of, score_table, time_table

TRUTHS = [[(10, 10), (50, 50)], [(20, 20)], [(30, 30), (60, 60)]]
SLID = {"images": ["image_0"], "seconds": [4.0], "pixels": [20_000], "nuclei": [2]}


@pytest.fixture
def table() -> dict[str, Any]:
    """ITCN finds everything, DV-1 half of it: the paper upside down."""
    half = [points[:1] for points in TRUTHS[:1]] + [[(90, 90)], [(30, 31)]]
    return record(
        TRUTHS,
        {
            "itcn/0": entry(TRUTHS, TRUTHS, seconds=0.01),
            "dv-1/0": entry(half, TRUTHS, sliding=SLID, preparation_seconds=None),
        },
    )


def test_scores(table: dict[str, Any]) -> None:
    text = score_table(table, entries_of(table), PRIMARY)
    assert "within 5 px" in text.title
    assert [row[0] for row in text.rows] == ["DV-1", "ITCN"]  # in the order of the paper
    ours, best = (dict(zip(text.headings, row, strict=True)) for row in text.rows)
    assert best["F1 [95 %]"] == "**1.000** [1.000, 1.000]"
    assert best["F1 less ITCN's"] == ""
    assert (ours["P"], ours["R"]) == ("0.667", "0.400")
    assert ours["F1 [95 %]"].startswith("0.500 [0.000, ")
    assert ours["F1 less ITCN's"].startswith("-0.500 [-1.000, ")
    assert ours["F1, macro [95 %]"].startswith("0.444 ")
    assert ours["μ_d ± σ_d, px"] == "0.50 ± 0.50"
    assert ours["μ_n ± σ_n, A − D"] == "0.67 ± 0.47"
    assert ours["μ_n ± σ_n, A − TP"] == "1.00 ± 0.00"
    lines = markdown(text).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_times_of_rows_that_slide_are_of_the_sliding(table: dict[str, Any]) -> None:
    text = time_table(table, entries_of(table))
    assert text.rows == [
        ["DV-1 †", "", "0.005", ""],
        ["ITCN", "10.0 ms", "2", "60.0 s"],
    ]
    assert any(note.startswith("†") for note in text.notes)


def test_every_figure_is_in_the_csv(table: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(table, entries_of(table)))))
    assert len(rows) == 2 * 4
    first = rows[0]
    assert (first["method"], first["radius"], first["matching"]) == ("dv-1", "5", "one-to-one")
    assert float(first["f1"]) == pytest.approx(0.5)
    assert (first["seconds_per_image"], first["preparation_seconds"]) == ("4", "")
    assert None not in first
    assert None not in first.values()


def test_seeds_that_were_not_asked_for_are_left_out(table: dict[str, Any]) -> None:
    table["entries"]["itcn/1"] = table["entries"]["itcn/0"]
    assert [len(of) for of in entries_of(table, ["itcn"]).values()] == [2]
    assert [len(of) for of in entries_of(table, ["itcn"], lambda key: 1).values()] == [1]
    text = score_table(table, entries_of(table), PRIMARY)
    column = text.headings.index("F1 of each seed")
    assert [row[column] for row in text.rows] == ["", "1.000, 1.000"]


def test_a_ranking_unlike_the_papers_is_told_and_looked_into(table: dict[str, Any]) -> None:
    (found,) = reversals(table, entries_of(table))
    assert (found.ahead_there, found.ahead_here) == ("dv-1", "itcn")
    text = page(table, entries_of(table), Settings(), "a command")
    assert "ITCN is ahead of DV-1 by 0.556" in text
    assert "## Which nuclei are found" not in text
    even, uneven = np.array([0.9, 0.9, 0.9]), np.array([0.1, 0.5, 0.9])
    looked = {
        "itcn": Breakdown({"contrast": even, "size": even, "distance": even}, 1.0, 2.0),
        "dv-1": Breakdown({"contrast": even, "size": uneven, "distance": even}, 3.0, 4.0),
    }
    text = page(table, entries_of(table), Settings(), "a command", breakdowns=looked)
    assert "| DV-1 | 0.900 | 0.900 | 0.900 | 0.100 | 0.500 |" in text
    assert "recalls most is size (small, middling, large): 0.90, 0.90, 0.90 against 0.10" in text
    assert "1 displaced and 2 elsewhere against 3 and 4" in text


def test_the_papers_ranking_is_not_told(table: dict[str, Any]) -> None:
    entries = table["entries"]
    entries["itcn/0"], entries["dv-1/0"] = entries["dv-1/0"], entries["itcn/0"]
    assert reversals(table, entries_of(table)) == []
    text = page(table, entries_of(table), Settings(), "a command")
    assert "No two methods are clearly in another order" in text


def test_a_difference_that_may_be_chance_is_no_other_ranking(table: dict[str, Any]) -> None:
    mixed = [TRUTHS[0][:1], TRUTHS[1], TRUTHS[2]]
    other = [TRUTHS[0], [], TRUTHS[2]]
    table["entries"] = {"itcn/0": entry(mixed, TRUTHS), "dv-1/0": entry(other, TRUTHS)}
    assert reversals(table, entries_of(table)) == []


def test_the_page_names_what_it_owes(table: dict[str, Any]) -> None:
    text = page(table, entries_of(table), Settings(seeds=2), "dvfast reproduce it")
    for words in ("dvfast reproduce it", "CC0", "nobody", MACHINE["cpu"],
                  "seeds 0 to 1", "3 test images, 5 nuclei"):  # fmt: skip
        assert words in text
    settings = Settings(seeds=2, seeded=("itcn",))
    text = page(table, entries_of(table), settings, "dvfast reproduce it")
    assert "seeds 0 to 1 for ITCN; 0 for the others" in text
    assert "quick" not in text
    assert "quick" in page(table, entries_of(table), Settings(test_images=3), "")


def test_the_papers_methods_are_rows_here() -> None:
    assert set(TABLE_1) - set(METHODS) <= {"cnn-pc"}
    for method in METHODS.values():
        assert (method.network is None) != (method.baseline is None)


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tile(tmp_path / "tiles" / "train", "a", np.array([[20, 20]]), (100, 100))
    for i, truth in enumerate(TRUTHS):
        write_tile(tmp_path / "tiles" / "test", f"image_{i}", np.array(truth), (100, 100), seed=i)
    return tmp_path / "tiles"


def test_overlays_show_truth_and_detections(
    tiles: Path, tmp_path: Path, table: dict[str, Any]
) -> None:
    data = data_set(tiles, radius=10.0)
    target = tmp_path / "overlay.png"
    sample = pair_by_stem(data.test)[1]
    draw_overlays(target, data, sample, entries_of(table), 1, 0.5)
    pixels = np.asarray(Image.open(target)).astype(int)
    assert pixels.shape[1] == 2 * (figures._PANEL + 4)  # DV-1, ITCN

    def colour(panel: int, y: float, x: float) -> np.ndarray:
        scale = figures._PANEL / 100
        row = round((y + 0.5) * scale) + 2 + figures._STRIP
        column = round((x + 0.5) * scale) + 2 + panel * (figures._PANEL + 4)
        return pixels[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)

    def some(colours: np.ndarray, low: tuple[int, ...], high: tuple[int, ...]) -> bool:
        return bool(((colours >= low) & (colours <= high)).all(axis=1).any())

    yellow, green = ((180, 160, 0), (255, 255, 90)), ((0, 140, 0), (140, 255, 160))
    assert some(colour(0, 90, 90), *yellow)  # a false positive of DV-1
    assert not some(colour(0, 20, 20), *yellow)  # which misses this one
    assert some(colour(1, 20, 20), *yellow)
    for panel in (0, 1):
        assert some(colour(panel, 20, 25), *green)  # the circle, at half the radius
        assert not some(colour(panel, 60, 80), *green)


def test_dark_exposures_are_made_visible(tmp_path: Path) -> None:
    image = np.zeros((40, 40), dtype=np.uint8)
    image[10:20, 10:20] = 12
    stretched = figures._visible(image, KNOWN["bbbc038_fluo"])
    assert (stretched[15, 15], stretched[30, 30]) == (1, 0)
    assert figures._visible(image, KNOWN["endonuke_ihc"]) is image


def test_boxes_are_drawn(tmp_path: Path, table: dict[str, Any]) -> None:
    draw_boxes(tmp_path / "boxes.png", table, entries_of(table), PRIMARY)
    pixels = np.asarray(Image.open(tmp_path / "boxes.png").convert("RGB")).astype(int)
    orange = (abs(pixels - (255, 127, 14)) < 30).all(axis=2)
    assert orange.any(axis=0).sum() > 30  # medians, in all three panels
    assert all(part.any() for part in np.array_split(orange, 3, axis=1))


def test_a_report_is_whole(tiles: Path, tmp_path: Path, table: dict[str, Any]) -> None:
    data = data_set(tiles, radius=10.0)
    methods = [METHODS["dv-1"], METHODS["itcn"]]
    target = write_page(tmp_path / "report" / "pages", table, data, methods, Settings(), "it")
    text = target.read_text()
    assert "(../pages.md)" in text
    shown = [line.split("(")[1][:-1] for line in text.splitlines() if line.startswith("![")]
    assert len(shown) == 3
    assert all((target.parent / name).stat().st_size > 1000 for name in shown)
    assert target.with_suffix(".csv").read_text().startswith("data_set,method,")
    kept = load_record(target.with_suffix(".json"))
    assert kept["entries"].keys() == table["entries"].keys()
    written = write_summary(target.parent)
    assert written == tmp_path / "report" / "pages.md"
    assert "- [tiles](pages/tiles.md)" in written.read_text()


def figures_of(name: str, table: dict[str, Any]) -> list[dict[str, str]]:
    lines = list(csv.DictReader(io.StringIO(csv_text(table, entries_of(table)))))
    return [{**line, "data_set": name} for line in lines]


def test_the_summary_has_the_best_of_every_data_set(table: dict[str, Any]) -> None:
    figures = {"endonuke_ihc": figures_of("endonuke_ihc", table), "b": figures_of("b", table)}
    for line in figures["b"]:
        line["f1"] = {"dv-1": "0.91204", "itcn": "0.9118"}[line["method"]]
    shown = summary_table(figures)
    assert shown.headings[1:3] == ["`endonuke_ihc`, 10 px", "`endonuke_ihc`, 5 px"]
    assert shown.rows == [
        ["DV-1", "0.500", "0.500", "**0.912**", "**0.912**"],
        ["ITCN", "**1.000**", "**1.000**", "**0.912**", "**0.912**"],
    ]
    figures["b"] = [line for line in figures["b"] if line["method"] == "itcn"]
    assert [row[3] for row in summary_table(figures).rows] == ["", "**0.912**"]
    text = summary(figures, "pages")
    assert "- [EndoNuke: endometrium, DAB and haematoxylin](pages/endonuke_ihc.md)" in text
    assert "- [b](pages/b.md)" in text
    for words in ("0.8152", "Byun", "MICCAI 2015"):
        assert words in text


def test_the_summary_refuses_other_tables(tmp_path: Path) -> None:
    (tmp_path / "reproduction").mkdir()
    (tmp_path / "reproduction" / "points.csv").write_text("y,x\n1,2\n")
    with pytest.raises(InputError, match=r"points\.csv: is not a table of"):
        write_summary(tmp_path / "reproduction")
    assert not (tmp_path / "reproduction.md").exists()
