"""Times that can be compared: all contenders in turns, and ratios of neighbouring runs.

What else a machine does comes and goes, and hits whoever runs. Contenders that take turns are hit
alike, and the ratio of two neighbouring runs hardly sees it. Every time is a median, beside its
quartiles; a ratio whose quartiles lie far apart is marked, not hidden.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .contest import Contender, Contest, Settings
from .machine import limit, peak_memory, wait

__all__ = ["UNRELIABLE", "measure", "paired_ratio", "seconds_of", "summary", "take_turns"]

# Half the distance of a ratio's quartiles, relative to the ratio: more than this is told.
UNRELIABLE = 0.1
_SHORTEST_SAMPLE = 5e-3  # seconds; what is shorter is run several times for a sample


def take_turns(
    samples: Mapping[str, Callable[[], float]],
    repeats: int,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of every sample, in rounds that take each of them once.

    >>> order = []
    >>> samples = {name: lambda name=name: order.append(name) or 1.0 for name in "ab"}
    >>> take_turns(samples, 3)
    {'a': [1.0, 1.0, 1.0], 'b': [1.0, 1.0, 1.0]}
    >>> "".join(order)
    'ababab'
    """
    seconds: dict[str, list[float]] = {name: [] for name in samples}
    for _ in range(repeats):
        for name, sample in samples.items():
            seconds[name].append(sample())
            advance()
    return seconds


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles.

    >>> summary([1.0, 2.0, 3.0, 4.0, 5.0])
    {'median': 3.0, 'low': 2.0, 'high': 4.0}
    """
    if len(values) == 1:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "low": low, "high": high}


def paired_ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, Any]:
    """The median of the ratios of neighbouring runs, half the distance of its quartiles.

    The machine was ten times slower during one of the rounds, but both saw it:

    >>> paired_ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    {'median': 2.0, 'spread': 0.0, 'reliable': True}
    """
    ratios = summary([a / b for a, b in zip(slow, fast, strict=True)])
    spread = (ratios["high"] - ratios["low"]) / 2
    reliable = spread <= UNRELIABLE * ratios["median"]
    return {"median": ratios["median"], "spread": spread, "reliable": reliable}


def seconds_of(
    contest: Contest,
    settings: Settings,
    repeats: int,
    advance: Callable[[float], object] = lambda share: None,
) -> dict[str, list[float]]:
    """Verify the contenders, and let them and the limits they are compared with take turns."""
    names = [contender.name for contender in contest.contenders]
    if len(set(names)) < len(names):
        raise ValueError(f"contenders must have names of their own, got {names}")
    contest.verify()
    samples = {contender.name: _sample(contender, settings) for contender in contest.contenders}
    for contender in contest.contenders:
        if contender.unit is not None:
            samples[_limit_name(contender)] = limit(
                contender.unit, contender.work, settings.device, settings.threads
            )
    total, done = repeats * len(samples), 0

    def count() -> None:
        nonlocal done
        done += 1
        advance(done / total)

    return take_turns(samples, repeats, count)


def measure(
    contest: Contest,
    settings: Settings,
    repeats: int,
    advance: Callable[[float], object] = lambda share: None,
) -> dict[str, Any]:
    """Times, ratios, shares of the limits and memory of a contest, ready for JSON."""
    seconds = seconds_of(contest, settings, repeats, advance)
    main = contest.main_name()
    rows = []
    for contender in contest.contenders:
        row: dict[str, Any] = {
            "name": contender.name,
            "ours": contender.ours,
            "seconds": summary(seconds[contender.name]),
            "memory_bytes": None
            if contender.tells
            else peak_memory(contender.run, settings.device),
            **({"facts": contender.facts} if contender.facts else {}),
            **({"quoted": contender.quoted} if contender.quoted else {}),
        }
        if contender.x is not None:
            row |= {"line": contender.line, "x": contender.x}
        elif contender.name != main:
            row["times_main"] = paired_ratio(seconds[contender.name], seconds[main])
        if contender.unit is not None:
            at_limit = seconds[_limit_name(contender)]
            row["limit"] = {
                "unit": contender.unit,
                "per_second": contender.work / summary(at_limit)["median"],
                "share": paired_ratio(at_limit, seconds[contender.name]),
            }
        rows.append(row)
    return {
        "main": main,
        "pixels": contest.pixels,
        "repeats": repeats,
        "rows": rows,
        "ratios": [
            {"slow": slow, "fast": fast, **paired_ratio(seconds[slow], seconds[fast])}
            for slow, fast in contest.ratios
        ],
        "notes": list(contest.notes),
    }


def _limit_name(contender: Contender) -> str:
    return f"limit of {contender.unit} units: {contender.work:g}"


def _sample(contender: Contender, settings: Settings) -> Callable[[], float]:
    """A function that gives the seconds of one run, over as many as make it worth reading.

    Making it warms the contender up.
    """
    if contender.tells:
        contender.run()
        return lambda: float(contender.run()) / contender.part
    loops = 1
    while (taken := _timed(contender, settings, loops)) * loops < _SHORTEST_SAMPLE:
        loops = min(2 * loops, math.ceil(_SHORTEST_SAMPLE / max(taken, 1e-9)))
    return lambda: _timed(contender, settings, loops) / contender.part


def _timed(contender: Contender, settings: Settings, loops: int) -> float:
    wait(settings.device)
    start = time.perf_counter()
    for _ in range(loops):
        contender.run()
    wait(settings.device)
    return (time.perf_counter() - start) / loops
