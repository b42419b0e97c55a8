"""Compiles the torch-free kernels into a module for NumPy, in several variants."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

NATIVE = Path(__file__).resolve().parent
CSRC = NATIVE.parents[1] / "csrc"
COMPILER = os.environ.get("CXX", "g++")

Jobs = dict[str, list[object]]  # object file: what it is compiled from, and how

# What decides bits, as setup.py has it.
COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror",
          "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]  # fmt: skip
SANITIZERS = "-fsanitize=address,undefined,float-cast-overflow"
# As shipped, with its run-time choice of instruction set; one instruction set each, if the CPU has
# it; and one that stops at the first access out of bounds or undefined operation.
VARIANTS = {
    "shipped": ["-O3"],
    "baseline": ["-O3", "-march=x86-64", "-DDVFAST_NO_MULTIVERSION"],
    "avx2": ["-O3", "-march=x86-64-v3", "-DDVFAST_NO_MULTIVERSION"],
    "avx512": ["-O3", "-march=x86-64-v4", "-DDVFAST_NO_MULTIVERSION"],
    "sanitized": ["-O1", "-g1", SANITIZERS, "-fno-sanitize-recover=all",
                  "-DDVFAST_NO_MULTIVERSION"],
}  # fmt: skip
NEEDS = {
    "baseline": {"sse2"},
    "avx2": {"avx2", "fma", "bmi2"},
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
# In these the process itself chooses an instruction set, and sanitizers can watch each; what the
# loader chooses runs before they are awake.
CHOSEN_BY_THE_PROCESS = {
    "trunk_layer",
    "vote_head",
    "winograd_head",
    "winograd_convolution",
    "instruction_set",
}


def cpu_runs(variant: str) -> bool:
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags |= set(line.split(":")[1].split())
    return NEEDS.get(variant, set()) <= flags


# What one process can be asked for; only one that the CPU has is run then.
CAPABILITIES = ["portable", *(name for name in ("avx2", "avx512") if cpu_runs(name))]


def build(folder: Path, variants: Sequence[str]) -> dict[str, Path]:
    """Compile the given variants. The bindings are the same in all, and compiled once."""
    jobs = bindings(NATIVE.glob("*.cpp"))
    for variant in variants:
        for path in (CSRC / "cpu").glob("*.cpp"):
            jobs[f"{variant}_{path.stem}.o"] = [*flags(variant, path), path]
    compile_all(folder, jobs)
    return {variant: link(folder, variant) for variant in variants}


def flags(variant: str, path: Path) -> list[str]:
    if variant == "sanitized" and path.stem in CHOSEN_BY_THE_PROCESS:
        return [flag for flag in VARIANTS[variant] if flag != "-DDVFAST_NO_MULTIVERSION"]
    return VARIANTS[variant]


def bindings(paths: Iterable[Path]) -> Jobs:
    import pybind11

    include = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_path('include')}"]
    return {f"binding_{path.stem}.o": ["-O0", *include, path] for path in paths}


# By what they are compiled from, and how: the bindings are asked for in more than one folder.
_compiled: dict[tuple[str, ...], Path] = {}


def compile_all(folder: Path, jobs: Jobs) -> None:
    def compile_one(name: str) -> None:
        how = tuple(map(str, jobs[name]))
        if how in _compiled and _compiled[how].exists():
            shutil.copy(_compiled[how], folder / name)
            return
        run([COMPILER, *COMMON, *how, "-c", "-o", folder / name])
        _compiled[how] = folder / name

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, jobs))


def link(
    folder: Path, variant: str, more: Iterable[Path] = (), without: Iterable[str] = ()
) -> Path:
    """Make a module of the bindings, the objects whose names start with `variant`, and `more`."""
    objects = {*folder.glob("binding_*.o"), *folder.glob(f"{variant}_*.o"), *more}
    objects -= {folder / name for name in without}
    module = folder / variant / "dvfast_kernels.so"
    module.parent.mkdir()
    sanitizers = [SANITIZERS] if variant == "sanitized" else []
    run([COMPILER, "-shared", *sanitizers, *objects, "-o", module])
    return module


def run(command: Sequence[object]) -> None:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{result.stderr}")


def load(path: Path, name: str = "dvfast_kernels") -> ModuleType:
    # Under a name of its own: pybind11 returns the module it has if it knows the name.
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__file__ == str(path)
    return module


def run_sanitized(
    program: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module of tests/ in a Python whose memory the address sanitizer watches."""
    library = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        **(environment or {}),
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "PYTHONPATH": str(NATIVE.parent),
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-m", program, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def run_hostile(
    program: str, module: Path, capability: str, *arguments: object
) -> subprocess.CompletedProcess[str]:
    return run_sanitized(
        program, module, *arguments, environment={"DVFAST_CPU_CAPABILITY": capability}
    )


def run_hostile_each(
    program: str, module: Path, capability: str, each: Iterable[Sequence[object]]
) -> list[subprocess.CompletedProcess[str]]:
    """With each of several lists of arguments, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda a: run_hostile(program, module, capability, *a), each))
