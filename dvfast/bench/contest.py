"""What a comparison is: who takes part, what shows that all compute the same, what the limit is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

__all__ = ["Contender", "Contest", "Entry", "Settings", "Unit"]

Unit = Literal["vector", "matrix", "copy"]


@dataclass(frozen=True)
class Settings:
    """How much is measured, and on what."""

    quick: bool = False
    repeats: int = 7
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    threads: int = field(default_factory=torch.get_num_threads)
    data: str | None = None  # an annotated folder, for the frontier
    peers: str | None = None  # a Python in which the other tools are installed


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a contest."""

    name: str
    run: Callable[[], Any]
    ours: bool = False
    # What one run does of the whole work; its time is divided by it.
    part: float = 1.0
    # For curves: the line it belongs to, and where on it.
    line: str = ""
    x: float | None = None
    # What it cannot do without, in the unit's measure: floating-point operations, or bytes moved.
    unit: Unit | None = None
    work: float = 0.0
    # Seconds that the paper gives for it, on a machine of its own time.
    quoted: float | None = None
    # Facts that the page shows beside the time.
    facts: dict[str, Any] = field(default_factory=dict)
    # Seconds that run() tells of itself, where part of it is not to be timed.
    tells: bool = False


@dataclass(frozen=True)
class Contest:
    """Contenders that do the same work."""

    contenders: Sequence[Contender]
    # Raises AssertionError if one of them computes something else: it is called before timing.
    verify: Callable[[], object]
    # Pixels that the work covers, for speeds.
    pixels: int = 0
    # The contender that the others are compared with; the first of ours unless given.
    main: str | None = None
    # Further ratios of times: (slower, faster).
    ratios: Sequence[tuple[str, str]] = ()
    # What is to be said about the contest, one sentence each.
    notes: Sequence[str] = ()
    # Called when the contest is over.
    close: Callable[[], object] = lambda: None

    def main_name(self) -> str:
        """The name of the contender that the others are compared with."""
        ours = [contender.name for contender in self.contenders if contender.ours]
        return self.main or (ours or [self.contenders[0].name])[0]


@dataclass(frozen=True)
class Entry:
    """A contest of the suite, before anything of it is prepared."""

    name: str
    section: str
    title: str
    prepare: Callable[[Settings], Contest]
    quick: bool = True
    # What of the settings it cannot run without.
    needs: Literal["data", "peers"] | None = None
    # For curves: what x is.
    axis: str | None = None
    repeats: int | None = None
