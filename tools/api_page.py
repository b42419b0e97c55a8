"""Writes the page of everything public: python tools/api_page.py docs/api.md"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

HEAD = """\
# Everything public

What stands here is promised, all else is not. `tools/api_page.py` makes this page of the
docstrings, which have shapes, units, errors and examples: `help(dvfast.fit)`. On the command line:
`dvfast --help`.
"""

# In the order of use; a name is described where it is first met.
MODULES = {
    "dvfast": "Images in, nuclei out; training; and the operators",
    "dvfast.nn": "Networks, and the operators as layers",
    "dvfast.functional": "The operators, all those above and",
    "dvfast.data": "Images, slides, clicks and the files that hold them",
    "dvfast.detection": "What detection gives",
    "dvfast.training": "Training",
    "dvfast.evaluation": "How good detections are",
    "dvfast.weights": "Files of weights",
    "dvfast.baselines": "What deep voting is compared with",
    "dvfast.reference": "The paper in plain PyTorch, which every kernel is tested against",
    "dvfast.gradcheck": "Gradients, checked",
    "dvfast.errors": "Errors",
}


def page() -> str:
    """The whole of it."""
    told: set[int] = set()
    return "\n".join([HEAD, *(line for name in MODULES for line in _section(name, told))])


def _section(module_name: str, told: set[int]) -> Iterator[str]:
    module = importlib.import_module(module_name)
    own = {name: getattr(module, name) for name in module.__all__}
    new = {name: value for name, value in own.items() if id(value) not in told}
    told |= {id(value) for value in own.values()}
    yield f"## `{module_name}`: {MODULES[module_name][0].lower()}{MODULES[module_name][1:]}\n"
    yield "| | |\n|---|---|"
    for name, value in sorted(new.items(), key=lambda item: (_kind(item[1]), item[0].lower())):
        yield f"| `{name}` | {_summary(value)} |"
    yield ""


def _kind(value: object) -> int:
    return 0 if inspect.isclass(value) else 1 if inspect.isfunction(value) else 2


def _summary(value: object) -> str:
    """The first sentence of its docstring; of a constant, what it is."""
    if not (inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value)):
        if isinstance(value, (tuple, Mapping)):
            return ", ".join(f"`{each}`" for each in value)
        return f"`{value}`".replace("typing.", "")
    first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", first).replace("``", "`")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
