"""Builds the native library; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

from build_backend import add_outer_torch  # noqa: E402  (needs the path above)

add_outer_torch()

import torch  # noqa: E402
from torch.utils.cpp_extension import BuildExtension, CppExtension  # noqa: E402

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


def cuda_sources() -> list[Path]:
    """The .cu sources to compile: all of them where CUDA is wanted and nvcc is there."""
    wanted = os.environ.get("DVFAST_CUDA", "auto")
    if wanted not in ("auto", "0", "1"):
        raise SystemExit(f"DVFAST_CUDA must be auto, 0 or 1, got {wanted!r}")
    # Kernels become part of the library with the bindings that call them.
    bound = any(ROOT.glob("csrc/torch/*_cuda.cpp"))
    sources = sorted(ROOT.glob("csrc/cuda/*.cu")) if bound else []
    nvcc = shutil.which("nvcc")
    if wanted == "1" and not nvcc:
        raise SystemExit("DVFAST_CUDA=1, but there is no nvcc on PATH")
    if wanted == "1" and not sources:
        raise SystemExit("DVFAST_CUDA=1, but this version has no CUDA kernels yet")
    return sources if wanted != "0" and nvcc else []


def extension() -> CppExtension:
    sources = sorted((ROOT / "csrc").glob("cpu/*.cpp")) + sorted(
        (ROOT / "csrc").glob("torch/*.cpp")
    )
    cuda = cuda_sources()
    print(
        f"dvfast: {len(sources)} C++ sources, {len(cuda)} CUDA sources, torch {torch.__version__}"
    )
    return CppExtension(
        name="dvfast._C",
        sources=[str(path.relative_to(ROOT)) for path in [*sources, *cuda]],
        depends=[str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.h")],
        define_macros=[
            ("TORCH_TARGET_VERSION", TORCH_TARGET),
            ("DVFAST_NUM_CUDA_SOURCES", str(len(cuda))),
        ],
        extra_compile_args={"cxx": COMPILE_FLAGS},
        # libtorch alone knows libtorch_cpu and, where there is one, libtorch_cuda.
        extra_link_args=["-Wl,--no-as-needed", "-ltorch"],
        py_limited_api=True,
    )


setup(
    ext_modules=[extension()],
    cmdclass={"build_ext": BuildExtension.with_options(no_python_abi_suffix=False)},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
