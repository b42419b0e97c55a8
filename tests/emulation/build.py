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
        for stem in ("fibres", "races", "instructions", "warpgroup", "cpu_interface"):
            jobs[f"{variant}_{stem}.o"] = [*own, f"-I{EMULATION}", EMULATION / f"{stem}.cpp"]
    build.compile_all(folder, jobs)
    cpu_module = build.link(folder, "cpu", without=["binding_emulation.o"])
    return {"cpu": cpu_module} | {v: build.link(folder, v, shared(folder)) for v in VARIANTS}


def shared(folder: Path) -> list[Path]:
    # Bound by tests/native with their own kernels; see emulation.cpp for the emulated ones.
    stems = (
        "vote_targets",
        "find_peaks",
        "winograd_head",
        "winograd_convolution",
        "bfloat16_network",
    )
    return [folder / f"cpu_{stem}.o" for stem in stems]


def build_flawed(folder: Path, flaws: dict[str, tuple[str, str, str]]) -> dict[str, Path]:
    """Watched modules beside those of `build_all`, by the name of their flaw.

    A flaw is the stem of a .cu file, a text that stands in it once, and what stands there instead.
    """
    jobs: build.Jobs = {}
    for name, (stem, right, wrong) in flaws.items():
        source = (build.CSRC / "cuda" / f"{stem}.cu").read_text()
        assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {stem}"
        flawed = folder / f"{name}.cu"
        flawed.write_text(source.replace("../core", str(build.CSRC / "core")).replace(right, wrong))
        include = f"-I{build.CSRC / 'cuda'}"
        jobs[f"{name}_{stem}.o"] = [*VARIANTS["watched"], include, *AS_CPLUSPLUS, flawed]
    build.compile_all(folder, jobs)
    modules = {}
    for name, (stem, *_) in flaws.items():
        others = {*folder.glob("watched_*.o")} - {folder / f"watched_{stem}.o"}
        modules[name] = build.link(folder, name, [*others, *shared(folder)])
    return modules


def build_benchmark(folder: Path) -> Path:
    """The kernels of benchmarks/reductions.cu as a library for ctypes, beside `build_all`'s."""
    source = build.CSRC.parent / "benchmarks" / "reductions.cu"
    build.compile_all(folder, {"reductions.o": [*VARIANTS["watched"], *AS_CPLUSPLUS, source]})
    parts = [
        folder / f"watched_{stem}.o"
        for stem in ("fibres", "races", "instructions", "warpgroup", "vote_map")
    ]
    library = folder / "reductions.so"
    build.run([build.COMPILER, "-shared", folder / "reductions.o", *parts, "-o", library])
    return library


@dataclass(frozen=True)
class Device:
    """Kernels with the interface of tests/native's module, and what only emulated ones have."""

    kernels: ModuleType
    extras: ModuleType | None


def load(path: Path) -> Device:
    emulated = path.parent.name != "cpu"
    return Device(build.load(path), build.load(path, "dvfast_emulation") if emulated else None)
