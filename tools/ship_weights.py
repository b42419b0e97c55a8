"""Make the networks of a comparison those that come with dvfast.

    python tools/ship_weights.py runs/table1

reads what `dvfast reproduce table1 ... -o runs/table1` left there. Of every data set the voting
U-Net becomes NAME.safetensors and the paper's network NAME-patch.safetensors, with their scores on
the test images inside.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dvfast import Detector
from dvfast.errors import InputError
from dvfast.reproduce.methods import METHODS
from dvfast.reproduce.records import CONDITIONS, load_record
from dvfast.reproduce.statistics import summarise

_WEIGHTS = Path(__file__).parents[1] / "dvfast" / "weights"
_NAMES = {"endonuke_ihc": "ihc", "bbbc038_histology": "histology", "bbbc038_fluo": "fluorescence"}
_ROWS = {"dv-u": "", "default": "-patch"}
_SEED = 0


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--only", multiple=True, metavar="NAME", help="Such as histology or ihc-patch.")
def main(folder: Path, only: tuple[str, ...]) -> None:
    for data_set, name in _NAMES.items():
        for row, suffix in _ROWS.items():
            if not only or f"{name}{suffix}" in only:
                record = load_record(folder / f"{data_set}.json")
                target = _WEIGHTS / f"{name}{suffix}.safetensors"
                _ship(folder / "trainings" / data_set, record, row, target)


def _ship(trainings: Path, record: dict[str, Any], row: str, target: Path) -> None:
    network = METHODS[row].network
    assert network is not None
    found = sorted(trainings.glob(f"{network.name}-{_SEED}-*/weights.safetensors"))
    if len(found) != 1:
        raise InputError(f"{trainings}: has {len(found)} trainings of {network.name}, expected one")
    detector = Detector.load(found[0])
    entry = record["entries"][f"{row}/{_SEED}"]
    radius = record["data_set"]["radius"]
    scores = {
        f"{condition.mode}, {condition.share * radius:g} px": vars(
            summarise(record, [entry], condition).micro
        )
        for condition in CONDITIONS
    }
    # As the row reads it, which may not be as training chose.
    on_validation = {"f1": entry["parameters"]["validation_f1"], "radius": radius}
    detector.description["scores"] |= {"tuned_on_validation": on_validation, "test": scores}
    detector.settings = replace(
        detector.settings,
        threshold=entry["parameters"]["threshold"],
        centroid_radius=entry["parameters"].get("centroid_radius", 0.0),
    )
    if not record["data_set"]["image_pixel_size"]:
        detector.description["data"]["pixel_size_unit"] = (
            f"a pixel of the training images, whose nuclei have a mean radius of {radius:g}; their "
            "size in micrometres is not known"
        )
    detector.save(target)
    click.echo(f"{target.name}: {scores}")


if __name__ == "__main__":
    main()
