"""The benchmarks at a size that says nothing: they run, and compare before they time."""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support import one_thread
from torch import Tensor

__all__ = ["one_thread"]

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZE, REPEATS = 24, 2

if shutil.which(os.environ.get("CXX", "g++")) is None:
    pytest.skip("no compiler to measure the machine with", allow_module_level=True)


@pytest.fixture
def scan_speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    # Compiling takes longer than all of the rest, and is not ours to test.
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    module = importlib.import_module("scan_speed")
    # The rows of the sliding window have to be in the image at every stride.
    monkeypatch.setattr(module, "_PART", SIZE // 4)
    yield module
    for name in ("scan_speed", "machine"):
        sys.modules.pop(name, None)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    module = importlib.import_module("on_device")
    monkeypatch.setattr(sys.modules["timing"], "_REPEATS", 1)
    yield module
    for name in ("on_device", "reductions", "timing"):
        sys.modules.pop(name, None)


def assert_positive(values: dict[str, float]) -> None:
    assert values
    assert all(math.isfinite(value) and value > 0 for value in values.values()), values


def test_the_record(scan_speed: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    options = ["--size", str(SIZE), "--repeats", str(REPEATS), "--json", str(file)]
    result = CliRunner().invoke(scan_speed.main, options, catch_exceptions=False)
    assert result.exit_code == 0
    record = json.loads(file.read_text())
    assert (record["size"], record["repeats"]) == (SIZE, REPEATS)
    assert {"cpu", "instruction_set", "threads", "torch", "commit"} <= record["machine"].keys()
    assert_positive(record["seconds"])
    assert_positive(record["detection_seconds"])
    assert {"exact", "float32", "sliding window", "peak"} <= record["seconds"].keys()
    assert record["flops"] > 0
    assert 0 < record["peak_flops"] < math.inf
    assert_positive({name: row["median"] for name, row in record["ratios"].items()})
    assert all(row["spread"] >= 0 for row in record["ratios"].values())
    assert all(isinstance(used, int) for used in record["memory_bytes"].values())
    for name in ("exact / PyTorch", "float32", "memory beyond image and votes"):
        assert name in result.output


def off_by(function: Callable[..., Tensor], error: float) -> Callable[..., Tensor]:
    def wrong(*arguments: Any, **settings: Any) -> Tensor:
        return function(*arguments, **settings) + error

    return wrong


@pytest.mark.parametrize("peer", ["torch_dense", "torch_sliding", "float32"])
def test_what_is_wrong_is_not_timed(
    scan_speed: ModuleType, peer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_turns(*_: Any) -> None:
        raise LookupError("it was timed")

    monkeypatch.setattr(scan_speed, "in_turns", in_turns)
    with pytest.raises(LookupError, match="it was timed"):
        scan_speed.measure(SIZE, REPEATS)
    if peer == "float32":
        scan = scan_speed.dvfast.scan

        def wrong(*arguments: Any, precision: str, **settings: Any) -> Tensor:
            error = 1e-3 if precision == peer else 0
            return off_by(scan, error)(*arguments, precision=precision, **settings)

        monkeypatch.setattr(scan_speed.dvfast, "scan", wrong)
    else:
        monkeypatch.setattr(scan_speed, peer, off_by(getattr(scan_speed, peer), 1e-3))
    with pytest.raises(AssertionError, match="not close"):
        scan_speed.measure(SIZE, REPEATS)


def test_ratios_are_those_of_neighbouring_runs(scan_speed: ModuleType) -> None:
    # The machine was slower by a factor of ten during one of the runs: both saw it.
    median, spread = scan_speed.ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert (median, spread) == (2.0, 0.0)


def test_runs_are_taken_in_turns(scan_speed: ModuleType) -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = scan_speed.in_turns(runs, 3)
    assert "".join(order) == "ab" * 4  # the first for warming up
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_what_a_gpu_records_runs_on_a_cpu(on_device: ModuleType) -> None:
    record = on_device.all_benchmarks(torch.device("cpu"), small=True)
    assert record.keys() == {"activation", "loss", "density", "peaks", "reductions"}
    json.dumps(record)
    assert_positive(record["loss"]["seconds"])
    for row in (*record["density"], *record["peaks"]):
        assert_positive(row["seconds"])
    assert [row["min_distance"] for row in record["peaks"]] == [1, 6, 12]
    rates = record["reductions"]["rates"]
    assert [row["clustered"] for row in rates] == [False, True]
    for row in rates:
        assert_positive(row["additions_per_second"])
        assert len(row["additions_per_second"]) == 4  # of PyTorch; ours need a GPU


def test_wrong_peaks_are_not_timed(on_device: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = on_device.density_peaks

    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return found._replace(points=found.points[1:])

    monkeypatch.setattr(on_device, "density_peaks", wrong)
    with pytest.raises(SystemExit, match="the peaks at once is"):
        on_device.peaks(torch.device("cpu"), 32, 1, 5, 1)
