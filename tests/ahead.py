"""What takes a minute on two cores, begun while tests run that leave one of them idle."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

Modules = dict[str, Path]  # or reports

# One after the other: the second takes objects over from the first.
_builder = ThreadPoolExecutor(1)
_begun: dict[str, Future[Any]] = {}


def begin(package: str) -> Future[Any]:
    """Begin to make what a package of tests needs, unless it is done or being done."""
    if package not in _begun:
        if package in AFTER:
            begin(AFTER[package])
        folder = Path(tempfile.mkdtemp(prefix=f"dvfast-{package}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _begun[package] = _builder.submit(BUILDS[package], folder)
    return _begun[package]


def _emulation(folder: Path) -> Modules:
    from emulation import build

    return build.build_all(folder)


def _flawed(folder: Path) -> Modules:
    from emulation import build, flaws

    objects = _begun["emulation"].result()["cpu"].parents[1]
    return build.build_flawed(objects, flaws.SPOILT)


def _native(folder: Path) -> Modules:
    from native import build

    return build.build(folder, [v for v in build.VARIANTS if build.cpu_runs(v)])


def _counts(folder: Path) -> dict[str, int]:
    from native import counted

    if shutil.which("valgrind") is None:
        return {}
    # Which are the same whatever else runs.
    return counted.count(_begun["native"].result()["shipped"])


def _resources(folder: Path) -> Modules:
    from resources import reports

    return reports.build(folder)


# In the order in which their tests run.
BUILDS: dict[str, Callable[[Path], Any]] = {
    "emulation": _emulation,
    "flawed": _flawed,
    "native": _native,
    "counts": _counts,
    "resources": _resources,
}
AFTER = {"flawed": "emulation", "counts": "native"}  # whose objects they take
