"""All contests, and running them one after the other."""

from __future__ import annotations

import fnmatch
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from .._evaluating import convolving_in_float32
from ..errors import InputError
from . import frontier, scanning, tools, unet, voting
from .contest import Entry, Settings
from .machine import describe
from .records import Record
from .timing import measure
from .workers import ToolError

__all__ = ["ENTRIES", "conditions", "run", "select"]

ENTRIES: tuple[Entry, ...] = (
    *scanning.ENTRIES,
    *unet.ENTRIES,
    *voting.ENTRIES,
    *frontier.ENTRIES,
    *tools.ENTRIES,
)


def select(patterns: Sequence[str], settings: Settings) -> list[Entry]:
    """The contests whose names match, or all that the settings ask for.

    Raises
    ------
    InputError
        If a pattern matches none.

    Examples
    --------
    >>> [entry.name for entry in select(["loss*"], Settings())]
    ['loss', 'loss-channels-last']
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatch(entry.name, pattern) for entry in ENTRIES):
            raise InputError(
                f"there is no contest {pattern!r}; there are "
                f"{', '.join(entry.name for entry in ENTRIES)}"
            )
    if patterns:
        return [e for e in ENTRIES if any(fnmatch.fnmatch(e.name, p) for p in patterns)]
    return [e for e in ENTRIES if e.quick or not settings.quick]


def conditions(settings: Settings) -> dict[str, Any]:
    """What must be the same for results to go into one record."""
    return {
        "machine": describe(settings.device, settings.threads),
        "quick": settings.quick,
    }


def run(
    entries: Sequence[Entry],
    settings: Settings,
    record: Record,
    advance: Callable[[float], object] = lambda done: None,
) -> Iterator[tuple[Entry, dict[str, Any]]]:
    """Measure what the record does not hold yet; `advance` hears how many contests are done.

    A contest in which contenders disagree, or which cannot be prepared, has an ``"error"`` in place
    of rows; one that lacks what it needs, or whose tool ends half way, a ``"skipped"``.
    """
    with _pinned(settings.threads), convolving_in_float32():
        yield from _run(entries, settings, record, advance)


@contextmanager
def _pinned(threads: int) -> Iterator[None]:
    """As many threads, on as many cores, for us and for all that we start; where one can say so."""
    torch.set_num_threads(threads)
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _run(
    entries: Sequence[Entry],
    settings: Settings,
    record: Record,
    advance: Callable[[float], object],
) -> Iterator[tuple[Entry, dict[str, Any]]]:
    for done, entry in enumerate(entries):
        advance(done)
        if not record.has(entry.name):
            result = {"section": entry.section, "title": entry.title}
            if entry.axis:
                result["axis"] = entry.axis
            repeats = min(settings.repeats, entry.repeats or settings.repeats)
            record.add(entry.name, result | _outcome(entry, settings, repeats, done, advance))
        yield entry, record.data["contests"][entry.name]
    advance(len(entries))


def _outcome(
    entry: Entry,
    settings: Settings,
    repeats: int,
    done: int,
    advance: Callable[[float], object],
) -> dict[str, Any]:
    if entry.needs and getattr(settings, entry.needs) is None:
        return {"skipped": f"needs --{entry.needs}"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of torch.compile, about itself
            contest = entry.prepare(settings)
            try:
                return measure(contest, settings, repeats, lambda share: advance(done + share))
            finally:
                contest.close()
    except (LookupError, ToolError) as error:
        return {"skipped": str(error).strip("'\"")}
    except AssertionError as error:
        return {"error": f"contenders disagree: {str(error).strip() or entry.name}"}
    finally:
        torch._dynamo.reset()
        gc.collect()
