"""``dvfast detect`` and ``dvfast evaluate``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from ..errors import InputError
from .app import app, detection_options, finite, load_detector, tracked

if TYPE_CHECKING:
    from ..detection import DetectionResult, Detector, SlideResult
    from ..evaluation import MatchMode
    from ..scan import Precision

_FORMATS = ("csv", "geojson", "png")

_SAME_SIZE = 1.01  # files of one microscope differ by what was rounded away


@app.command(short_help="Images in, nuclei out.")
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
@click.option(
    "--mode",
    type=click.Choice(["fast", "sliding"]),
    default="fast",
    show_default=True,
    help="sliding: a patch for every pixel, as in the paper; for its network alone, and slow.",
)
@click.option(
    "--region",
    nargs=4,
    type=click.IntRange(min=0),
    metavar="TOP LEFT HEIGHT WIDTH",
    help="Only the nuclei within this part, in pixels at full resolution.",
)
@click.option(
    "--skip-existing",
    is_flag=True,
    help="Leave out images whose files are all there, such as those of a run that was stopped.",
)
@detection_options
def detect(
    images: tuple[str, ...],
    output: Path,
    formats: tuple[str, ...],
    mode: Literal["fast", "sliding"],
    region: tuple[int, int, int, int] | None,
    skip_existing: bool,
    weights: str,
    stride: int | None,
    precision: Precision,
    threshold: float | None,
    orientations: int | None,
    pixel_size: float | None,
    device: str,
) -> None:
    """Find the nuclei of every IMAGE: PNG, JPEG or TIFF files, folders, or quoted patterns.

    \b
    dvfast detect slide.svs -o slide.geojson     a whole slide, for QuPath
    dvfast detect 'tiles/*.png' -o out           CSV, GeoJSON and overlay of each

    CSV has the columns y, x, score, in pixels with the centre of the first at (0, 0). An image that
    cannot be read is reported, the others are done, and the exit code is 1.

    Slides (SVS, NDPI, MRXS, SCN, BIF, VMS) and images of more than 100 million pixels are read and
    worked on tile by tile. The former need OpenSlide: `pip install openslide-python openslide-bin`.
    Until a slide is done, what was found lies in a file that ends in .unfinished, and the same
    command goes on from there. Slides and OME-TIFF are looked at by the size that they say their
    pixels are.
    """
    from ..data import list_images
    from ..data.paths import check_target, make_folder, remove_empty
    from ..detection import SlideResult
    from ..scan import check_precision

    paths = list_images(images, slides=True)
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
    if single:
        check_target(output)
    targets = [[output]] if single else [_targets(path, output, formats) for path in paths]
    _refuse_to_overwrite(paths, [target for several in targets for target in several])
    detector = load_detector(weights, device)
    check_precision(detector.net, precision, mode, stride)
    made = [] if single else make_folder(output)
    for several in targets:
        check_target(several[0])
    failed = 0
    console = Console(stderr=True)
    _warn_of_unit(detector, pixel_size, console)
    with Progress(console=console, transient=True) as progress, _telling_warnings(console):
        task = progress.add_task("detecting", total=len(paths))
        for done, (path, files) in enumerate(zip(paths, targets, strict=True)):
            if skip_existing and all(file.exists() for file in files):
                click.echo(f"{click.format_filename(path)}: done before")
                continue
            unfinished = files[0].with_suffix(".unfinished")
            try:
                result = _detect(
                    detector,
                    path,
                    mode,
                    region,
                    unfinished,
                    console,
                    stride=stride,
                    precision=precision,
                    threshold=threshold,
                    orientations=orientations,
                    pixel_size=pixel_size,
                    progress=partial(_advance, progress, task, done),
                )
                for file in files:
                    result.save(file)
                if isinstance(result, SlideResult):
                    unfinished.unlink()
            except InputError as error:
                failed += 1
                _tell(console, f"Error: {error}", "red")
            except (OSError, RuntimeError, MemoryError) as error:
                failed += 1
                _tell(console, f"Error: {click.format_filename(path)}: {error}", "red")
            except KeyboardInterrupt:
                if unfinished.exists():
                    _tell(console, f"{path}: stopped; the same command goes on from {unfinished}")
                raise
            else:
                click.echo(f"{click.format_filename(path)}: {len(result)} nuclei")
    if failed:
        remove_empty(made)
        raise click.ClickException(f"{failed} of {len(paths)} images failed")


@app.command(short_help="How good weights are on annotated images.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-r",
    "--radius",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Of the circle around an annotation, in pixels of the images. [default: the mean radius "
    "of the nuclei that the weights learnt from, at the size of the images' pixels]",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    help="Write a row per image here, of one-to-one matching.",
)
@detection_options
def evaluate(
    folder: Path,
    radius: float | None,
    json_file: Path | None,
    csv_file: Path | None,
    weights: str,
    stride: int | None,
    precision: Precision,
    threshold: float | None,
    orientations: int | None,
    pixel_size: float | None,
    device: str,
) -> None:
    """Precision, recall, F1, distances and counting errors on FOLDER, an annotated set of images.

    Both readings of a match are given: one detection for one annotation, and the paper's literal
    one, in which every detection inside any circle is true.
    """
    from ..data.json_files import write_json
    from ..data.paths import check_target
    from ..evaluation import evaluate_points
    from ..evaluation.evaluate import detect_all
    from ..scan import check_precision

    if _are_one(json_file, csv_file):
        raise click.UsageError(f"--json and --csv are one file, {json_file}; choose two")
    for file in (json_file, csv_file):
        if file is not None:
            check_target(file)
            _refuse_to_overwrite_samples(folder, file)
    detector = load_detector(weights, device)
    check_precision(detector.net, precision, "fast", stride)
    _warn_of_unit(detector, pixel_size, Console(stderr=True))
    if radius is None:
        told = _told_by_all(detector, folder) if pixel_size is None else pixel_size
        radius = _radius_of(detector, told)
    found, names = detect_all(
        detector,
        folder,
        stride=stride,
        precision=precision,
        threshold=threshold,
        orientations=orientations,
        pixel_size=pixel_size,
        track=lambda samples: tracked(samples, "evaluating"),
    )
    modes: tuple[MatchMode, ...] = ("one-to-one", "literal")
    evaluations = {mode: evaluate_points(found, radius, mode, names=names) for mode in modes}
    click.echo("\n\n".join(str(evaluation) for evaluation in evaluations.values()))
    if json_file is not None:
        document = {mode: evaluation.to_dict() for mode, evaluation in evaluations.items()}
        write_json(json_file, document, indent=2)
    if csv_file is not None:
        evaluations["one-to-one"].write_csv(csv_file)


def _told_by_all(detector: Detector, folder: Path) -> float | None:
    """The one size of pixels at which detection looks at all images of a folder."""
    from ..data import pair_by_stem
    from ..data.decoding import ome_pixel_size

    if not detector.knows_micrometres:
        return None
    sizes = [
        (ome_pixel_size(sample.image) or detector.image_pixel_size or 1.0, sample.image)
        for sample in pair_by_stem(folder)
    ]
    (least, fine), (most, coarse) = min(sizes), max(sizes)
    if most > _SAME_SIZE * least:
        raise InputError(
            f"radius: {fine} has pixels of {least:g} µm and {coarse} of {most:g} µm, so that one "
            "radius in pixels is not the same on both; give one with -r, or evaluate them apart"
        )
    return least


def _radius_of(detector: Detector, pixel_size: float | None) -> float:
    """Of the nuclei that a detector learnt from, in pixels of this size."""
    from ..weights.io import section_of

    radius = section_of(detector.description, "training").get("radius")
    if not isinstance(radius, (int, float)):
        raise InputError("radius: these weights do not tell theirs; give it with -r, in pixels")
    if pixel_size is None or detector.image_pixel_size is None:
        return float(radius)
    return float(radius) * detector.image_pixel_size / pixel_size


def _warn_of_unit(detector: Detector, pixel_size: float | None, console: Console) -> None:
    if None not in (pixel_size, detector.pixel_size) and not detector.knows_micrometres:
        _tell(
            console,
            f"--pixel-size: {pixel_size:g} is not taken for micrometres, as nobody knows how large "
            "the pixels were that these weights learnt from: 1 is an image like theirs, 0.5 one "
            "whose nuclei are twice as many pixels wide",
            "yellow",
        )


def _detect(
    detector: Detector,
    path: Path,
    mode: Literal["fast", "sliding"],
    region: tuple[int, int, int, int] | None,
    unfinished: Path,
    console: Console,
    **how: Any,
) -> DetectionResult | SlideResult:
    from ..data.decoding import ome_pixel_size
    from ..data.slides import open_slide, slide_of

    slide = slide_of(path) if region is None else open_slide(path)
    if slide is None:
        told = ome_pixel_size(path)
        # Of other images nobody expects that they tell.
        if told is not None and how["pixel_size"] is None:
            _tell_doubt(console, path, _doubt_of_scale(detector, told))
        return detector.detect(path, mode=mode, **how)
    with slide:
        if mode != "fast":
            raise InputError(f"{path}: mode {mode!r} is for images and not for slides; use 'fast'")
        if how["pixel_size"] is None:
            _tell_doubt(console, path, _doubt_of_scale(detector, slide.pixel_size))
        advance = how.pop("progress")
        before: list[float] = []

        def progress(share: float) -> None:
            if not before and share > 0:
                _tell(console, f"{path}: goes on from {unfinished}")
            before.append(share)
            advance(share)

        return detector.detect_slide(
            slide, region=region, checkpoint=unfinished, progress=progress, **how
        )


def _doubt_of_scale(detector: Detector, told: float | None) -> str | None:
    """What the user should know of the scale at which an image is looked at."""
    learnt = detector.image_pixel_size
    if detector.knows_micrometres and told is None:
        return (
            f"does not tell the size of its pixels, which are taken for {learnt:g} µm; "
            "--pixel-size says otherwise"
        )
    if told is not None and not detector.knows_micrometres:
        return (
            f"has pixels of {told:g} µm, but how large those were that these weights learnt from "
            "is not known: it is taken as it is; --pixel-size says otherwise"
        )
    return None


def _tell_doubt(console: Console, path: Path, doubt: str | None) -> None:
    if doubt is not None:
        _tell(console, f"{path}: {doubt}", "yellow")


def _tell(console: Console, text: str, style: str | None = None) -> None:
    """On a line of its own, whatever its length and its brackets."""
    console.print(text, style=style, markup=False, soft_wrap=True)


@contextmanager
def _telling_warnings(console: Console) -> Iterator[None]:
    """Without the place in the code, which is of no use to whoever reads them here."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _tell(console, str(message), "yellow")
        yield


