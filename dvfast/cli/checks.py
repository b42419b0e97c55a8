"""``dvfast gradcheck`` and ``dvfast info``."""

from __future__ import annotations

import json
import sys

import click
from rich import box
from rich.console import Console
from rich.table import Table

from .. import __version__, build_info
from .app import app, check_device, has_cuda_kernels, tracked, weights_path


@app.command(short_help="Every operator's gradient, checked here and now.")
@click.option("--device", multiple=True, help="May be repeated. [default: all there are]")
def gradcheck(device: tuple[str, ...]) -> None:
    """Compare every operator's gradient with autograd through the reference and with differences.

    The exit code is 1 if one of them is off.
    """
    import torch

    from ..gradcheck import check_gradients

    for name in device:
        check_device(name)
    devices = device or ("cpu", *(["cuda"] if has_cuda_kernels() else []))
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
        for check in tracked(check_gradients(torch.device(name)), f"checking on {name}"):
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


@app.command(short_help="Version, build, devices, shipped weights.")
@click.option("-w", "--weights", metavar="NAME|FILE", help="Describe these weights as JSON.")
def info(weights: str | None) -> None:
    """Tell what this installation is, or what is known about WEIGHTS."""
    import torch

    from .._library import cpu_info
    from ..weights import available, load_weights

    if weights is not None:
        _, description = load_weights(weights_path(weights))
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
