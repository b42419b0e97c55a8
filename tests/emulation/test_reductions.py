"""The benchmark's own kernels add what they are timed for adding."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from ctypes import CDLL
from pathlib import Path
from types import ModuleType

import pytest
import torch
from emulation import build
from support import random_votes

import dvfast

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def reductions(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("reductions")
    for name in ("reductions", "timing"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def library(emulated_modules: dict[str, Path]) -> Path:
    return build.build_benchmark(emulated_modules["cpu"].parents[1])


@pytest.fixture
def kernels(reductions: ModuleType, library: Path) -> CDLL:
    return reductions.load(library)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32, torch.float64], ids=str)
def test_ones_are_counted(reductions: ModuleType, kernels: CDLL, dtype: torch.dtype) -> None:
    index = torch.randint(37, (1000,), generator=torch.Generator().manual_seed(0))
    sums = torch.zeros(37, dtype=dtype)
    reductions.add_ones(kernels, sums, index.int())
    assert torch.equal(sums.long(), index.bincount(minlength=37))


def test_both_scatters_are_of_the_same_votes(reductions: ModuleType, kernels: CDLL) -> None:
    votes = random_votes((1, 6, 11, 13))
    votes[0, 0, 3, 4] = torch.nan
    expected = dvfast.vote_map(votes, (11, 13))[0]
    sums, num_void = torch.zeros(11, 13, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    reductions.scatter_fixed(kernels, votes, sums, num_void)
    assert torch.equal(sums.float() * 2.0**-30, expected)
    assert num_void.tolist() == [1]
    floats = torch.zeros(11, 13)
    reductions.scatter_floats(kernels, votes, floats)
    assert torch.allclose(floats, expected, atol=1e-5)
    assert floats.any()
