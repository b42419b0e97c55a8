"""Trained networks as files: reading, writing, and those that come with the library."""

from __future__ import annotations

from .io import available, load_weights, path_of, save_weights

__all__ = ["available", "load_weights", "path_of", "save_weights"]