def _advance(progress: Progress, task: TaskID, done: int, share: float) -> None:
    progress.update(task, completed=done + share)


def _targets(path: Path, folder: Path, formats: Sequence[str]) -> list[Path]:
    return [folder / f"{path.stem}.{extension}" for extension in formats or _FORMATS]


def _are_one(first: Path | None, second: Path | None) -> bool:
    if first is None or second is None:
        return False
    return os.path.realpath(first) == os.path.realpath(second)


def _refuse_to_overwrite(paths: list[Path], targets: list[Path]) -> None:
    """Neither images, by whatever name, nor clicks; what was detected before may go."""
    from ..data.own_files import is_own_file

    images = {os.path.realpath(path) for path in paths}
    for target in targets:
        if os.path.realpath(target) in images:
            raise InputError(f"{target}: is the image itself, which would be lost; choose another")
        if target.is_file() and not is_own_file(target):
            raise InputError(
                f"{target}: holds something else than detections, such as clicks, which would be "
                "lost; choose another name, or delete it"
            )


def _refuse_to_overwrite_samples(folder: Path, target: Path) -> None:
    from ..data import pair_by_stem

    samples = pair_by_stem(folder)
    taken = {os.path.realpath(path) for s in samples for path in (s.image, s.points)}
    if os.path.realpath(target) in taken:
        raise InputError(
            f"{target}: is one of the files to evaluate on, which would be lost; choose another"
        )


def _refuse_equal_stems(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would be written to the same files; detect them one by one, "
                "or rename one"
            )
