"""What `make gpu-check` measures, on a CPU and in small: compared, then timed."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Compiling takes longer than all of the rest, and is not ours to test.
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@pytest.fixture(params=["on_device"])
def on_device(
    monkeypatch: pytest.MonkeyPatch, compiled: None, request: pytest.FixtureRequest
) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module(request.param)
    monkeypatch.setattr(sys.modules["timing"], "_REPEATS", 1)
    monkeypatch.setattr(sys.modules["timing"], "_WARM_UP", 1)
    yield module
    for name in ("on_device", "scan_on_device", "reductions", "timing"):
        sys.modules.pop(name, None)


def assert_positive(values: dict[str, float]) -> None:
    assert values
    assert all(math.isfinite(value) and value > 0 for value in values.values()), values


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


@pytest.mark.parametrize("on_device", ["scan_on_device"], indirect=True)
def test_the_scan_that_a_gpu_records_runs_on_a_cpu(
    on_device: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uncompiled(function: Any) -> Any:
        raise RuntimeError("no compiler")

    record = on_device.all_scans(torch.device("cpu"), 12)
    json.dumps(record)
    assert_positive(record["matrix_flops_per_second"])
    scan = record["scan"]
    assert_positive(scan["seconds"])
    assert {"exact", "float32, graph", "PyTorch compiled, tf32"} <= scan["seconds"].keys()
    assert "float32" in scan["faster_than_the_best"]
    assert "failed" not in scan

    monkeypatch.setattr(torch, "compile", lambda function: lambda: uncompiled(function))
    scan = on_device.scanning(torch.device("cpu"), 12, peers=True)
    assert scan["failed"]["PyTorch compiled, float32"] == "no compiler"
    assert "PyTorch, float32" in scan["seconds"]
    assert scan["faster_than_the_best"] == {}


def test_wrong_peaks_are_not_timed(on_device: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = on_device.density_peaks

    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return found._replace(points=found.points[1:])

    monkeypatch.setattr(on_device, "density_peaks", wrong)
    with pytest.raises(SystemExit, match="the peaks at once is"):
        on_device.peaks(torch.device("cpu"), 32, 1, 5, 1)
