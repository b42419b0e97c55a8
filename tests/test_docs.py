"""What the pages tell one to write runs."""

from __future__ import annotations

import re
import runpy
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.exceptions import NoArgsIsHelpError
from support import generator, one_thread

__all__ = ["one_thread"]

import dvfast
from dvfast.cli.app import app
from dvfast.errors import InputError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def commands(text: str) -> list[tuple[str, bool]]:
    """What pages have of `dvfast ...`, and whether in a line of its own, where it is whole."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for _, block in fenced for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(dvfast [^`]*)`", text.replace("\n", " "))
    own = [line.split(" #")[0].split("   ")[0] for line in lines if line.startswith("dvfast ")]
    every = [*((command, True) for command in own), *((command, False) for command in inline)]
    return [(command, whole) for command, whole in every if "..." not in command]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_understood(page: Path) -> None:
    """Their options are there, and what they need is given; nothing is run."""
    for text, whole in commands(page.read_text()):
        _, *arguments = shlex.split(text)
        command: click.Command = app
        context: click.Context | None = None
        while isinstance(command, click.Group) and arguments and arguments[0] != "--help":
            context = click.Context(command, parent=context)
            name, *arguments = arguments
            found = command.get_command(context, name)
            assert found is not None, text
            command = found
        with pytest.raises(click.exceptions.Exit) if "--help" in arguments else nullcontext():
            try:
                command.make_context(command.name, arguments, parent=context)
            except (click.MissingParameter, click.BadOptionUsage, NoArgsIsHelpError):
                assert not whole, text


def test_the_page_of_everything_public_is_current() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "api_page.py"))["page"]()
    assert (DOCS / "api.md").read_text(encoding="utf-8") == made


def test_the_readmes_operators_run() -> None:
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = "import dvfast\n" + code[code.index("# Or the operators alone") :]
    logits = torch.zeros(1, 6, 400, 400, requires_grad=True)
    names: dict[str, Any] = {"clicks": torch.tensor([[100.0, 120.0]]), "logits": logits}
    exec(code, names)
    assert logits.grad is not None
    assert names["density"].shape == (1, 400, 400)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    text = (DOCS / "training.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    image, clicks = torch.ones(3, 60, 70), torch.tensor([[15.0, 20.0], [40.0, 22.0], [30.0, 50.0]])
    y, x = torch.meshgrid(torch.arange(60), torch.arange(70), indexing="ij")
    for nucleus in clicks:
        image[:, (y - nucleus[0]).square() + (x - nucleus[1]).square() < 16] = 0.2
    torch.manual_seed(0)
    names: dict[str, Any] = {"crops": [(image, clicks)] * 150}
    exec(code, names)
    detector, net = names["detector"], names["net"]
    found = detector.detect(image.movedim(0, 2).numpy())
    order = np.lexsort(clicks.numpy().T[::-1])
    np.testing.assert_allclose(found.points, clicks.numpy()[order], atol=2)
    with pytest.raises(InputError, match="net: came as a Dilated"):
        detector.save(tmp_path / "mine.safetensors")
    again = names["Dilated"](**net.architecture)
    again.load_state_dict(net.state_dict())
    probe = torch.rand(3, 20, 30, generator=generator(0))
    with pytest.warns(RuntimeWarning, match="it is a Dilated"):
        assert torch.equal(dvfast.scan(again, probe), dvfast.scan(net, probe))
