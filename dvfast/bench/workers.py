"""Runs other tools of the field, each in a process of another Python environment.

What is run there is in :mod:`.other_tools`. Here nothing of it is imported, so this module runs in
our environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["TOOLS", "ToolError", "Worker", "available"]

TOOLS = ("blob_log", "stardist", "spotiflow", "cellpose", "instanseg")

_REST, _LONGEST_REST = 0.1, 5.0  # seconds

_WORKER = Path(__file__).with_name("other_tools")


class ToolError(RuntimeError):
    """A tool could not do what it was asked for."""


class Worker:
    """One tool in one process; `about` is what it says of itself.

    Many can be open at once, so that their runs can take turns; an idle one takes no CPU time.
    """

    def __init__(
        self, python: str | Path, tool: str, *, threads: int, timeout: float = 600.0
    ) -> None:
        self.tool = tool
        self._timeout = timeout
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed in `close`)
        # Of our environment nothing is to be imported there.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        try:
            self._process = subprocess.Popen(
                [str(python), str(_WORKER), tool, "--threads", str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
                start_new_session=True,  # a process group of its own, to be ended as a whole
            )
        except OSError as error:
            self._log.close()
            raise ToolError(f"{tool}: {python} does not start: {error}") from error
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.about = self._answer("start")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, run: str, **arguments: Any) -> dict[str, Any]:
        """Have `load`, `forward` or `postprocess` run; its answer, with `seconds`.

        `load` takes `image` (path of an .npy file) and, if they are not to be the default, `radius`
        and `nuclei`. The first run of each after it is for warming up.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"run": run, **arguments}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # ended, or closed by us
            raise ToolError(f"{self.tool} is not running any more: {self._tail()}") from error
        answer = self._answer(run)
        self._rest()
        return answer

    def _rest(self) -> None:
        """Wait until it computes no more: what it gives back, it may give back after its answer."""
        before, deadline = None, time.monotonic() + _LONGEST_REST
        while (now := self._cpu_time()) != before and time.monotonic() < deadline:
            before = now
            time.sleep(_REST)

    def _cpu_time(self) -> str | None:
        """In ticks, where the system tells."""
        try:
            status = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return None
        return " ".join(status.rpartition(")")[2].split()[11:13])

    def close(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not flushed has nobody to read it
                    pipe.close()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _answer(self, run: str) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self._timeout)
        except queue.Empty:
            tail = self._tail()
            self.close()  # its answer to this would be taken for that to the next request
            raise ToolError(
                f"{self.tool}: no answer to {run} within {self._timeout:g} s; {tail}"
            ) from None
        if line is None:
            self._lines.put(None)
            raise ToolError(f"{self.tool} ended during {run}: {self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ToolError(f"{self.tool}, {run}: {answer['error']}")
        return answer

    def _tail(self) -> str:
        """The last lines that it wrote to stderr."""
        if self._log.closed:
            return "it was closed"
        self._log.seek(0)
        lines = self._log.read().splitlines()[-5:]
        return " | ".join(line.strip() for line in lines) or "it wrote nothing to stderr"


def available(python: str | Path, *, timeout: float = 120.0) -> dict[str, str]:
    """Of each tool its version, or "cannot run: " and the reason; starts each of them once."""
    found = {}
    for tool in TOOLS:
        try:
            with Worker(python, tool, threads=1, timeout=timeout) as worker:
                found[tool] = str(worker.about["version"])
        except ToolError as error:
            found[tool] = f"cannot run: {error}"
    return found
