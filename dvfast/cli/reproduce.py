"""``dvfast reproduce``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from rich.console import Console

from .app import app, check_device, finite, show_table

if TYPE_CHECKING:
    from ..baselines import Stain

_QUICK_STEPS, _QUICK_TUNING, _QUICK_SLIDING, _QUICK_TEST = 100, 2, 1, 3

# The page has room for these, a terminal has not.
_WIDE = ("P, macro", "R, macro", "μ_n ± σ_n, A − TP")


# Of both commands.
_folders = click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
_output = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="For records and trainings; a run that was stopped goes on from there.",
)
_radius = click.option(
    "--radius",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Mean radius of a nucleus in pixels, for folders of your own.",
)
_device = click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda:1.")


def _list(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value:
        return
    from ..reproduce.methods import METHODS

    for method in METHODS.values():
        click.echo(f"{method.key:<12}{method.name}; {method.citation}")
    context.exit()


def _list_variations(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value:
        return
    from ..reproduce.variations import VARIATIONS

    for variation in VARIATIONS:
        click.echo(f"{variation.group:<14}{variation.name}")
    context.exit()


@app.group(short_help="The paper's experiments on open data.")
def reproduce() -> None:
    """Repeat the paper's experiments on open data."""


@reproduce.command(short_help="Deep voting beside its competitors.")
@_folders
@_output
@click.option("--methods", metavar="A,B,...", help="Only these rows; see --list. [default: all]")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="Name all rows and stop.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--seeded",
    metavar="A,B,...",
    help="Only these rows with all seeds, others with the first. [default: all]",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Of every training. [default: its settings' own]"
)
@click.option(
    "--sliding-images",
    type=click.IntRange(min=1),
    help="Test images on which DV-1 and DV-3 really slide. [default: 2, with --quick 1]",
)
@click.option(
    "--tuning-images",
    type=click.IntRange(min=1),
    help="That a classical method sees, at most. [default: 15, with --quick 2]",
)
@click.option("--quick", is_flag=True, help="Minutes, to see that all works; nothing more.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write here: reproduction/NAME.md with its figures, NAME.csv, NAME.json, a record from "
    "which a run in another folder can go on; and reproduction.md, the summary of such pages.",
)
@_radius
@click.option("--stain", help="Where the nuclei are, for folders of your own. [default: dark]")
@_device
def table1(
    folders: tuple[Path, ...],
    output: Path,
    methods: str | None,
    seeds: int,
    seeded: str | None,
    steps: int | None,
    sliding_images: int | None,
    tuning_images: int | None,
    quick: bool,
    report: Path | None,
    radius: float | None,
    stain: Stain | None,
    device: str,
) -> None:
    """Compare deep voting with other methods on FOLDERS, each with train/ and test/ in it.

    \b
    dvfast reproduce table1 endonuke_ihc bbbc038_fluo -o runs/table1 --report docs

    The names endonuke_ihc, bbbc038_histology and bbbc038_fluo are known; other folders need
    --radius. Everything is chosen on train/, and test/ is measured on.
    """
    from ..reproduce.data_sets import data_set
    from ..reproduce.methods import select
    from ..reproduce.page import write_page
    from ..reproduce.protocol import compare
    from ..reproduce.records import PRIMARY
    from ..reproduce.settings import Progress, Settings
    from ..reproduce.summary import write_summary
    from ..reproduce.tables import entries_of, score_table, time_table

    chosen = select(methods)
    settings = Settings(
        seeds=seeds,
        seeded=None if seeded is None else tuple(method.key for method in select(seeded, "seeded")),
        steps=steps or (_QUICK_STEPS if quick else None),
        tuning_images=tuning_images or (_QUICK_TUNING if quick else Settings.tuning_images),
        sliding_images=sliding_images or (_QUICK_SLIDING if quick else Settings.sliding_images),
        test_images=_QUICK_TEST if quick else None,
        device=device,
    )
    check_device(device)
    progress = Progress(shown=True)
    data_sets = [data_set(folder, radius, stain) for folder in folders]
    # A quick run must not replace what took hours.
    suffix = "-quick" if quick else ""
    records = compare(data_sets, chosen, output, settings, progress, suffix)
    console = _console()
    for name, record in records.items():
        entries = entries_of(record, [method.key for method in chosen], settings.seeds_of)
        for table in (score_table(record, entries, PRIMARY), time_table(record, entries)):
            show_table(console, replace(table, title=f"{name}: {table.title}"), _WIDE)
    if report is not None:
        pages = report / f"reproduction{suffix}"
        for item in progress.track(data_sets, "drawing"):
            command = _command([item.name], click.get_current_context())
            write_page(pages, records[item.name], item, chosen, settings, command)
        console.print(f"{write_summary(pages)}", highlight=False, markup=False)


@reproduce.command(short_help="What each setting of deep voting is worth.")
@_folders
@_output
@click.option("--steps", type=click.IntRange(min=1), help="Of every training. [default: 2500]")
@click.option(
    "--only", metavar="GROUP,...", help="Only these groups of settings; see --list. [default: all]"
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_variations,
    help="Name all groups and variations, and stop.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write ablation.md here.",
)
@_radius
@_device
def ablation(
    folders: tuple[Path, ...],
    output: Path,
    steps: int | None,
    only: str | None,
    report: Path | None,
    radius: float | None,
    device: str,
) -> None:
    """Change one setting of deep voting after the other on FOLDERS, each with train/ in it.

    \b
    dvfast reproduce ablation endonuke_ihc -o runs/ablation --only votes,loss --report docs

    The names endonuke_ihc, bbbc038_histology and bbbc038_fluo are known; other folders need
    --radius. All is done on train/; test/ is not looked at. All groups are some 35 trainings of
    every folder.
    """
    from ..reproduce.ablation import ablate
    from ..reproduce.ablation_page import ablation_table, chosen_entries, write_ablation
    from ..reproduce.data_sets import data_set
    from ..reproduce.settings import Progress, Settings
    from ..reproduce.variations import select_groups

    chosen = select_groups(only)
    check_device(device)
    data_sets = [data_set(folder, radius, tested=False) for folder in folders]
    settings = Settings(steps=steps, device=device)
    records = ablate(data_sets, chosen, output, settings, Progress(shown=True))
    console = _console()
    for name, record in records.items():
        table = ablation_table(record, chosen_entries(record, chosen))
        show_table(console, replace(table, title=f"{name}: {table.title}"))
    if report is not None:
        command = _command([item.name for item in data_sets], click.get_current_context())
        path = write_ablation(report, records, chosen, command)
        console.print(f"{path}", highlight=False, markup=False)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160)


def _command(names: list[str], context: click.Context) -> str:
    """What was asked for, without the paths of this machine."""
    experiment = context.info_name
    parts = [f"dvfast reproduce {experiment}", *names, f"-o runs/{experiment}"]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("folders", "output", "report"):
            option = parameter.opts[0]
            parts.append(option if value is True else f"{option} {value}")
    return " ".join([*parts, "--report docs"])
