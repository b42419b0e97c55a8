"""Compiles the CUDA kernels, with the emulation in place of CUDA, into modules for NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from native import build

EMULATION = Path(__file__).resolve().parent
CUDA = sorted((build.CSRC / "cuda").glob("*.cu"))

AS_CPLUSPLUS = [f"-I{EMULATION}", "-Wno-unknown-pragmas", "-x", "c++"]
# Two builds of the kernels: one calls races.cpp before each access to memory, volatile ones told
# apart; one stops at the first access out of bounds or undefined operation.
VARIANTS = {
    "watched": ["-O1", "-fsanitize=thread", "--param=tsan-distinguish-volatile=1"],
    "sanitized": build.VARIANTS["sanitized"],
}


def build_all(folder: Path) -> dict[str, Path]:
    """The modules by variant, and "cpu": the kernels to compare with."""
    jobs = build.bindings([*build.NATIVE.glob("*.cpp"), EMULATION / "emulation.cpp"])
    jobs["binding_emulation.o"].insert(0, f"-I{EMULATION}")
    cpu = {path.stem: path for path in (build.CSRC / "cpu").glob("*.cpp")}
    for name, path in cpu.items():
        jobs[f"cpu_{name}.o"] = ["-O1", "-DDVFAST_NO_MULTIVERSION", path]
    for variant, flags in VARIANTS.items():
        for path in [*CUDA, EMULATION / "wrong_kernels.cu"]:
            jobs[f"{variant}_{path.stem}.o"] = [*flags, *AS_CPLUSPLUS, path]
        # The emulation itself must not be watched.
        own = flags if variant == "sanitized" else ["-O2"]
        for stem in ("fibres", "races", "instructions", "cpu_interface"):
            jobs[f"{variant}_{stem}.o"] = [*own, f"-I{EMULATION}", EMULATION / f"{stem}.cpp"]
    build.compile_all(folder, jobs)
    # Bound by tests/native with their own kernels; see emulation.cpp for the emulated ones.
    stems = ("vote_targets", "find_peaks", "winograd_head", "bfloat16_network")
    points = [folder / f"cpu_{stem}.o" for stem in stems]
    cpu_module = build.link(folder, "cpu", without=["binding_emulation.o"])
    return {"cpu": cpu_module} | {v: build.link(folder, v, points) for v in VARIANTS}


@dataclass(frozen=True)
class Device:
    """Kernels with the interface of tests/native's module, and what only emulated ones have."""

    kernels: ModuleType
    extras: ModuleType | None


def load(path: Path) -> Device:
    emulated = path.parent.name in VARIANTS
    return Device(build.load(path), build.load(path, "dvfast_emulation") if emulated else None)
