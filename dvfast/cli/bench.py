"""``dvfast bench``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .app import app, check_device, show_table


@app.command(short_help="How fast it is here, and what else there is.")
@click.option("--quick", is_flag=True, help="The main comparisons, within a minute.")
@click.option(
    "--only",
    "patterns",
    multiple=True,
    metavar="NAME",
    help="Only this comparison; may be repeated, and a pattern such as 'scan*'. See --list.",
)
@click.option("--list", "show_list", is_flag=True, help="Name all comparisons and stop.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write a record after every comparison; a run that was stopped goes on from there.",
)
@click.option("--fresh", is_flag=True, help="Start anew even if there is a record.")
@click.option(
    "--again",
    is_flag=True,
    help="Measure what --only names anew in a record, be it of another commit.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write a page with plots, performance.md, into this folder.",
)
@click.option("--repeats", type=click.IntRange(min=2), help="Rounds. [default: 7, with --quick 3]")
@click.option("--threads", type=click.IntRange(min=1), help="[default: PyTorch's own choice]")
@click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda:1.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Annotated images, for accuracy against speed.",
)
@click.option(
    "--peers",
    type=click.Path(exists=True, dir_okay=False),
    metavar="PYTHON",
    help="An interpreter that has other tools installed, such as `make bench-peers` sets up.",
)
def bench(
    quick: bool,
    patterns: tuple[str, ...],
    show_list: bool,
    output: Path | None,
    fresh: bool,
    again: bool,
    report: Path | None,
    repeats: int | None,
    threads: int | None,
    device: str,
    data: str | None,
    peers: str | None,
) -> None:
    """Measure dvfast against what one would otherwise write, and against this machine's limits.

    \b
    dvfast bench --quick                         the main comparisons
    dvfast bench -o here.json --report here      everything, with a page and plots

    Contenders of a table take turns, and are compared before they are timed. The exit code is 1 if
    two of them disagree.
    """
    import torch

    from ..bench.contest import Settings
    from ..bench.page import write_report
    from ..bench.records import Record
    from ..bench.suite import ENTRIES, conditions, run, select
    from ..bench.tables import table_of

    if show_list:
        for entry in ENTRIES:
            note = f" [needs --{entry.needs}]" if entry.needs else ""
            click.echo(f"{entry.name:<24}{entry.title}{note}")
        return
    check_device(device)
    settings = Settings(
        quick=quick,
        repeats=repeats or (3 if quick else 7),
        device=torch.device(device),
        threads=threads or torch.get_num_threads(),
        data=data,
        peers=peers,
    )
    entries = select(patterns, settings)
    if again and not patterns:
        raise click.UsageError("--again needs --only: the names of what is to be measured anew")
    names = [entry.name for entry in entries] if again else []
    record = Record(output, conditions(settings), fresh=fresh, again=names)
    console = Console(width=None if sys.stdout.isatty() else 120)
    failed = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("measuring", total=len(entries))

        def advance(done: float) -> None:
            name = entries[min(int(done), len(entries) - 1)].name
            progress.update(task, completed=done, description=name)

        for entry, result in run(entries, settings, record, advance):
            if "rows" not in result:
                failed += [entry.name] if "error" in result else []
                why = result.get("skipped") or result["error"]
                console.print(f"{entry.name}: [yellow]not measured[/yellow], {escape(why)}\n")
                continue
            # The page has room for quartiles; a terminal has not.
            show_table(console, table_of(result), hidden=("quartiles",))
    if report is not None:
        console.print(f"{write_report(report, record.data)}", highlight=False, markup=False)
    if failed:
        raise click.ClickException(f"contenders disagree in {', '.join(failed)}")
