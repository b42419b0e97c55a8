"""Builds the native library; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from build_backend import add_outer_torch  # noqa: E402  (needs the path above)
from cuda_build import compile_cuda, cuda_home  # noqa: E402

add_outer_torch()

import torch  # noqa: E402
from torch.utils.cpp_extension import BuildExtension, CppExtension  # noqa: E402

HEADERS = sorted((ROOT / "csrc").rglob("*.h"))
TORCH_TARGET = "0x020b000000000000"  # the stable ABI of torch 2.11
COMPILE_FLAGS = [
    "-O3",
    "-g0",  # Python's own flags ask for debug symbols, twice the size of the rest
    "-std=c++17",
    # The same bits from every instruction set: fused multiply-adds are written out.
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    f"-ffile-prefix-map={ROOT}=.",  # errors name a source file, not the machine it lay on
    "-Wall",
    "-Wextra",
]

# libtorch alone knows libtorch_cpu and, where there is one, libtorch_cuda.
LINK_FLAGS = ["-Wl,--no-as-needed", "-ltorch", "-Wl,--as-needed"]


def cuda_sources() -> list[Path]:
    """The .cu sources to compile: all of them where CUDA is wanted and nvcc is there."""
    wanted = os.environ.get("DVFAST_CUDA", "auto")
    if wanted not in ("auto", "0", "1"):
        raise SystemExit(f"DVFAST_CUDA must be auto, 0 or 1, got {wanted!r}")
    if wanted == "1" and not cuda_home():
        raise SystemExit("DVFAST_CUDA=1, but there is no nvcc on PATH")
    return sorted(ROOT.glob("csrc/cuda/*.cu")) if wanted != "0" and cuda_home() else []


def extension(cuda: list[Path]) -> CppExtension:
    bindings = sorted(ROOT.glob("csrc/torch/*.cpp"))
    if not cuda:
        bindings = [path for path in bindings if not path.stem.endswith("_cuda")]
    sources = [*sorted(ROOT.glob("csrc/cpu/*.cpp")), *bindings]
    print(f"dvfast: {len(sources)} C++, {len(cuda)} CUDA sources, torch {torch.__version__}")
    home = cuda_home()
    return CppExtension(
        name="dvfast._C",
        sources=[str(path.relative_to(ROOT)) for path in sources],
        depends=[str(path.relative_to(ROOT)) for path in HEADERS],
        include_dirs=[str(home / "include")] if cuda and home else [],
        define_macros=[
            ("TORCH_TARGET_VERSION", TORCH_TARGET),
            ("DVFAST_NUM_CUDA_SOURCES", str(len(cuda))),
        ],
        extra_compile_args={"cxx": COMPILE_FLAGS},
        extra_link_args=LINK_FLAGS + (cuda_link_flags(home) if cuda and home else []),
        py_limited_api=True,
    )


def cuda_link_flags(home: Path) -> list[str]:
    """The runtime comes along: a CPU-only torch has none, and must load the binary all the same."""
    found = [
        path for folder in ("lib64", "lib") for path in home.glob(f"{folder}/libcudart_static.a")
    ]
    if not found:
        raise SystemExit(f"libcudart_static.a is not in {home}/lib64; build with DVFAST_CUDA=0")
    return [str(found[0]), "-ldl", "-lrt", "-lpthread"]


class Build(BuildExtension):
    """Compiles the .cu sources first and hands their objects to the linker."""

    def build_extensions(self) -> None:
        # The folder that an editable build would use goes with all that was compiled.
        self.build_temp = str(ROOT / "build" / "objects")
        cuda = cuda_sources()
        if cuda:
            headers = [path for path in HEADERS if path.parent.name in ("core", "cuda")]
            self.extensions[0].extra_objects += compile_cuda(cuda, headers, ROOT / "build" / "cuda")
        super().build_extensions()


setup(
    ext_modules=[extension(cuda_sources())],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
