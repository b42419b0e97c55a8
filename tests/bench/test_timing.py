"""Turns, ratios and limits, on contenders that say what time it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch

from dvfast.bench import machine, timing
from dvfast.bench.contest import Contender, Contest, Settings
from dvfast.bench.machine import limit, peak_memory
from dvfast.bench.timing import measure, paired_ratio, seconds_of

CPU = torch.device("cpu")
SETTINGS = Settings(threads=1)


def saying(name: str, seconds: Sequence[float], **facts: object) -> Contender:
    """Its first run, for warming up, is not counted."""
    clock = itertools.chain([1e9], itertools.cycle(seconds))
    return Contender(name, lambda: next(clock), tells=True, **facts)  # type: ignore[arg-type]


def fine() -> None:
    pass


def test_ratios_are_those_of_neighbouring_runs() -> None:
    # The machine was slower by a factor of ten during one of the rounds: both saw it.
    contest = Contest(
        [saying("a", [1.0, 10.0, 1.0], ours=True), saying("b", [2.0, 20.0, 2.0])], fine
    )
    result = measure(contest, SETTINGS, 3)
    assert result["main"] == "a"
    assert [row["seconds"]["median"] for row in result["rows"]] == [1.0, 2.0]
    assert result["rows"][1]["times_main"] == {"median": 2.0, "spread": 0.0, "reliable": True}


def test_a_ratio_that_scatters_is_marked() -> None:
    assert not paired_ratio([1.0, 2.0, 3.0, 4.0], [1.0] * 4)["reliable"]
    assert paired_ratio([1.0, 1.01, 1.02, 1.0], [1.0] * 4)["reliable"]


def test_a_part_of_the_work_counts_as_much() -> None:
    whole, part = saying("whole", [4.0], ours=True), saying("quarter", [1.0], part=0.25)
    rows = measure(Contest([whole, part], fine), SETTINGS, 2)["rows"]
    assert [row["seconds"]["median"] for row in rows] == [4.0, 4.0]


def test_further_ratios() -> None:
    contest = Contest([saying(n, [s]) for n, s in zip("abc", (1.0, 2.0, 6.0), strict=True)], fine,
                      ratios=[("c", "b")])  # fmt: skip
    (ratio,) = measure(contest, SETTINGS, 2)["ratios"]
    assert (ratio["slow"], ratio["fast"], ratio["median"]) == ("c", "b", 3.0)


def test_what_is_wrong_is_not_timed() -> None:
    def wrong() -> None:
        raise AssertionError("b is off by one")

    def never() -> float:
        raise LookupError("it was timed")

    with pytest.raises(AssertionError, match="off by one"):
        measure(Contest([Contender("b", never, tells=True)], wrong), SETTINGS, 2)


def test_names_that_are_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        measure(Contest([saying("a", [1.0]), saying("a", [1.0])], fine), SETTINGS, 2)


def test_progress_ends_at_one() -> None:
    heard: list[float] = []
    measure(Contest([saying("a", [1.0]), saying("b", [1.0])], fine), SETTINGS, 3, heard.append)
    assert heard == sorted(heard)
    assert (len(heard), heard[-1]) == (6, 1.0)


def test_short_runs_are_repeated_for_a_sample() -> None:
    calls = 0

    def short() -> None:
        nonlocal calls
        calls += 1

    seconds = seconds_of(Contest([Contender("short", short)], fine), SETTINGS, 2)["short"]
    assert calls > 1000
    assert all(0 < second < 1e-4 for second in seconds)


def test_the_share_of_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def a_second(*_: object) -> Callable[[], float]:
        return lambda: 1.0

    monkeypatch.setattr(timing, "limit", a_second)
    contest = Contest([saying("a", [4.0], unit="vector", work=1e9)], fine)
    (row,) = measure(contest, SETTINGS, 2)["rows"]
    assert row["limit"]["share"]["median"] == 0.25


@pytest.mark.parametrize("unit", ["vector", "copy"])
def test_limits_grow_with_the_work(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_VECTOR_ROUNDS", 200_000)
    small, large = (limit(unit, work, CPU, 1)() for work in (1e5, 1e9))  # type: ignore[arg-type]
    assert 0 < 10 * small < large


def test_memory_of_a_run() -> None:
    def run() -> None:
        torch.ones(16 * 2**20)  # 64 MiB

    used = peak_memory(run, CPU)
    if used is None:
        pytest.skip("this system does not tell")
    assert 60 * 2**20 < used < 100 * 2**20
