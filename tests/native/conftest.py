"""The compiled kernels, one build for all tests, outside the tree."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import ahead
import pytest
from native import build


@pytest.fixture(scope="session")
def modules() -> dict[str, Path]:
    return ahead.begin("native").result()


@pytest.fixture(scope="session")
def native(modules: dict[str, Path]) -> ModuleType:
    """The kernels as they are shipped."""
    return build.load(modules["shipped"])


@pytest.fixture(
    scope="session", params=[variant for variant in build.VARIANTS if variant != "sanitized"]
)
def variant(request: pytest.FixtureRequest, modules: dict[str, Path]) -> ModuleType:
    if request.param not in modules:
        pytest.skip(f"this CPU has no {request.param}")
    return build.load(modules[request.param])
