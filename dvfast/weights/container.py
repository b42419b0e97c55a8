"""Tensors and a JSON object in one safetensors file: data that can be read without running code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..data.paths import atomic_path, existing_file
from ..errors import InputError

__all__ = ["read_container", "write_container"]


def write_container(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], key: str, facts: Mapping[str, Any]
) -> None:
    """Write tensors, and `facts` as JSON in the header under `key`; whole or not at all.

    Raises
    ------
    InputError
        If the file cannot be written.
    TypeError, ValueError
        If `facts` holds what JSON cannot: other objects, NaN, infinity.
    """
    header = {key: json.dumps(facts, allow_nan=False)}
    data = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            # Not save_file: it makes a new file, which none but its owner may read.
            temporary.write_bytes(save(data, metadata=header))
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def read_container(
    path: str | os.PathLike[str], key: str, what: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_container` wrote.

    Parameters
    ----------
    path
        The file.
    key
        The entry of the header that holds the JSON object.
    what
        What the file should be, for the error messages: "weights", "a checkpoint".

    Returns
    -------
    tensors, facts
        The tensors on the CPU, and the JSON object.

    Raises
    ------
    InputError
        If the file is missing, cut off, a pickle, or another safetensors file.
    """
    path = existing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # A view of the mapped file would change, or crash, when that file is replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(_diagnosis(path, what, error)) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from error
    if key not in header:
        raise InputError(
            f"{path}: a safetensors file without the description {key!r} in its header, expected "
            f"{what} written by dvfast"
        )
    try:
        facts = json.loads(header[key])
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: the description {key!r} cannot be read as JSON: {error}"
        ) from None
    if not isinstance(facts, dict):
        raise InputError(f"{path}: the description {key!r} is no JSON object")
    return tensors, facts


def _diagnosis(path: Path, what: str, error: SafetensorError) -> str:
    with open(path, "rb") as file:
        start = file.read(8)
    # torch.save writes a zip archive around a pickle, before torch 1.6 a bare pickle. Safetensors
    # begin with the length of the header, whose upper bytes are 0, so 80 02 may also be theirs.
    pickle = start[:1] == b"\x80" and 2 <= start[1] <= 5 and any(start[3:])
    if start[:2] == b"PK" or pickle:
        return (
            f"{path}: this is a pickle; dvfast loads data, never code. Load it where you trust it, "
            "then write it with dvfast.weights.save_weights"
        )
    return (
        f"{path}: cannot be read as {what}: the file is cut off, damaged or not in the safetensors "
        f"format ({error}); fetch or write it again"
    )
