"""``make gpu-check``: everything that a GPU alone can tell, as one record.

Needs torch, setuptools, ninja, NumPy, SciPy, Pillow, safetensors and pytest in the interpreter that
runs it, and nvcc; no network and no virtual environment. Builds in place with CUDA, then checks,
each step in a process of its own and for so long at most: what fails, hangs or breaks the device is
noted and the rest goes on. The record is written after every step, under ``benchmarks/results`` or
``--output``; the exit code is 1 if anything failed. ``--only build,tests`` runs a part, in the
order of the whole; ``--seconds 600`` ends with what can be done in that time.

``--device cpu`` rehearses the script where there is no GPU, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What needs no test package but pytest.
_TESTS = (
    "tests/operators",
    "tests/test_nn.py",
    "tests/test_packed_weights.py",
    "tests/test_scan.py",
    "tests/test_scan_arguments.py",
    "tests/test_scan_engine.py",
    "tests/test_unet_engine.py",
    "tests/test_voting_unet.py",
    "tests/detection/test_graph.py",
    "tests/detection/test_slide.py",
)
# Seconds that a step may take.
_LIMITS = {
    "build": 400,
    "machine": 60,
    "same_bits_as_cpu": 120,
    "streams_and_graphs": 60,
    "accuracy": 60,
    "gradients": 60,
    "tests": 400,
    "other_devices": 120,
    "memcheck": 240,
    "racecheck": 240,
    "benchmarks": 240,
    "scans": 200,
    "large_scans": 300,
}
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tools")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(_LIMITS))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--step", choices=_LIMITS, help=argparse.SUPPRESS)
    parser.add_argument("--sanitized", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = arguments.device
    if unknown := set(arguments.only) - set(_LIMITS):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(_LIMITS)}")
    if arguments.sanitized:
        from gpu_comparisons import compare_with_cpu, scans_by_matrices

        compare_with_cpu("cuda", small=True)
        scans_by_matrices("cuda")
    elif arguments.step:
        print(json.dumps(STEPS[arguments.step](device)))
    else:
        check(device, arguments.only, arguments.output, arguments.seconds)


def check(device: str, chosen: list[str], folder: Path, seconds: float) -> None:
    record: dict[str, Any] = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    failed: list[str] = []
    record["failed"] = failed
    target = folder / f"{name_of(device, chosen)}.json"
    end = time.monotonic() + seconds
    for name in (step for step in _LIMITS if step in chosen):
        start = time.monotonic()
        try:
            # Apart, since a fault of one kernel leaves a process without its device.
            command = [sys.executable, __file__, "--device", device, "--step", name]
            limit = min(_LIMITS[name], end - start)
            record[name] = json.loads(run(command, limit).splitlines()[-1])
        except Exception as error:  # one failure must not cost the other answers
            failed.append(name)
            record[name] = {"failed": str(error)}
        verdict = "FAILED" if name in failed else "ok"
        print(f"{name}: {verdict}, {time.monotonic() - start:.0f} s", flush=True)
        if device != "cpu":
            write(record, target)
    print(json.dumps(record, indent=2))
    sys.exit(1 if failed else 0)


def name_of(device: str, chosen: list[str]) -> str:
    """Of the record: the GPU, and the first of the steps if they are not all."""
    import torch

    gpu = torch.cuda.get_device_name(0) if device != "cpu" and torch.cuda.is_available() else ""
    part = "" if chosen == list(_LIMITS) else chosen[0]
    words = re.sub(r"\W+", "-", gpu).strip("-").lower()
    return "-".join(filter(None, ("gpu-check", words, part)))


def write(record: dict[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=2) + "\n")
    temporary.replace(target)


def build(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {}
    import torch

    # For this GPU alone: seven times as fast.
    own = ".".join(map(str, torch.cuda.get_device_capability()))
    run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        DVFAST_CUDA="1",
        TORCH_CUDA_ARCH_LIST=own,
    )
    import dvfast

    return dvfast.build_info()


def machine(device: str) -> dict[str, Any]:
    import torch

    import dvfast

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dvfast": dvfast.__version__,
        "commit": os.environ.get("DVFAST_COMMIT")
        or told_by("git", "describe", "--always", "--dirty"),
    }
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "driver": told_by(
                "nvidia-smi", "--id=0", "--query-gpu=driver_version", "--format=csv,noheader"
            ),
        }
    return found


def told_by(*command: str) -> str:
    try:
        return run(list(command)).strip()
    except (OSError, RuntimeError):
        return "unknown"


def tests(device: str) -> dict[str, Any]:
    chosen = "not cuda" if device == "cpu" else "cuda"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={report}"]
        # After a fault of a kernel every test of its process fails: the first tell which.
        command += ["--maxfail=100", "-m", chosen]
        if find_spec("xdist") and device != "cpu":
            command += ["-n", "4"]
        if find_spec("pytest_timeout"):
            command += ["--timeout=120"]
        try:
            run(
                [*command, *_TESTS],
                _LIMITS["tests"] - 20,  # so that what was told until then is told
                DVFAST_REQUIRE_CUDA="0" if device == "cpu" else "1",
            )
        except RuntimeError as error:
            failed = list(failures(report)) if report.exists() else []
            raise RuntimeError("\n".join([f"{len(failed)} failed", *failed, str(error)])) from None
        suite = next(xml.parse(report).iter("testsuite"))
        return {what: int(suite.get(what, 0)) for what in ("tests", "skipped")}


def failures(report: Path) -> Iterator[str]:
    for case in xml.parse(report).iter("testcase"):
        for what in (*case.findall("failure"), *case.findall("error")):
            yield f"{case.get('classname')}::{case.get('name')}: {what.get('message', '')[:300]}"


def gradients(device: str) -> list[dict[str, Any]]:
    from dvfast.gradcheck import check_gradients

    checks = list(check_gradients(device))
    wrong = [check for check in checks if not check.passed]
    if wrong:
        raise RuntimeError(f"gradients are wrong: {wrong}")
    return [{"operator": c.operator, "dtype": c.dtype, "error": c.error} for c in checks]


def same_bits(device: str) -> dict[str, bool]:
    from gpu_comparisons import compare_with_cpu

    return compare_with_cpu(device)


def accuracy(device: str) -> dict[str, Any]:
    from gpu_comparisons import deviations_from_float64, taps_by_warpgroups

    if wrong := taps_by_warpgroups(device):
        raise RuntimeError(f"the head by warpgroups takes taps from wrong places: {wrong}")
    found = deviations_from_float64(device)
    most = 3 * found["exact"]["root_mean_square"]
    if any(f["root_mean_square"] > most for name, f in found.items() if "float32" in name):
        raise RuntimeError(f"float32 has not the accuracy of float32: {found}")
    return found


def streams_and_graphs(device: str) -> dict[str, bool]:
    import gpu_comparisons

    return {} if device == "cpu" else gpu_comparisons.streams_and_graphs(device)


def other_devices(device: str) -> dict[str, Any]:
    import torch

    if device == "cpu" or torch.cuda.device_count() < 2:
        return {"devices": 0 if device == "cpu" else torch.cuda.device_count()}
    return {"devices": torch.cuda.device_count(), "same bits": same_bits("cuda:1")}


def sanitizer(device: str, tool: str) -> dict[str, str]:
    if device == "cpu":
        return {"skipped": "no GPU"}
    from cuda_build import cuda_home

    found = shutil.which("compute-sanitizer") or f"{cuda_home()}/bin/compute-sanitizer"
    # Ours alone: torch's kernels are many, and what it asks of the driver may fail on purpose.
    chosen = ["--kernel-name", "kns=dvfast", "--report-api-errors", "no"]
    # The CPU's half comes first, before there is a device to attach to. Few of many alike say all.
    chosen += ["--launch-timeout", "0", "--print-limit", "20", "--error-exitcode", "9"]
    told = run(
        [found, "--tool", tool, *chosen, sys.executable, __file__, "--sanitized"],
        # Tensors that share a block of torch's cache could be overrun unseen.
        PYTORCH_NO_CUDA_MEMORY_CACHING="1",
    )
    return {"verdict": told.strip().splitlines()[-1]}


def benchmarks(device: str) -> dict[str, Any]:
    import on_device
    import torch

    return on_device.all_benchmarks(torch.device(device), small=device == "cpu")


def scans(device: str) -> dict[str, Any]:
    import scan_on_device
    import torch

    return scan_on_device.all_scans(torch.device(device), 48 if device == "cpu" else 400)


def large_scans(device: str) -> dict[str, Any]:
    import scan_on_device
    import torch

    return scan_on_device.all_scans(torch.device(device), 64 if device == "cpu" else 4096)


def run(command: list[str], limit: float | None = None, **environment: str) -> str:
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=limit is not None,
    ) as process:
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # pytest then tells what has failed
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            out, err = process.communicate()
            err += f"\nended after {limit} s"
        except KeyboardInterrupt:
            if limit is not None:  # in a session of its own it would go on
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)}: exit {process.returncode}\n{out[-5000:]}\n{err[-5000:]}"
        )
    return out


STEPS: dict[str, Callable[[str], Any]] = {
    "build": build,
    "machine": machine,
    "tests": tests,
    "gradients": gradients,
    "same_bits_as_cpu": same_bits,
    "accuracy": accuracy,
    "streams_and_graphs": streams_and_graphs,
    "other_devices": other_devices,
    "memcheck": lambda device: sanitizer(device, "memcheck"),
    "racecheck": lambda device: sanitizer(device, "racecheck"),
    "benchmarks": benchmarks,
    "scans": scans,
    "large_scans": large_scans,
}

if __name__ == "__main__":
    main()
