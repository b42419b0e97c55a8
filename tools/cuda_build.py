"""Compiling the .cu sources with nvcc, on machines with and without a GPU.

torch's own extension builder wants a torch that was built with CUDA and a GPU to ask for its
architecture. The kernels know nothing of torch, so nvcc alone is enough.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Turing to Blackwell. The last is also kept as PTX, for what comes after it; so is 10.0, for 11.0.
_ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0+PTX", "12.0+PTX")
# Sources that no other device can run.
_OWN_ARCHITECTURES = {"vote_head_warpgroups": ("9.0", "9.0a")}
_FLAGS = (
    "-O3",
    "-std=c++17",
    "-fmad=false",  # fused multiply-adds are written out, as on the CPU
    "--expt-relaxed-constexpr",
    "--resource-usage",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra",
)


def cuda_home() -> Path | None:
    """The folder of the CUDA toolkit, or None where there is no nvcc."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    # nvcc may be a wrapper somewhere else; it knows where it lives.
    told = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull, "-c"], capture_output=True)
    found = re.search(r"^#\$ TOP=(.+?)/*(?:\.\.)?\s*$", told.stderr.decode(), re.MULTILINE)
    top = Path(found[1]) if found else Path(nvcc).resolve().parent
    return top.parent if top.name == "bin" else top


def architecture_flags(listed: str | None = None, source: str = "") -> list[str]:
    """nvcc's flags for the architectures of TORCH_CUDA_ARCH_LIST, or for ours.

    A source whose kernels are for one of them is compiled for that alone, if it is listed.

    >>> architecture_flags("9.0 12.0+PTX")[-1]
    '-gencode=arch=compute_120,code=compute_120'
    >>> architecture_flags("8.0;9.0", "vote_head_warpgroups")
    ['-gencode=arch=compute_90a,code=sm_90a']
    """
    flags = []
    names = re.split(r"[ ;,]+", listed.strip()) if listed else [*_ARCHITECTURES]
    general, own = _OWN_ARCHITECTURES.get(source, ("", ""))
    if own and {general, f"{general}+PTX", own} & set(names):
        names = [own]
    for name in names:
        number = name.removesuffix("+PTX").replace(".", "")
        if not re.fullmatch(r"\d{2,3}[af]?", number):
            raise SystemExit(f"TORCH_CUDA_ARCH_LIST: {name!r} is no architecture such as 9.0")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if name.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def compile_cuda(sources: list[Path], headers: list[Path], folder: Path) -> list[str]:
    """Compile what is older than its source or any header; returns the object files.

    What the compiler says of every kernel, its registers above all, is kept beside them.
    """
    listed = os.environ.get("TORCH_CUDA_ARCH_LIST")
    flags = [*_FLAGS]
    if os.environ.get("DVFAST_WERROR") == "1":  # not for users, whose compilers may know new ones
        flags.append("--Werror=all-warnings")
    folder.mkdir(parents=True, exist_ok=True)
    recorded = folder / "flags"
    asked = " ".join([*flags, *architecture_flags(listed)])
    if not recorded.exists() or recorded.read_text() != asked:
        for old in folder.glob("*.o"):
            old.unlink()
        recorded.write_text(asked)
    newest = max(path.stat().st_mtime for path in headers)

    def compile_one(source: Path) -> str:
        target = folder / f"{source.stem}.o"
        needed = max(newest, source.stat().st_mtime)
        if not target.exists() or target.stat().st_mtime <= needed:
            made = target.with_suffix(".new")  # what is stopped half way is not taken for an object
            architectures = architecture_flags(listed, source.stem)
            command = ["nvcc", *flags, *architectures, "-c", str(source), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
            target.with_suffix(".report").write_text(done.stdout + done.stderr)
            made.replace(target)
        return str(target)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compile_one, sources))
