"""``make gpu-check``: everything that a GPU alone can tell, as one record.

Needs torch, setuptools, ninja, NumPy, SciPy, Pillow, safetensors and pytest in the interpreter that
runs it, and nvcc; no network and no virtual environment. Builds in place with CUDA, then checks,
each step in a process of its own and for so long at most: what fails, hangs or breaks the device is
noted and the rest goes on. The record is written after every step, under ``benchmarks/results`` or
``--output``; the exit code is 1 if anything failed. ``--only build,tests`` runs a part.

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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What needs no test package but pytest.
_TESTS = (
    "tests/operators",
    "tests/test_nn.py",
    "tests/test_scan.py",
    "tests/test_scan_engine.py",
    "tests/test_unet_engine.py",
    "tests/test_voting_unet.py",
)
# Seconds that a step may take.
_LIMITS = {
    "build": 400,
    "machine": 60,
    "tests": 400,
    "gradients": 60,
    "same_bits_as_cpu": 120,
    "streams_and_graphs": 60,
    "other_devices": 120,
    "memcheck": 240,
    "racecheck": 240,
    "benchmarks": 240,
    "scans": 300,
}
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(_LIMITS))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--step", choices=_LIMITS, help=argparse.SUPPRESS)
    parser.add_argument("--sanitized", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = arguments.device
    if unknown := set(arguments.only) - set(_LIMITS):
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join(_LIMITS)}")
    if arguments.sanitized:
        compare_with_cpu("cuda", small=True)
    elif arguments.step:
        print(json.dumps(STEPS[arguments.step](device)))
    else:
        check(device, arguments.only, arguments.output)


def check(device: str, chosen: list[str], folder: Path) -> None:
    record: dict[str, Any] = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    failed: list[str] = []
    record["failed"] = failed
    target = folder / f"{name_of(device, chosen)}.json"
    for name in (step for step in _LIMITS if step in chosen):
        start = time.monotonic()
        try:
            # Apart, since a fault of one kernel leaves a process without its device.
            command = [sys.executable, __file__, "--device", device, "--step", name]
            record[name] = json.loads(run(command, _LIMITS[name]).splitlines()[-1])
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
    run([sys.executable, "setup.py", "build_ext", "--inplace"], DVFAST_CUDA="1")
    import dvfast

    return dvfast.build_info()


def machine(device: str) -> dict[str, Any]:
    import torch

    import dvfast

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dvfast": dvfast.__version__,
        "commit": run(["git", "describe", "--always", "--dirty"]).strip()
        if (ROOT / ".git").exists()
        else os.environ.get("DVFAST_COMMIT", "unknown"),
    }
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found |= {
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "driver": run(query).split()[0],
        }
    return found


def tests(device: str) -> dict[str, int]:
    chosen = "not cuda" if device == "cpu" else "cuda"
    told = run(
        # After a fault of a kernel every test fails: the first tell which.
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "--maxfail=10", "-m", chosen, *_TESTS],
        DVFAST_REQUIRE_CUDA="0" if device == "cpu" else "1",
    )
    return {what: int(n) for n, what in re.findall(r"(\d+) (passed|skipped|failed)", told)}


def gradients(device: str) -> list[dict[str, Any]]:
    from dvfast.gradcheck import check_gradients

    checks = list(check_gradients(device))
    wrong = [check for check in checks if not check.passed]
    if wrong:
        raise RuntimeError(f"gradients are wrong: {wrong}")
    return [{"operator": c.operator, "dtype": c.dtype, "error": c.error} for c in checks]


def compare_with_cpu(device: str, *, small: bool = False) -> dict[str, bool]:
    """Whether float32 results are the CPU's to the bit; integers and sums have to be."""
    import torch

    import dvfast
    from dvfast.detection.peaks import density_peaks

    side = 33 if small else 517
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 6, side, side + 4, generator=generator)
    nuclei = [side * torch.rand(n, 2, generator=generator) for n in (0, 150)]
    size = (side, side + 4)

    def everything(where: str) -> dict[str, Any]:
        x = logits.to(where).requires_grad_()
        target = dvfast.vote_targets([points.to(where) for points in nuclei], size, 2)
        loss = dvfast.voting_loss(x, target)
        votes = dvfast.hybrid_activation(x.detach()).requires_grad_()
        density = dvfast.vote_density(votes, size, sigma=2.0, window=13)
        parzen = dvfast.parzen_density(votes, size, radius=9.0, area="disc")
        weights = torch.linspace(0, 1, side + 4, device=where)
        peaks, scores = dvfast.find_peaks(density[1].detach(), min_distance=3)
        settings = dvfast.DetectionSettings(sigma=2.0, window=13, min_distance=3)
        at_once = density_peaks(votes.detach()[1:], size, settings)
        return {
            "vote_targets": target,
            "voting_loss": loss,
            "voting_loss gradient": torch.autograd.grad(loss, x)[0],
            "hybrid_activation": votes,
            "vote_map": dvfast.vote_map(votes, size),
            "vote_map, bilinear": dvfast.vote_map(votes, size, interpolation="bilinear"),
            "vote_density": density,
            "vote_density gradient": torch.autograd.grad((density * weights).sum(), votes)[0],
            "parzen_density": parzen,
            "parzen_density gradient": torch.autograd.grad((parzen * weights).sum(), votes)[0],
            "find_peaks": peaks,
            "find_peaks scores": scores,
            "density_peaks": at_once.points,
            "density_peaks density": at_once.density,
        }

    torch.manual_seed(0)
    nets = {
        "RGB": dvfast.nn.DeepVotingNet(hidden=(40,) if small else (1024,)),
        "grey": dvfast.nn.DeepVotingNet(5, 1, (20, 36, 48), hidden=(48,)),
    }
    images = {"RGB": torch.rand(3, side // 4, side // 4), "grey": torch.rand(1, 40, 61)}

    def scans(where: str) -> dict[str, Any]:
        return {
            f"scan, {name}, {mode}, stride {stride}": dvfast.scan(
                net.to(where), images[name].to(where), mode=mode, stride=stride
            )
            for name, net in nets.items()
            for mode, stride in (("fast", 1), ("fast", 2), ("fast", 3), ("fast", 4), ("sliding", 4))
        }

    cpu = {**everything("cpu"), **scans("cpu")}
    other = {**everything(device), **scans(device)}
    equal = {name: torch.equal(value, other[name].cpu()) for name, value in cpu.items()}
    must = ["vote_map", "vote_map, bilinear", "parzen_density", "find_peaks", "density_peaks"]
    must += [name for name in equal if name.startswith("scan")]
    broken = [name for name in must if not equal[name]]
    if broken:
        raise RuntimeError(f"not the CPU's bits: {broken}; all: {equal}")
    return equal


def streams_and_graphs(device: str) -> dict[str, bool]:
    if device == "cpu":
        return {}
    import torch

    import dvfast
    from dvfast.detection.peaks import density_peaks

    votes = dvfast.hybrid_activation(3 * torch.randn(1, 6, 200, 200, device=device))
    expected = dvfast.vote_density(votes, (200, 200))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        on_side = dvfast.vote_density(votes, (200, 200))
    side.synchronize()

    graph = torch.cuda.CUDAGraph()
    captured = votes.clone()
    with torch.cuda.graph(graph):
        result = dvfast.vote_density(captured, (200, 200))
        peaks = dvfast.find_first_peaks(result[0], 40_000)
        at_once = density_peaks(captured, (200, 200), dvfast.DetectionSettings(), 40_000)
    captured.copy_(votes.flip(2))
    graph.replay()
    torch.cuda.synchronize()
    again = dvfast.vote_density(votes.flip(2), (200, 200))
    points = dvfast.find_peaks(again[0])[0]
    verdicts = {
        "side stream": torch.equal(on_side, expected),
        "graph": torch.equal(result, again),
        "peaks in a graph": torch.equal(peaks[0][: int(peaks[2])], points),
        "density and peaks in a graph": torch.equal(at_once.density, again[0])
        and torch.equal(at_once.points[: int(at_once.total)], points),
    }
    if not all(verdicts.values()):
        raise RuntimeError(str(verdicts))
    return verdicts


def other_devices(device: str) -> dict[str, Any]:
    import torch

    if device == "cpu" or torch.cuda.device_count() < 2:
        return {"devices": 0 if device == "cpu" else torch.cuda.device_count()}
    return {"devices": torch.cuda.device_count(), "same bits": compare_with_cpu("cuda:1")}


def sanitizer(device: str, tool: str) -> dict[str, str]:
    found = shutil.which("compute-sanitizer")
    if device == "cpu" or found is None:
        return {"skipped": "no compute-sanitizer" if found is None else "no GPU"}
    told = run(
        [found, f"--tool={tool}", "--error-exitcode=9", sys.executable, __file__, "--sanitized"],
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

    return scan_on_device.all_scans(torch.device(device), small=device == "cpu")


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
            os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            out, err = process.communicate()
            err += f"\nended after {limit} s"
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
    "same_bits_as_cpu": compare_with_cpu,
    "streams_and_graphs": streams_and_graphs,
    "other_devices": other_devices,
    "memcheck": lambda device: sanitizer(device, "memcheck"),
    "racecheck": lambda device: sanitizer(device, "racecheck"),
    "benchmarks": benchmarks,
    "scans": scans,
}

if __name__ == "__main__":
    main()
