"""Threads working through tasks in one order: nothing early or twice, nobody waits in vain."""

from __future__ import annotations

import random
from types import ModuleType

import pytest


def run(
    module: ModuleType, pieces: list[int], threads: int, come: list[int], fails: int = -1
) -> tuple[int, int, list[int]]:
    """Pieces that began too early, threads that failed, and pieces done of every task."""
    too_early, failed, *done = module.ordered_work(pieces, threads, come, fails, sum(pieces))
    return too_early, failed, done


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_all_pieces_are_done_once_and_in_order(native: ModuleType, threads: int, seed: int) -> None:
    drawn = random.Random(seed)
    pieces = [drawn.randint(1, 3 * threads) for _ in range(60)]
    come = list(range(threads))
    drawn.shuffle(come)
    assert run(native, pieces, threads, come) == (0, 0, pieces)


@pytest.mark.parametrize("come", [[0], [3], [2, 0]])
def test_threads_that_never_come_are_done_without(native: ModuleType, come: list[int]) -> None:
    pieces = [4, 1, 9, 12, 3] * 5
    assert run(native, pieces, 4, come) == (0, 0, pieces)


def test_without_tasks_there_is_nothing_to_do(native: ModuleType) -> None:
    assert run(native, [], 3, [0, 1, 2]) == (0, 0, [])


@pytest.mark.parametrize("fails", [0, 7, 19])
def test_a_piece_that_fails_ends_it_for_all(native: ModuleType, fails: int) -> None:
    pieces = [6] * 20
    too_early, failed, done = run(native, pieces, 3, [0, 1, 2], fails)
    assert (too_early, failed) == (0, 1)
    assert done[:fails] == pieces[:fails]
    assert done[fails] < 6
    assert not any(done[fails + 1 :])
