"""The emulated CUDA kernels, one build for all tests, outside the tree."""

from __future__ import annotations

from pathlib import Path

import ahead
import pytest
from emulation import build
from emulation.build import Device


@pytest.fixture(scope="session")
def emulated_modules() -> dict[str, Path]:
    return ahead.begin("emulation").result()


@pytest.fixture(scope="session")
def cpu(emulated_modules: dict[str, Path]) -> Device:
    return build.load(emulated_modules["cpu"])


@pytest.fixture(scope="session")
def emulated(emulated_modules: dict[str, Path]) -> Device:
    """Kernels that fail where they race."""
    return build.load(emulated_modules["watched"])
