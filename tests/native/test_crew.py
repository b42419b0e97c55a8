"""Threads that work together: every piece once, in every call, and errors come to who leads."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_piece_is_made_once(native: ModuleType, threads: int) -> None:
    for total in (0, 1, 2, 7, 100):
        assert native.crew(threads, 2000, total, -1) == [2000] * total


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_an_error_reaches_the_leader_and_nobody_waits(native: ModuleType, threads: int) -> None:
    for piece in (0, 5, 19):
        with pytest.raises(RuntimeError, match="a piece failed"):
            native.crew(threads, 50, 20, piece)
