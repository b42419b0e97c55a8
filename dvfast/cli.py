"""The command line: ``dvfast detect | train | evaluate | gradcheck | info``."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from rich import box
from rich.console import Console
from rich.progress import Progress, TaskID, track
from rich.table import Table

from . import __version__, build_info
from .errors import InputError

if TYPE_CHECKING:
    from .detection import Detector
    from .evaluation import MatchMode
    from .scan import Precision
    from .training import TrainingConfig

__all__ = ["main"]

_FORMATS = ("csv", "geojson", "png")
_T = TypeVar("_T")


class _Command(click.Command):
    """Turns bad input into one clear line and exit code 1; usage errors keep click's 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, OSError) as error:
            raise click.ClickException(str(error)) from error


class _Group(click.Group):
    command_class = _Command


def _options(*options: Callable[[_T], _T]) -> Callable[[_T], _T]:
    def apply(command: _T) -> _T:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


def _finite(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


_weights = click.option(
    "-w",
    "--weights",
    default="ihc",
    show_default=True,
    metavar="NAME|FILE",
    help="Shipped weights (see dvfast info), or a .safetensors file from dvfast train.",
)
_detection_options = _options(
    _weights,
    click.option(
        "--stride",
        type=click.IntRange(min=1),
        help="Pixels between voters: 1 is densest, larger is faster. [default: the weights' own]",
    ),
    click.option(
        "--precision",
        type=click.Choice(["exact", "float32", "tf32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="exact: the same bits in every mode; bfloat16: fastest, coarse, with AMX or a GPU.",
    ),
    click.option(
        "--threshold",
        type=float,
        callback=_finite,
        help="Peaks below it do not count. [default: the weights' own]",
    ),
    click.option(
        "--pixel-size",
        type=click.FloatRange(min=0, min_open=True),
        callback=_finite,
        metavar="µm",
        help="Micrometres per pixel of the images. [default: that of the training images]",
    ),
    click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda:1."),
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="dvfast")
def _app() -> None:
    """Find nuclei in microscopy images by deep voting."""
    # tifffile reports on damaged files before we do, in its own words.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@_app.command(short_help="Images in, nuclei out.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder; or, for one image, a file whose extension picks the format.",
)
@click.option(
    "-f",
    "--format",
    "formats",
    type=click.Choice(_FORMATS),
    multiple=True,
    help="What to write into a folder; may be repeated. [default: all]",
)
@click.option("--mode", type=click.Choice(["fast", "sliding"]), default="fast", show_default=True)
@_detection_options
def detect(
    images: tuple[str, ...],
    output: Path,
    formats: tuple[str, ...],
    mode: Literal["fast", "sliding"],
    weights: str,
    stride: int | None,
    precision: Precision,
    threshold: float | None,
    pixel_size: float | None,
    device: str,
) -> None:
    """Find the nuclei of every IMAGE: PNG, JPEG or TIFF files, folders, or quoted patterns.

    \b
    dvfast detect slide.tif -o slide.geojson     one image, for QuPath
    dvfast detect 'tiles/*.png' -o out           CSV, GeoJSON and overlay of each

    CSV has the columns y, x, score, in pixels with the centre of the first at (0, 0). An image that
    cannot be read is reported, the others are done, and the exit code is 1.
    """
    from .data import list_images
    from .scan import check_precision

    paths = list_images(images)
    single = output.suffix.lower().lstrip(".") in (*_FORMATS, "json")
    if output.suffix and not single and not output.is_dir():
        raise click.UsageError(
            f"{output}: -o takes a folder, or a file that ends in .{', .'.join(_FORMATS)}; a "
            "folder with a dot in its name must exist"
        )
    if single and len(paths) > 1:
        raise click.UsageError(f"{output} is one file, but there are {len(paths)} images")
    if single and formats:
        raise click.UsageError("--format is for a folder; the extension of -o picks the format")
    _refuse_equal_stems(paths)
    detector = _load_detector(weights, device)
    check_precision(detector.net, precision, mode)
    if not single:
        output.mkdir(parents=True, exist_ok=True)
    failed = 0
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("detecting", total=len(paths))
        for done, path in enumerate(paths):
            try:
                result = detector.detect(
                    path,
                    mode=mode,
                    stride=stride,
                    precision=precision,
                    threshold=threshold,
                    pixel_size=pixel_size,
                    progress=partial(_advance, progress, task, done),
                )
                if single:
                    result.save(output)
                else:
                    for extension in formats or _FORMATS:
                        result.save(output / f"{path.stem}.{extension}")
                click.echo(f"{path}: {len(result)} nuclei")
            except InputError as error:
                failed += 1
                console.print(f"Error: {error}", style="red", markup=False, soft_wrap=True)
    if failed:
        raise click.ClickException(f"{failed} of {len(paths)} images failed")


@_app.command(short_help="Clicks in, weights out.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A folder.")
@click.option(
    "--preset",
    type=click.Choice(["paper", "modern"]),
    default="paper",
    show_default=True,
    help="Settings to start from: the paper's, or what trains best in minutes.",
)
@click.option("--config", type=click.Path(path_type=Path), help="A JSON file of settings.")
@click.option(
    "-s",
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="One setting, such as steps=2000 or hidden=[256]; may be repeated. See --show.",
)
@click.option("--show", is_flag=True, help="Print the settings as JSON and stop.")
@click.option("--fresh", is_flag=True, help="Start anew even if there is a checkpoint.")
@click.option("--data-name", help="What the data is called; saved with the weights.")
@click.option("--data-licence", help="Its licence; saved with the weights.")
@click.option("--data-attribution", help="Whom to name; saved with the weights.")
@click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda:1.")
def train(
    folder: Path,
    output: Path,
    preset: str,
    config: Path | None,
    changes: tuple[str, ...],
    show: bool,
    fresh: bool,
    data_name: str | None,
    data_licence: str | None,
    data_attribution: str | None,
    device: str,
) -> None:
    """Train on FOLDER: images, and beside each a file of clicks with the same stem.

    \b
    Clicks may be CSV (y,x), napari points, QuPath points as TSV, or GeoJSON.
    dvfast train tiles/train -o runs/mine --preset modern -s image_pixel_size=0.5

    A run that was stopped goes on where it was when the same command is given again. It also runs
    under torchrun.
    """
    from .training import fit

    settings = _training_config(preset, config, changes)
    if show:
        click.echo(json.dumps(settings.to_dict(), indent=2))
        return
    description = {
        "name": data_name or folder.resolve().name,
        "licence": data_licence,
        "attribution": data_attribution,
    }
    result = fit(
        folder, output, settings, resume=not fresh, device=device, data_description=description
    )
    if int(os.environ.get("RANK", 0)) > 0:  # under torchrun, one process speaks for all
        return
    score = "" if result.best_f1 is None else f", F1 {result.best_f1:.4f} on the validation part"
    click.echo(f"{result.weights_path}{score}")


@_app.command(short_help="How good weights are on annotated images.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-r",
    "--radius",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    default=6.6,
    show_default=True,
    help="Of the circle around an annotation, in pixels of the images.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@_detection_options
def evaluate(
    folder: Path,
    radius: float,
    json_file: Path | None,
    weights: str,
    stride: int | None,
    precision: Precision,
    threshold: float | None,
    pixel_size: float | None,
    device: str,
) -> None:
    """Precision, recall, F1, distances and counting errors on FOLDER, an annotated set of images.

    Both readings of a match are given: one detection for one annotation, and the paper's literal
    one, in which every detection inside any circle is true.
    """
    from .data import atomic_path
    from .evaluation import evaluate_points
    from .evaluation.evaluate import detect_all

    found, names = detect_all(
        _load_detector(weights, device),
        folder,
        stride=stride,
        precision=precision,
        threshold=threshold,
        pixel_size=pixel_size,
        track=lambda samples: _tracked(samples, "evaluating"),
    )
    modes: tuple[MatchMode, ...] = ("one-to-one", "literal")
    evaluations = {mode: evaluate_points(found, radius, mode, names=names) for mode in modes}
    click.echo("\n\n".join(str(evaluation) for evaluation in evaluations.values()))
    if json_file is not None:
        document = {mode: evaluation.to_dict() for mode, evaluation in evaluations.items()}
        with atomic_path(json_file) as temporary:
            temporary.write_text(json.dumps(document, indent=2) + "\n")


@_app.command(short_help="Every operator's gradient, checked here and now.")
@click.option("--device", multiple=True, help="May be repeated. [default: all there are]")
def gradcheck(device: tuple[str, ...]) -> None:
    """Compare every operator's gradient with autograd through the reference and with differences.

    The exit code is 1 if one of them is off.
    """
    import torch

    from .gradcheck import check_gradients

    devices = device or ("cpu", *(["cuda"] if _has_cuda_kernels() else []))
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption="error / what is allowed: against autograd through the reference, and against "
        "finite differences",
    )
    for heading in ("operator", "on", "dtype", "autograd", "differences", ""):
        table.add_column(heading, no_wrap=True)
    failed = 0
    for name in devices:
        for check in _tracked(check_gradients(torch.device(name)), f"checking on {name}"):
            failed += not check.passed
            differences = (
                ""
                if check.difference_error is None
                else f"{check.difference_error:.0e} / {check.difference_tolerance:.0e}"
            )
            table.add_row(
                check.operator,
                check.device,
                check.dtype,
                f"{check.error:.0e} / {check.tolerance:.0e}",
                differences,
                "ok" if check.passed else "[red]WRONG[/red]",
            )
    Console().print(table)
    if failed:
        raise click.ClickException(f"{failed} gradients are wrong")


@_app.command(short_help="Version, build, devices, shipped weights.")
@click.option("-w", "--weights", metavar="NAME|FILE", help="Describe these weights as JSON.")
def info(weights: str | None) -> None:
    """Tell what this installation is, or what is known about WEIGHTS."""
    import torch

    from ._library import cpu_info
    from .weights import available, load_weights

    if weights is not None:
        _, description = load_weights(_weights_path(weights))
        click.echo(json.dumps(description, indent=2, ensure_ascii=False))
        return
    cuda = "none"
    if torch.cuda.is_available():
        cuda = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    lines = {
        "dvfast": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "threads": torch.get_num_threads(),
        "CPU kernels": cpu_info()["instruction_set"] + (", AMX" * cpu_info()["matrix_unit"]),
        "CUDA devices": cuda,
        **build_info(),
        "weights": ", ".join(available()) or "none",
    }
    for name, value in lines.items():
        click.echo(f"{name:>16}: {value}")


def main() -> None:
    """Run the command line."""
    _app(prog_name="dvfast")


def _advance(progress: Progress, task: TaskID, done: int, share: float) -> None:
    progress.update(task, completed=done + share)


def _tracked(items: Iterable[_T], description: str) -> Iterable[_T]:
    return track(items, description, console=Console(stderr=True), transient=True)


def _weights_path(weights: str) -> Path:
    from .weights import available, path_of

    path = Path(weights)
    if weights in available() and not path.exists():
        return path_of(weights)
    if not path.exists() and not path.suffix:
        raise InputError(
            f"{weights}: no such file, and no shipped weights of that name; there are "
            f"{', '.join(available()) or 'none'}"
        )
    return path


def _load_detector(weights: str, device: str) -> Detector:
    from .detection import Detector

    detector = Detector.load(_weights_path(weights))
    if device.startswith("cuda") and not build_info()["cuda_sources"]:
        raise InputError(f"device {device}: this dvfast is built without CUDA kernels; use cpu")
    try:
        return detector.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device}: {error}") from error


def _has_cuda_kernels() -> bool:
    import torch

    return bool(build_info()["cuda_sources"]) and torch.cuda.is_available()


def _refuse_equal_stems(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would be written to the same files; detect them one by one, "
                "or rename one"
            )


def _training_config(preset: str, config: Path | None, changes: tuple[str, ...]) -> TrainingConfig:
    from .training import TrainingConfig

    values = getattr(TrainingConfig, preset)().to_dict()
    if config is not None:
        try:
            loaded = json.loads(config.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{config}: cannot be read as JSON: {error}") from error
        if not isinstance(loaded, dict):
            raise InputError(f"{config}: must hold one JSON object of settings")
        values.update(loaded)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise click.BadParameter(f"{change!r} must be NAME=VALUE", param_hint="--set")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        place = values
        *parents, last = name.split(".")
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise InputError(f"--set {change}: there is no setting {name}")
        place[last] = value
    return TrainingConfig.from_dict(values)


if __name__ == "__main__":
    main()
