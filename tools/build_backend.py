"""The build backend: setuptools, building against the torch that is already there.

An isolated build gets an environment of its own, and with torch among its requirements a torch of
its own: gigabytes, and not the one the package will run with. So torch is asked for only where the
installing interpreter has none that will do; otherwise setup.py borrows that one.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (a backend is a module of hooks)

_MINIMUM = (2, 11)
# -I ignores the variables by which an isolated build hides the installing interpreter's packages.
_ASK = [
    sys.executable,
    "-I",
    "-c",
    "import torch, pathlib; print(torch.__version__, pathlib.Path(torch.__file__).parents[1])",
]


@functools.cache
def _told() -> str:
    asked = subprocess.run(_ASK, capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else ""


def outer_torch() -> tuple[str, str] | None:
    """Version and folder of the torch of the installing interpreter, if it is new enough."""
    if not _told():
        return None
    version, folder = _told().split(" ", 1)
    major, minor = (int(part) for part in version.split(".")[:2])
    return (version, folder) if (major, minor) >= _MINIMUM else None


def add_outer_torch() -> None:
    """Make ``import torch`` work in setup.py; last on the path, so that nothing else changes."""
    if importlib.util.find_spec("torch") is None:
        found = outer_torch()
        if found is None:
            raise SystemExit("dvfast needs torch >= 2.11 to build: pip install torch")
        sys.path.append(found[1])


def _requirements(base: list[str]) -> list[str]:
    return base if outer_torch() else [*base, "torch>=2.11"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return _requirements(build_meta.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return _requirements(build_meta.get_requires_for_build_editable(config_settings))


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    return _requirements(build_meta.get_requires_for_build_sdist(config_settings))
