"""A network and its description as one file, and the files that come with the library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..nn import NETWORKS, VotingNetwork
from .container import read_container, write_container

__all__ = ["available", "load_weights", "path_of", "save_weights"]

_KEY = "dvfast"
_FORMAT = 1
_FOLDER = Path(__file__).parent


def save_weights(
    path: str | os.PathLike[str], net: VotingNetwork, description: Mapping[str, Any]
) -> None:
    """Write a network and what one should know about it as a safetensors file.

    The file appears whole or not at all. Its header holds one JSON object under the key ``dvfast``:
    the version of the format, the kind of network and its architecture, and `description`.

    Parameters
    ----------
    path
        The file, by convention ``*.safetensors``.
    net
        On any device; written as float32.
    description
        Anything JSON can hold. :func:`dvfast.fit` writes ``pixel_size`` (micrometres per pixel at
        which the network works, or None), ``image_pixel_size`` (of the images it was trained on, or
        None), ``detection`` (settings), ``training`` (settings), ``data`` (name, licence,
        attribution) and ``scores``.

    Raises
    ------
    InputError
        If the file cannot be written, a weight is NaN or infinite, or the network is of a class of
        your own, which no file could bring back.
    TypeError, ValueError
        If `description` holds what JSON cannot.

    Examples
    --------
    >>> import tempfile, dvfast
    >>> net = dvfast.nn.DeepVotingNet(num_votes=1, channels=(2, 2, 2), hidden=())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tiny.safetensors"
    ...     save_weights(path, net, {"pixel_size": 0.25})
    ...     same, description = load_weights(path)
    >>> description["pixel_size"], same.architecture == net.architecture
    (0.25, True)
    """
    tensors = {name: tensor.float() for name, tensor in net.state_dict().items()}
    _check_finite(path, tensors)
    facts = {
        **description,
        "format": _FORMAT,
        "network": _kind_of(net),
        "architecture": net.architecture,
    }
    write_container(path, tensors, _KEY, facts)


def load_weights(path: str | os.PathLike[str]) -> tuple[VotingNetwork, dict[str, Any]]:
    """Read a network and its description; nothing in the file is ever executed.

    Parameters
    ----------
    path
        A file written by :func:`save_weights`.

    Returns
    -------
    net
        On the CPU, float32, in evaluation mode.
    description
        As it was saved, with ``network``, ``architecture`` and ``format`` added.

    Raises
    ------
    InputError
        If the file is missing, cut off, a pickle, another safetensors file, of a newer format, if
        its tensors do not fit the architecture it names, or hold NaN or infinity.

    Examples
    --------
    >>> import dvfast
    >>> net, description = load_weights(path_of("ihc"))
    >>> description["data"]["licence"]
    'CC BY 4.0'
    """
    tensors, description = read_container(path, _KEY, "weights")
    version = description.get("format")
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{path}: the format version is {version!r}, expected {_FORMAT}")
    if version > _FORMAT:
        raise InputError(
            f"{path}: format version {version} is newer than this dvfast reads (up to {_FORMAT}); "
            "update dvfast"
        )
    # Files of the first days name no kind.
    kind = description.setdefault("network", "DeepVotingNet")
    net = _empty_net(path, kind, description.get("architecture"))
    _check_fit(path, net.state_dict(), tensors)
    weights = {name: tensor.float() for name, tensor in tensors.items()}
    _check_finite(path, weights)
    net.load_state_dict(weights, assign=True)
    return net.eval(), description


def section_of(description: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An entry of a description that is looked into; a description may hold anything."""
    section = description.get(name)
    return section if isinstance(section, Mapping) else {}


def available() -> list[str]:
    """Return the names of the weights that come with the library.

    Examples
    --------
    >>> "ihc" in available()
    True
    """
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def path_of(name: str) -> Path:
    """Return the file of weights that come with the library.

    Raises
    ------
    InputError
        If there are none of this name.

    Examples
    --------
    >>> path_of("ihc").name
    'ihc.safetensors'
    """
    names = available()
    if name not in names:
        raise InputError(
            f"name: no weights called {name!r} come with dvfast, there are {names}; a file of your "
            "own is loaded by its path"
        )
    return _FOLDER / f"{name}.safetensors"


def _kind_of(net: VotingNetwork) -> str:
    name = type(net).__name__
    if NETWORKS.get(name) is not type(net):
        raise InputError(f"net: came as a {name}, expected one of {', '.join(NETWORKS)}")
    return name


def _empty_net(path: str | os.PathLike[str], kind: Any, architecture: Any) -> VotingNetwork:
    if not isinstance(architecture, dict):
        raise InputError(f"{path}: names no architecture, expected weights written by dvfast")
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise InputError(
            f"{path}: holds a network called {kind!r}, this dvfast knows {', '.join(NETWORKS)}; "
            "update dvfast"
        )
    try:
        # Without storage: a damaged header may ask for more memory than there is.
        with torch.device("meta"):
            return NETWORKS[kind](**architecture)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{path}: is from another architecture, {architecture}: {error}") from None


def _check_fit(
    path: str | os.PathLike[str], expected: Mapping[str, Tensor], came: Mapping[str, Tensor]
) -> None:
    missing = sorted(set(expected) - set(came))
    unexpected = sorted(set(came) - set(expected))
    mismatched = [
        f"{name} is {_kind(came[name])}, expected {_kind(expected[name])}"
        for name in expected
        if name in came
        and (came[name].shape != expected[name].shape or not came[name].is_floating_point())
    ]
    problems = [
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unexpected" for name in unexpected),
        *mismatched,
    ]
    if problems:
        rest = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(
            f"{path}: the tensors are from another architecture than the file names: "
            f"{', '.join(problems[:3])}{rest}"
        )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _check_finite(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity; the weights are of no use")
