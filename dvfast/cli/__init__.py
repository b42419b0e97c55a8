"""The command line: ``dvfast detect | train | evaluate | bench | reproduce | gradcheck | info``."""

from __future__ import annotations

# Importing a module of commands is what makes them known to the group.
from . import bench, checks, detect, reproduce, train  # noqa: F401
from .app import app

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    app(prog_name="dvfast")
