"""Speed beside a peer in the same run: a kernel made twice as slow does not go unnoticed.

Ratios of neighbouring runs hardly depend on what else a machine does: hence a margin, and several
attempts, of which one must do. They do depend on the CPU; on another one than that of the record
they say nothing. After a change that is meant:

    DVFAST_RECORD_RATIOS=1 python -m pytest tests/bench/test_ratios.py
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from support import one_thread

from dvfast.bench.contest import Contender, Contest, Settings
from dvfast.bench.machine import describe
from dvfast.bench.suite import ENTRIES
from dvfast.bench.timing import paired_ratio, seconds_of

# Threads that wait for each other are as fast as the busiest core.
__all__ = ["one_thread"]

RECORD = Path(__file__).with_name("ratios.json")
ENOUGH = 0.65  # of the recorded ratio: less than others get in the way, more than half as fast
ATTEMPTS, ROUNDS = 4, 7
PEERS = {
    # What takes as much memory: whether pages are new is half of such a time.
    "hybrid_activation": ("activation", "clone, then sigmoid_ in place"),
    "voting_loss": ("loss", "autograd, eager"),
    "vote_targets": ("targets", "SciPy's cKDTree, all threads"),
    "vote_density": ("density", "index_add_, two convolutions"),
    "find_peaks": ("peaks", "max_pool2d and nonzero"),
    "scan, float32": ("scan-stride-4", "PyTorch, channels_last, head in bands of 16"),
}


def cpu() -> str:
    """Names such as `Xeon` cover many a generation, with caches and units of its own."""
    description = describe(torch.device("cpu"), 1)
    known = [str(description["cpu"]), str(description["instruction_set"])]
    known += ["AMX"] * description["matrix_unit"]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        told = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        known += [
            f"{name} {told[name]}" for name in ("model", "stepping", "cache size") if name in told
        ]
    return ", ".join(known)


CPU = cpu()


def recorded() -> dict[str, float]:
    record = json.loads(RECORD.read_text())
    if record["cpu"] != CPU:
        pytest.skip(f"the ratios are those of {record['cpu']}, this is {CPU}")
    ratios: dict[str, float] = record["ratios"]
    return ratios


def contest_of(name: str) -> Contest:
    """With the two that are compared alone, which have been compared before."""
    entry, peer = PEERS[name]
    contest = next(e for e in ENTRIES if e.name == entry).prepare(Settings(quick=True, threads=1))
    kept = [c for c in contest.contenders if c.name in (contest.main_name(), peer)]
    assert len(kept) == 2
    bare = [dataclasses.replace(contender, unit=None) for contender in kept]
    return dataclasses.replace(contest, contenders=bare, verify=lambda: None)


def speed_beside_peer(contest: Contest) -> float:
    seconds = seconds_of(contest, Settings(quick=True, threads=1), ROUNDS)
    ours = contest.main_name()
    peer = next(name for name in seconds if name != ours)
    return float(paired_ratio(seconds[peer], seconds[ours])["median"])


def fast_enough(contest: Contest, ratio: float) -> bool:
    return any(speed_beside_peer(contest) >= ENOUGH * ratio for _ in range(ATTEMPTS))


def twice(contest: Contest) -> Contest:
    """The same, but ours does its work twice."""

    def slower(contender: Contender) -> Contender:
        run: Callable[[], Any] = contender.run
        return dataclasses.replace(contender, run=lambda: (run(), run()))

    return dataclasses.replace(
        contest, contenders=[slower(c) if c.ours else c for c in contest.contenders]
    )


@contextmanager
def recording() -> Iterator[dict[str, float]]:
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    ratios = record["ratios"] if record.get("cpu") == CPU else {}
    yield ratios
    RECORD.write_text(json.dumps({"cpu": CPU, "ratios": ratios}, indent=2) + "\n")


@pytest.mark.parametrize("name", PEERS)
@torch.no_grad()
def test_no_slower_beside_its_peer_than_recorded(name: str) -> None:
    contest = contest_of(name)
    if os.environ.get("DVFAST_RECORD_RATIOS") == "1":
        with recording() as ratios:
            ratios[name] = round(statistics.median(speed_beside_peer(contest) for _ in range(5)), 2)
    assert fast_enough(contest, recorded()[name])


def test_an_operator_made_twice_as_slow_is_caught() -> None:
    """Against what it reaches here and now, so that only the clock's noise is in it."""
    contest = contest_of("vote_targets")
    now = speed_beside_peer(contest)
    assert fast_enough(contest, now)
    assert not fast_enough(twice(contest), now)
