"""What all tests share: the devices they run on."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import ahead
import pytest
import torch

# Hypothesis is among our test requirements; a machine without network that checks a GPU may lack
# it, and those tests ask nothing of the GPU.
if importlib.util.find_spec("hypothesis"):
    from hypothesis import settings

    # What an example takes depends on what else the machine does.
    settings.register_profile("dvfast", deadline=None)
    settings.load_profile("dvfast")
    collect_ignore = []
else:
    collect_ignore = ["operators/test_structured_inputs.py", "test_scan_anywhere.py"]

# Expectations are in float32; PyTorch's convolutions on a GPU are in TF32 unless they are told.
torch.backends.cudnn.conv.fp32_precision = "ieee"

REQUIRE_CUDA = os.environ.get("DVFAST_REQUIRE_CUDA") == "1"


@pytest.fixture
def pytorch_as_it_comes() -> Iterator[None]:
    """With convolutions in TF32, where there is a GPU."""
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    yield
    torch.backends.cudnn.conv.fp32_precision = "ieee"


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device that kernels exist for."""
    return torch.device(request.param)


_PACKAGES = pytest.StashKey[set[str]]()


def _package(item: pytest.Item) -> str:
    return item.path.parent.name


def _missing_cuda() -> str | None:
    import dvfast

    if not dvfast.build_info()["cuda_sources"]:
        return "dvfast is built without CUDA kernels"
    return None if torch.cuda.is_available() else "no CUDA device"


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Not beside what measures times, which comes first.
    if _package(item) not in ("baselines", "bench"):
        items = item.session.items
        packages = item.session.stash.setdefault(_PACKAGES, {_package(each) for each in items})
        for package in ahead.BUILDS:
            if ahead.AFTER.get(package, package) in packages:
                ahead.begin(package)
    if item.get_closest_marker("cuda") and (reason := _missing_cuda()):
        if REQUIRE_CUDA:
            pytest.fail(f"DVFAST_REQUIRE_CUDA=1, but {reason}")
        pytest.skip(reason)
