"""The suite as a whole: what is measured, recorded, taken up again, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from dvfast.bench import suite
from dvfast.bench.contest import Contender, Contest, Entry, Settings
from dvfast.bench.workers import ToolError
from dvfast.cli.app import app


def entry(
    name: str, seconds: float = 1.0, verify: Callable[[], None] = lambda: None, **more: Any
) -> Entry:
    def prepare(settings: Settings) -> Contest:
        prepared.append(name)
        return Contest(
            [
                Contender("dvfast", lambda: seconds, True, tells=True),
                Contender("other", lambda: 3 * seconds, tells=True),
            ],
            verify,
            pixels=10**6,
        )

    return Entry(name, "voting", f"title of {name}", prepare, **more)


prepared: list[str] = []


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    prepared.clear()

    def put(*entries: Entry) -> None:
        monkeypatch.setattr(suite, "ENTRIES", entries)

    return put


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_tables_and_record(entries: Callable[..., None], tmp_path: Path) -> None:
    entries(entry("one"), entry("two", 2.0))
    file = tmp_path / "record.json"
    result = bench("-o", file, "--repeats", 3)
    assert result.exit_code == 0, result.output
    for text in ("title of one", "title of two", "3.00 ± 0.00", "0.50"):  # of 2 s: 0.5 Mpx/s
        assert text in result.output
    record = json.loads(file.read_text())
    assert list(record["contests"]) == ["one", "two"]
    assert record["contests"]["two"]["rows"][1]["seconds"]["median"] == 6.0
    assert {"cpu", "instruction_set", "threads", "torch", "commit"} <= record["machine"].keys()


def test_a_run_goes_on_where_it_was(entries: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "record.json"

    def interrupt() -> None:
        raise KeyboardInterrupt

    entries(entry("one"), entry("two", verify=interrupt))
    assert bench("-o", file).exit_code != 0
    assert list(json.loads(file.read_text())["contests"]) == ["one"]
    entries(entry("one"), entry("two"), entry("threads"))  # as a condition is called
    assert bench("-o", file).exit_code == 0
    assert bench("-o", file).exit_code == 0
    assert prepared == ["one", "two", "two", "threads"]
    assert bench("-o", file, "--fresh").exit_code == 0
    assert prepared[4:] == ["one", "two", "threads"]


def test_other_conditions_are_refused(entries: Callable[..., None], tmp_path: Path) -> None:
    entries(entry("one"))
    file = tmp_path / "record.json"
    assert bench("-o", file).exit_code == 0
    before = file.read_text()
    result = bench("-o", file, "--threads", 17)
    assert result.exit_code == 1
    assert "threads" in result.output
    assert "--fresh" in result.output
    assert file.read_text() == before


def test_one_comparison_is_measured_again(entries: Callable[..., None], tmp_path: Path) -> None:
    entries(entry("one"), entry("two"))
    file = tmp_path / "record.json"
    assert bench("-o", file).exit_code == 0
    record = json.loads(file.read_text())
    record["machine"]["commit"] = "0123456"
    file.write_text(json.dumps(record))
    assert bench("-o", file, "--only", "two").exit_code == 1  # of another commit
    assert bench("-o", file, "--again").exit_code == 2  # what?
    assert prepared == ["one", "two"]
    assert bench("-o", file, "--only", "two", "--again").exit_code == 0
    assert prepared == ["one", "two", "two"]
    after = json.loads(file.read_text())
    assert after["machine"]["commit"] == "0123456"
    assert "commit" not in after["contests"]["one"]
    assert "commit" in after["contests"]["two"]
    assert bench("-o", file, "--only", "two", "--again", "--threads", 17).exit_code == 1


def test_a_folder_that_is_not_there_is_noticed_at_once(
    entries: Callable[..., None], tmp_path: Path
) -> None:
    entries(entry("one"))
    result = bench("-o", tmp_path / "missing" / "record.json")
    assert (result.exit_code, prepared) == (1, [])
    assert "missing does not exist" in result.output


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}'])
def test_a_file_that_is_no_record(entries: Callable[..., None], tmp_path: Path, text: str) -> None:
    entries(entry("one"))
    file = tmp_path / "record.json"
    file.write_text(text)
    result = bench("-o", file)
    assert (result.exit_code, file.read_text(), prepared) == (1, text, [])
    assert "record.json" in result.output


def test_contenders_that_disagree_are_an_error_and_no_row(
    entries: Callable[..., None], tmp_path: Path
) -> None:
    def wrong() -> None:
        raise AssertionError("other is off by one")

    entries(entry("one", verify=wrong), entry("two"))
    file = tmp_path / "record.json"
    result = bench("-o", file)
    assert result.exit_code == 1
    assert "off by one" in result.output
    assert "contenders disagree in one" in result.output
    contests = json.loads(file.read_text())["contests"]
    assert "rows" not in contests["one"]
    assert "rows" in contests["two"]  # the others are done


@pytest.mark.usefixtures("pytorch_as_it_comes")
def test_peers_convolve_in_the_precision_that_is_told(entries: Callable[..., None]) -> None:
    seen: list[str] = []
    entries(entry("one", verify=lambda: seen.append(torch.backends.cudnn.conv.fp32_precision)))
    assert bench().exit_code == 0
    assert seen == ["ieee"]
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_what_is_missing_is_told(entries: Callable[..., None]) -> None:
    def nothing() -> None:
        raise LookupError("this CPU has no matrix unit")

    def crash() -> None:
        raise ToolError("cellpose ended during forward")

    entries(entry("one", needs="data"), entry("two", verify=nothing), entry("three", verify=crash))
    result = bench()
    assert result.exit_code == 0
    assert "needs --data" in result.output
    assert "this CPU has no matrix unit" in result.output
    assert "cellpose ended during forward" in result.output


def test_selection(entries: Callable[..., None]) -> None:
    entries(entry("one"), entry("two", quick=False), entry("three", quick=False))
    assert bench("--quick").exit_code == 0
    assert prepared == ["one"]
    assert bench("--only", "t*").exit_code == 0
    assert prepared == ["one", "two", "three"]
    result = bench("--only", "four")
    assert result.exit_code == 1
    assert "one, two, three" in result.output


def test_list_names_all_of_them() -> None:
    lines = bench("--list").output.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in suite.ENTRIES]


def test_no_gpu_is_said_plainly() -> None:
    result = bench("--device", "cuda:99", "--only", "peaks")
    assert result.exit_code != 0
    assert "cuda:99" in result.output


def test_report(entries: Callable[..., None], tmp_path: Path) -> None:
    entries(entry("one"))
    assert bench("--report", tmp_path / "here").exit_code == 0
    text = (tmp_path / "here" / "performance.md").read_text()
    assert "title of one" in text
    assert "**dvfast**" in text
