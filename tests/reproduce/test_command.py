"""``dvfast reproduce table1`` from the shell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from synthetic_tiles import write_tiles

from dvfast.cli.app import app
from dvfast.reproduce.methods import METHODS


def table1(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reproduce", "table1", *map(str, arguments)])


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    write_tiles(tmp_path / "tiles" / "train", count=7)
    (tmp_path / "tiles" / "test").mkdir()
    for suffix in (".png", ".csv"):
        shutil.move(tmp_path / "tiles" / "train" / f"tile_6{suffix}", tmp_path / "tiles" / "test")
    return tmp_path / "tiles"


def test_from_images_to_a_page(tiles: Path, tmp_path: Path) -> None:
    arguments = (tiles, "-o", tmp_path / "out", "--methods", "itcn,blob_log", "--quick",
                 "--radius", 4, "--report", tmp_path / "report")  # fmt: skip
    result = table1(*arguments)
    assert result.exit_code == 0, result.output
    for text in ("tiles: one-to-one, within 2 px", "ITCN", "blob_log", "reproduction-quick.md"):
        assert text in result.output
    assert (tmp_path / "report" / "reproduction-quick.md").is_file()
    page = (tmp_path / "report" / "reproduction-quick" / "tiles.md").read_text()
    command = "dvfast reproduce table1 tiles -o runs/table1 --methods itcn,blob_log --quick "
    assert f"{command}--radius 4.0 --report docs" in page
    assert str(tmp_path) not in page
    again = table1(*arguments)
    assert "seed 0" in result.output
    assert "seed 0" not in again.output
    assert (tmp_path / "report" / "reproduction-quick" / "tiles.md").read_text() == page


def test_the_rows_are_listed() -> None:
    result = table1("--list")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == len(METHODS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "-o", "out"], "none of endonuke_ihc"),
        (["nowhere", "-o", "out", "--radius", 4], "no such folder"),
        (["{tiles}", "-o", "out"], "--radius"),
        (["{tiles}", "-o", "out", "--radius", 4, "--stain", "pink"], "stain: came as 'pink'"),
        (["{tiles}", "-o", "out", "--radius", 4, "--methods", "itcn,sorcery"], "'sorcery'"),
        (["{tiles}", "-o", "out", "--radius", 4, "--seeded", "magic"], "seeded: there is none"),
        (["{tiles}", "-o", "{tiles}/train/tile_0.png", "--radius", 4], "choose another"),
        (["{tiles}", "{tiles}", "-o", "out", "--radius", 4], "different names"),
    ],
)
def test_bad_input_is_one_clear_line(
    tiles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[object],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = table1(*(str(argument).format(tiles=tiles) for argument in arguments))
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert not (tmp_path / "out" / "tiles.json").exists()


@pytest.mark.parametrize("arguments", [[], ["x"], ["x", "-o", "o", "--seeds", "0"],
                                       ["x", "-o", "o", "--radius", "nan"]])  # fmt: skip
def test_usage(arguments: list[str]) -> None:
    assert table1(*arguments).exit_code == 2
