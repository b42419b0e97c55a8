"""The contests of ``dvfast bench`` for pytest-benchmark, with its comparisons and histories.

    python -m pytest benchmarks --benchmark-save=before
    python -m pytest benchmarks --benchmark-compare=before

The contenders of a contest take turns, as they do in ``dvfast bench``; pytest-benchmark hears of
the times afterwards, from a clock that plays them back. Read ratios within a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from dvfast.bench.contest import Contest, Settings
from dvfast.bench.suite import ENTRIES
from dvfast.bench.timing import seconds_of

_ENTRIES = {entry.name: entry for entry in ENTRIES if not (entry.needs or entry.axis)}


@cache
def _contest(name: str) -> Contest:
    return _ENTRIES[name].prepare(Settings())


@cache
def _seconds(name: str) -> dict[str, list[float]]:
    return seconds_of(_contest(name), Settings(), repeats=7)


def _contenders() -> Iterator[Any]:
    for name in _ENTRIES:
        try:
            contest = _contest(name)
        except LookupError as error:  # what the machine does not have
            yield pytest.param(name, "", marks=pytest.mark.skip(reason=str(error)), id=name)
            continue
        for contender in contest.contenders:
            yield pytest.param(name, contender.name, id=f"{name}: {contender.name}")


@pytest.mark.parametrize(("contest", "contender"), list(_contenders()))
def test_contest(contest: str, contender: str, request: pytest.FixtureRequest) -> None:
    seconds = _seconds(contest)[contender]
    marker = pytest.mark.benchmark(group=_ENTRIES[contest].title, timer=_Playback(seconds))
    request.node.add_marker(marker)
    request.getfixturevalue("benchmark").pedantic(lambda: None, rounds=len(seconds), iterations=1)


class _Playback:
    """A clock that is asked before and after each round."""

    def __init__(self, seconds: list[float]) -> None:
        self._ticks = iter([tick for duration in seconds for tick in (0.0, duration)])

    def __call__(self) -> float:
        return next(self._ticks)
