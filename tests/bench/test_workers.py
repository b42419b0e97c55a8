"""Other tools in processes of their own; scikit-image is installed here, and stands for all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dvfast.bench import tools
from dvfast.bench.contest import Settings
from dvfast.bench.workers import ToolError, Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(sys.executable, "blob_log", threads=1) as worker:
        yield worker


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.npy"
    np.save(path, np.random.default_rng(0).random((64, 48, 3)).astype(np.float32))
    return path


def test_what_it_says_of_itself(worker: Worker) -> None:
    assert worker.about["tool"] == "blob_log"
    assert worker.about["version"]
    assert "rgb2hed" in worker.about["forward"]


def test_a_run_tells_its_seconds(worker: Worker, image: Path) -> None:
    loaded = worker.ask("load", image=str(image), radius=5.0)
    assert loaded["shape"] == [64, 48, 3]
    answer = worker.ask("forward")
    assert answer["seconds"] == pytest.approx(sum(answer["parts"].values()))
    assert answer["seconds"] > 0


def test_errors_are_told_and_the_tool_goes_on(worker: Worker, image: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"missing\.npy"):
        worker.ask("load", image=str(tmp_path / "missing.npy"))
    with pytest.raises(ToolError, match="not one of"):
        worker.ask("postprocess")
    assert worker.ask("load", image=str(image))["shape"] == [64, 48, 3]


def test_a_tool_that_is_not_installed() -> None:
    with pytest.raises(ToolError, match=r"stardist.*No module named"):
        Worker(sys.executable, "stardist", threads=1)


def test_a_python_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="does not start"):
        Worker(tmp_path / "python", "blob_log", threads=1)


def test_silence_is_not_waited_for_for_ever() -> None:
    with pytest.raises(ToolError, match=r"within 0\.01 s"):
        Worker(sys.executable, "blob_log", threads=1, timeout=0.01)


def test_the_contest_has_the_tools_that_can_run() -> None:
    settings = Settings(repeats=2, peers=sys.executable)
    contest = next(e for e in tools.ENTRIES if e.name == "tools-forward").prepare(settings)
    try:
        contest.verify()
        theirs = [contender for contender in contest.contenders if not contender.ours]
        assert [contender.name.split()[0] for contender in theirs] == ["blob_log"]
        assert theirs[0].run() > 0
        assert any("stardist" in note for note in contest.notes)
    finally:
        contest.close()


def test_no_tool_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "TOOLS", ("stardist",))
    with pytest.raises(LookupError, match="none of stardist"):
        tools.ENTRIES[0].prepare(Settings(peers=sys.executable))
