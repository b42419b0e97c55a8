"""One tool of the field in a process of its own: JSON lines in, JSON lines out.

    python PATH/TO/other_tools TOOL --threads N

The first line is about the tool: version, what exactly is run, threads. Then requests are answered:
`{"run": "load", "image": "a.npy", "radius": 6.6, "nuclei": 400}` (H x W x 3, float32, 0 to 1),
`{"run": "forward"}`, `{"run": "postprocess"}` and `{"run": "quit"}`. An answer is one line with
`seconds` and `cpu_seconds` (of the work only: arguments are made and results are checked outside)
or with `error`.

Weights are random, so `forward` says something about speed only. `postprocess` has nothing to do
with `forward`: it gets the maps that a trained network would put out for round nuclei.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from typing import Any, TextIO

from .blob_log import BlobLog
from .cellpose import Cellpose
from .instanseg import InstanSeg
from .scene import RADIUS
from .spotiflow import Spotiflow
from .stardist import StarDist
from .tool import Tool

TOOLS: dict[str, type[Tool]] = {
    "blob_log": BlobLog,
    "stardist": StarDist,
    "spotiflow": Spotiflow,
    "cellpose": Cellpose,
    "instanseg": InstanSeg,
}


def _set_threads(threads: int) -> None:
    """All of these are read when a library is loaded, so this comes before the imports."""
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"


def _take_stdout() -> TextIO:
    """The real stdout; whatever else writes there, compiled code included, goes to stderr."""
    real = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return real


def respond(tool: Tool, request: dict[str, Any]) -> dict[str, Any]:
    run = request.get("run")
    if run == "load":
        return tool.load(request["image"], request.get("radius", RADIUS), request.get("nuclei"))
    if run in ("forward", "postprocess") and run in tool.runs:
        if tool.image is None or tool.scene is None:
            raise RuntimeError("no image was loaded")
        return tool.forward() if run == "forward" else tool.postprocess()
    raise ValueError(f"{run!r} is not one of {', '.join(tool.runs)}")


def _error(error: Exception) -> dict[str, str]:
    traceback.print_exc(file=sys.stderr)
    return {"error": f"{type(error).__name__}: {error}"}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", choices=sorted(TOOLS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    _set_threads(arguments.threads)
    output = _take_stdout()

    def send(answer: dict[str, Any]) -> None:
        output.write(json.dumps(answer) + "\n")

    start = time.perf_counter()
    try:
        tool = TOOLS[arguments.tool](arguments.threads)
        send(
            {
                "seconds": time.perf_counter() - start,
                "tool": arguments.tool,
                "version": tool.version(),
                "runs": tool.runs,
                **tool.about,
                "parameters": tool.parameters(),
                "threads": tool.thread_counts(),
            }
        )
    except Exception as error:
        send(_error(error))
        return 1
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if request.get("run") == "quit":
                send({"seconds": 0.0})
                return 0
            answer = respond(tool, request)
        except Exception as error:
            answer = _error(error)
        send(answer)
    return 0
