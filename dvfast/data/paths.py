"""Opening and replacing files safely: the checks that every reader and writer shares."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

__all__ = [
    "atomic_path",
    "check_target",
    "existing_file",
    "make_folder",
    "remove_empty",
    "visible_files",
]


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path` once it is known to be a file with something in it.

    Raises
    ------
    InputError
        If it is missing, a folder, out of reach, or 0 bytes long.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a file")
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    if size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes)")
    return path


def visible_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files directly inside `folder`, sorted by name, without hidden ones.

    Names that begin with a dot are what desktops leave behind (``.DS_Store``, ``._tile.png``).

    Raises
    ------
    InputError
        If the folder is missing, is a file, or cannot be listed.
    """
    folder = Path(folder)
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        raise InputError(f"{folder}: no such folder") from None
    except NotADirectoryError:
        raise InputError(f"{folder}: is a file, expected a folder") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed: {error.strerror}") from error
    return [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise an InputError if a file of this name cannot be written, before it has cost anything."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"{path}: cannot be written: it is a folder, expected a file name")
    # Of the path itself: what /dev/stdout leads to need not have a name.
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(
            f"{path}: cannot be written: it is a device or a pipe, which a file would replace; "
            "write to a file, and pass that on"
        )
    if not target.parent.exists():
        raise InputError(
            f"{path}: cannot be written: the folder {target.parent} does not exist; create it first"
        )
    reason = "" if os.access(target.parent, os.W_OK) else os.strerror(errno.EACCES)
    if not target.parent.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    if reason:
        raise InputError(
            f"{path}: cannot be written: the folder {target.parent} takes no new files: {reason}"
        )


def make_folder(path: str | os.PathLike[str]) -> list[Path]:
    """Make an output folder, and return what was missing of its path, the innermost first.

    Raises
    ------
    InputError
        If it cannot be made, or is a file.
    """
    folder = Path(path)
    missing = [part for part in (folder, *folder.parents) if not os.path.lexists(part)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise InputError(
            f"{path}: cannot be made the output folder: {reason}; choose another"
        ) from error
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Those of them, in this order, that have nothing in them."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that it appears whole or not at all.

    The block writes to the path it is given, which lies in the same folder and has the same
    suffix. On success that file is flushed to disk and renamed onto `path`; if the block raises,
    it is deleted and whatever stood at `path` before is untouched. A symbolic link is followed.

    Parameters
    ----------
    path : str or os.PathLike
        The file to create or to replace.

    Yields
    ------
    pathlib.Path
        The temporary file, which exists and is empty.

    Raises
    ------
    InputError
        If the parent folder is missing or cannot be written, or if `path` is a folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    check_target(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        # tempfile would create the file with mode 0600; this way the user's umask decides.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: the folder {target.parent} takes no new files: "
            f"{error.strerror}"
        ) from error
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        _flush_to_disk(target.parent)


def _flush_to_disk(path: Path) -> None:
    # Windows flushes only descriptors that are open for writing, POSIX opens folders read-only.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
