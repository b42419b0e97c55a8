"""The emulated CUDA kernels, one build for all tests, outside the tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulation import build
from emulation.build import Device


@pytest.fixture(scope="session")
def emulated_modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build.build_all(tmp_path_factory.mktemp("emulation"))


@pytest.fixture(scope="session")
def cpu(emulated_modules: dict[str, Path]) -> Device:
    return build.load(emulated_modules["cpu"])


@pytest.fixture(scope="session")
def emulated(emulated_modules: dict[str, Path]) -> Device:
    """Kernels that fail where they race."""
    return build.load(emulated_modules["watched"])
