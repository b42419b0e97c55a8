"""The group that all commands belong to, and what they share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table as RichTable

from .. import __version__, build_info
from ..errors import InputError

if TYPE_CHECKING:
    from ..bench.tables import Table
    from ..detection import Detector

__all__ = [
    "app",
    "check_device",
    "detection_options",
    "finite",
    "has_cuda_kernels",
    "load_detector",
    "show_table",
    "tracked",
    "weights_path",
]

_T = TypeVar("_T")


class _Command(click.Command):
    """Turns bad input into one clear line and exit code 1; usage errors keep click's 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise  # nobody listens: click ends without a word
            raise click.ClickException(str(error)) from error


class _Group(click.Group):
    command_class = _Command
    group_class = type  # groups within this one are of its own kind


def options(*options: Callable[[_T], _T]) -> Callable[[_T], _T]:
    def apply(command: _T) -> _T:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


def finite(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


weights_option = click.option(
    "-w",
    "--weights",
    "--model",
    "weights",
    default="ihc",
    show_default=True,
    metavar="NAME|FILE",
    help="Shipped weights (see dvfast info), or a .safetensors file from dvfast train.",
)
detection_options = options(
    weights_option,
    click.option(
        "--stride",
        type=click.IntRange(min=1),
        help="Pixels between voters: of the paper's network 1 is densest and larger is faster; a "
        "U-Net takes multiples of its own. [default: the weights' own]",
    ),
    click.option(
        "--precision",
        type=click.Choice(["exact", "float32", "tf32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="exact: the same bits in every mode; bfloat16: fastest, coarse, with AMX or a GPU; "
        "tf32: of the paper's network on a GPU.",
    ),
    click.option(
        "--threshold",
        type=float,
        callback=finite,
        help="Peaks below it do not count. [default: the weights' own]",
    ),
    click.option(
        "--orientations",
        type=click.Choice([1, 2, 4, 8]),
        help="Look at images in so many ways, flipped and turned: a little better, and as many "
        "times slower. [default: the weights' own]",
    ),
    click.option(
        "--pixel-size",
        type=click.FloatRange(min=0, min_open=True),
        callback=finite,
        metavar="µm",
        help="Micrometres per pixel of the images. [default: what the file says of itself, or that "
        "of the training images]",
    ),
    click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda:1."),
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="dvfast")
def app() -> None:
    """Find nuclei in microscopy images by deep voting."""
    # tifffile reports on damaged files before we do, in its own words.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def tracked(items: Iterable[_T], description: str) -> Iterable[_T]:
    return track(items, description, console=Console(stderr=True), transient=True)


def weights_path(weights: str) -> Path:
    from ..weights import available, path_of

    path = Path(weights)
    if weights in available() and not path.is_file():
        return path_of(weights)
    if not path.exists() and not path.suffix:
        raise InputError(
            f"{weights}: no such file, and no shipped weights of that name; there are "
            f"{', '.join(available()) or 'none'}"
        )
    return path


def check_device(device: str) -> None:
    """Raise an InputError if there is no such device, or nothing that runs on it."""
    import torch

    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device {device}: {error}") from None
    if chosen.type == "cpu":
        return
    if chosen.type != "cuda":
        raise InputError(f"device {device}: dvfast runs on cpu and cuda")
    if not build_info()["cuda_sources"]:
        raise InputError(f"device {device}: this dvfast is built without CUDA kernels; use cpu")
    if (chosen.index or 0) >= (count := torch.cuda.device_count()):
        raise InputError(f"device {device}: there are {count} CUDA devices; use cpu")


def show_table(console: Console, table: Table, hidden: Collection[str] = ()) -> None:
    """Print a table and its notes, without the columns of some headings."""
    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [i for i, heading in enumerate(table.headings) if heading not in hidden]
    for i in shown:
        drawn.add_column(escape(table.headings[i]), justify="right" if i else "left", no_wrap=not i)
    for row in table.rows:
        drawn.add_row(*(escape(row[i].replace("**", "")) for i in shown))
    console.print(drawn)
    for note in table.notes:
        console.print(note, markup=False, highlight=False)
    console.print()


def load_detector(weights: str, device: str) -> Detector:
    from ..detection import Detector

    detector = Detector.load(weights_path(weights))
    check_device(device)
    try:
        return detector.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device}: {error}") from error


def has_cuda_kernels() -> bool:
    import torch

    return bool(build_info()["cuda_sources"]) and torch.cuda.is_available()
