"""How many instructions the hot kernels take: a measure that no other process on the machine moves.

    python -m native.counted MODULE MARK [NAME ...]     run under valgrind by count()

Counted are the AVX2 versions of what is written by hand, as valgrind knows no AVX-512, and whatever
the loader picks of the rest.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from native import build, kernels, network, winograd, winograd_convolution

# Calling mark() has valgrind write down the counts so far, and begin anew. It counts nothing before
# the first: to import NumPy is most of the work.
_MARK = """
#include <valgrind/callgrind.h>
void mark(void) {
  static int counting;
  if (!counting++) CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_DUMP_STATS;
}
"""

Work = Callable[[ModuleType], object]


def _random(*shape: int, seed: int = 0) -> kernels.Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _votes() -> kernels.Array:
    votes = 4 * _random(1, 6, 256, 256, seed=1)
    votes[:, ::3] = np.abs(votes[:, ::3]) / 16
    return votes


def _workloads() -> dict[str, Work]:
    """One call each, of some million instructions, nearly all of them the kernel's."""
    logits, votes, nuclei = _random(1, 6, 256, 256), _votes(), 85 * np.abs(_random(200, 2))
    density = np.abs(logits[0, 0])
    plateau = np.ones((96, 96), np.float32)
    features = _random(1, 36, 36, 32)
    trunk = network.random_layer(32, 32, 4, 0)
    head = network.random_head(32, (64,), 2)
    return {
        "hybrid_activation": lambda m: kernels.hybrid(m, "float32", [logits] * 3),
        "voting_loss": lambda m: kernels.voting_loss(m, ("float32", "float32"), logits, votes),
        "vote_targets": lambda m: kernels.vote_targets(m, nuclei, (256, 256), 2),
        "scatter_votes": lambda m: kernels.scatter(m, votes, (256, 256)),
        "gaussian_filter": lambda m: kernels.gaussian_filter(m, density[None], window=19),
        "find_peaks": lambda m: kernels.find_peaks(m, density, min_distance=2),
        "find_peaks_plateau": lambda m: kernels.find_peaks(m, plateau, min_distance=40),
        "trunk_layer": lambda m: network.trunk_layer(m, features, trunk, pool_stride=1),
        "vote_head": lambda m: network.vote_head(m, features, head),
        "winograd_head": _winograd_head(features, head),
        "winograd_convolution": _winograd_convolution(),
    }


def _winograd_head(features: kernels.Array, head: list[network.Layer]) -> Work:
    """Without the transform of the weights, which is done but once."""
    packed = network.packed_head([winograd.transformed(head[0]), head[1]], 32)
    votes = network.empty_votes(features, head, 1, 1, np.asarray)
    arguments = (features, *packed, votes, 1)
    return lambda m: m.winograd_head(*arguments, 0, m.winograd_head_tiles(*arguments))


def _winograd_convolution() -> Work:
    """Of two maps, one enlarged, with pooling; as above without the transform of the weights."""
    maps = [_random(1, 18, 18, 32), _random(1, 36, 36, 32)]
    layer = network.random_layer(64, 32, winograd_convolution.KERNEL, 0)
    packed = winograd.transformed(layer).packed(64)
    results = [np.zeros((1, 36 // n, 36 // n, 32), np.float32) for n in (1, 2)]
    arguments = (maps, *packed, [32, 32], 0, *results)
    return lambda m: m.winograd_convolution(*arguments, 0, m.winograd_convolution_tiles(*arguments))


NAMES = tuple(_workloads())


def count(module: Path, names: Sequence[str] = NAMES) -> dict[str, int]:
    """Instructions of one call of each."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        mark = Path(folder) / "mark.so"
        mark.with_suffix(".c").write_text(_MARK)
        build.run([build.COMPILER, "-shared", "-xc", mark.with_suffix(".c"), "-o", mark])
        command = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={out}",
            *(sys.executable, "-m", "native.counted", str(module), str(mark), *names),
        ]
        environment = {
            **os.environ,
            "DVFAST_CPU_CAPABILITY": "avx2",
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(result.stderr)
        # One file per mark, and a last one: after mark 2 i comes call i, up to mark 2 i + 1.
        files = sorted(out.parent.glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        totals = [_total(path) for path in files]
    return {name: totals[2 * i + 1] for i, name in enumerate(names)}


def _total(path: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.MULTILINE)
    assert found is not None, path
    return int(found[1])


def _main(path: Path, library: str, names: Sequence[str]) -> None:
    mark = ctypes.CDLL(library).mark
    module = build.load(path)
    workloads = _workloads()
    for name in names:
        workloads[name](module)  # once for what is done but once
        mark()
        workloads[name](module)
        mark()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
