"""``dvfast train``."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .app import app, check_device, finite

if TYPE_CHECKING:
    from ..training import TrainingConfig


@app.command(short_help="Clicks in, weights out.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A folder.")
@click.option(
    "--preset",
    type=click.Choice(["unet", "modern", "paper"]),
    default="unet",
    show_default=True,
    help="Settings to start from: a U-Net that casts votes, best and fastest; the paper's network, "
    "trained by today's means; or all as the paper has it, which is slow.",
)
@click.option(
    "--nucleus-radius",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    metavar="PIXELS",
    help="Mean radius of a nucleus in the images: sets all lengths in proportion. [default: 6.6, "
    "of the preset; of paper, the paper's lengths]",
)
@click.option(
    "--validation",
    "validation_folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Images and clicks to validate on, as of other slides. [default: a part of FOLDER]",
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
    nucleus_radius: float | None,
    validation_folder: Path | None,
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
    dvfast train tiles/train -o runs/mine --nucleus-radius 7

    A run that was stopped goes on where it was when the same command is given again. It also runs
    under torchrun.
    """
    from ..training import fit

    settings = _training_config(preset, nucleus_radius, config, changes)
    if show:
        click.echo(json.dumps(settings.to_dict(), indent=2))
        return
    check_device(device)
    leads = int(os.environ.get("RANK", 0)) == 0  # under torchrun, one process speaks for all
    given = {*_loaded(config), *map(_name, changes)}
    if leads and nucleus_radius is None and given.isdisjoint(("radius", "r1")):
        _tell_lengths(preset, settings)
    description = {
        "name": data_name or folder.resolve().name,
        "licence": data_licence,
        "attribution": data_attribution,
    }
    checkpoint = output / "checkpoint.safetensors"
    of_before = _changed_at(checkpoint) if fresh else None
    try:
        result = fit(
            folder,
            output,
            settings,
            resume=not fresh,
            device=device,
            data_description=description,
            validation_folder=validation_folder,
        )
    except KeyboardInterrupt:
        # With --fresh, what was there before is of the run that was to be forgotten.
        if leads and _changed_at(checkpoint) not in (None, of_before):
            without = ", without --fresh," if fresh else ""
            click.echo(f"Stopped; the same command{without} goes on from {checkpoint}", err=True)
        raise
    if not leads:
        return
    score = "" if result.best_f1 is None else f", F1 {result.best_f1:.4f} in validation"
    click.echo(f"{result.weights_path}{score}")


def _training_config(
    preset: str, nucleus_radius: float | None, file: Path | None, changes: tuple[str, ...]
) -> TrainingConfig:
    """The preset, then the file, then lengths by the radius, then single settings."""
    from ..training import TrainingConfig

    values = _merged(getattr(TrainingConfig, preset)().to_dict(), _loaded(file))
    if nucleus_radius is None:
        return TrainingConfig.from_dict(_changed(values, changes))
    # The scale of the network may be among the changes, which lengths depend on; lengths that are
    # given are not scaled, and lambda goes with the r1 that there is in the end.
    others = tuple(change for change in changes if _name(change) not in ("r1", "r2"))
    scaled = TrainingConfig.from_dict(_changed(values, others)).for_nuclei(nucleus_radius)
    config = TrainingConfig.from_dict(_changed(scaled.to_dict(), changes))
    if any(_name(change) == "lam" for change in changes):
        return config
    return dataclasses.replace(config, lam=scaled.lam * (config.r1 / scaled.r1) ** 2)


def _changed_at(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.exists() else None


def _loaded(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{file}: must hold one JSON object of settings")
    return loaded


def _tell_lengths(preset: str, settings: TrainingConfig) -> None:
    """Of what size nuclei are taken to be, as nobody has said it."""
    lengths = "are the paper's"
    if preset != "paper":
        scale = "" if settings.scale == 1 else " at the network's scale"
        lengths = f"are for nuclei of a radius of {settings.radius:g} pixels{scale}"
    click.echo(f"Lengths {lengths}; --nucleus-radius sets them for others.", err=True)


def _name(change: str) -> str:
    return change.partition("=")[0]


def _merged(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """`values` with what `others` say, which need not say all of a section."""
    result = dict(values)
    for name, other in others.items():
        own = values.get(name)
        if isinstance(own, dict) and isinstance(other, dict):
            result[name] = _merged(own, other)
        else:
            result[name] = other
    return result


def _changed(values: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    values = copy.deepcopy(values)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise click.BadParameter(f"{change!r} must be NAME=VALUE", param_hint="--set")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        place: Any = values
        *parents, last = name.split(".")
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise InputError(f"--set {change}: there is no setting {name}")
        place[last] = value
    return values
