"""The package as it ships: its binary's ABI, its public names, its build backend."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dvfast

ROOT = Path(__file__).parents[1]


def test_the_binary_uses_the_stable_abi_only() -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    listing = subprocess.run(
        [nm, "-D", "--undefined-only", dvfast.build_info()["library"]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = [line.split()[-1].split("@")[0] for line in listing.splitlines()]
    assert "aoti_torch_library_def" in symbols
    # Symbols of libtorch's C++ interface, or of Python, would tie the binary to one version.
    unstable = [s for s in symbols if re.match(r"Py|_Py|_ZN?K?(2at|3c10|5torch)", s)]
    assert unstable == []


AT_ONCE = ("functional", "nn")
LATER = ("baselines", "data", "detection", "evaluation", "reference", "training", "weights")


def test_public_names_exist_and_are_documented() -> None:
    for name in ("dvfast", "dvfast.scan", *(f"dvfast.{part}" for part in AT_ONCE + LATER)):
        module = importlib.import_module(name) if name != "dvfast.scan" else sys.modules[name]
        for public in module.__all__:
            item = getattr(module, public)
            if inspect.isfunction(item) or inspect.isclass(item):
                assert item.__doc__, f"{name}.{public} has no docstring"


def test_versions_agree() -> None:
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert declared is not None
    assert declared[1] == dvfast.__version__


def test_typed_and_shipped_with_weights() -> None:
    package = Path(dvfast.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "weights" / "ihc.safetensors").stat().st_size > 0


def test_the_build_backend_finds_the_installing_interpreters_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    backend = importlib.import_module("build_backend")
    found = backend.outer_torch()
    assert found is not None
    assert (Path(found[1]) / "torch").is_dir()
    assert not any(r.startswith("torch") for r in backend.get_requires_for_build_wheel())
    # With a torch that is too old, one is required instead.
    monkeypatch.setattr(backend, "_MINIMUM", (999, 0))
    assert backend.outer_torch() is None
    assert "torch>=2.11" in backend.get_requires_for_build_wheel()


# Of torch's own macros, those that the headers of 2.11 have. A newer torch has more, and a build
# against it does not tell.
MACROS_OF_TORCH_2_11 = {
    "STABLE_TORCH_LIBRARY",
    "STABLE_TORCH_LIBRARY_IMPL",
    "TORCH_BOX",
    "TORCH_ERROR_CODE_CHECK",
    "TORCH_VERSION_MAJOR",
    "TORCH_VERSION_MINOR",
    "TORCH_VERSION_PATCH",
}


def test_the_bindings_use_no_macro_that_the_oldest_torch_lacks() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "csrc" / "torch").iterdir())
    used = set(re.findall(r"\b(?:STABLE|STD|TORCH)_[A-Z_]+\b", sources))
    assert used <= MACROS_OF_TORCH_2_11
    assert "STABLE_TORCH_LIBRARY_IMPL" in used


def test_cuda_architectures_are_ours_or_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    cuda_build = importlib.import_module("cuda_build")
    ours = cuda_build.architecture_flags()
    assert ours[0] == "-gencode=arch=compute_75,code=sm_75"
    assert ours[-1] == "-gencode=arch=compute_120,code=compute_120"
    assert cuda_build.architecture_flags("8.6;9.0a") == [
        "-gencode=arch=compute_86,code=sm_86",
        "-gencode=arch=compute_90a,code=sm_90a",
    ]
    own = ["-gencode=arch=compute_90a,code=sm_90a"]
    for listed in (None, "8.0;9.0+PTX", "9.0a"):
        assert cuda_build.architecture_flags(listed, "vote_head_warpgroups") == own
    assert cuda_build.architecture_flags("8.0", "vote_head_warpgroups") == [
        "-gencode=arch=compute_80,code=sm_80"
    ]
    with pytest.raises(SystemExit, match="'Hopper' is no architecture"):
        cuda_build.architecture_flags("Hopper")


@pytest.mark.parametrize(
    ("wanted", "path", "message"),
    [("maybe", None, "must be auto, 0 or 1"), ("1", "/nowhere", "no nvcc on PATH")],
)
def test_the_build_says_what_is_wrong(wanted: str, path: str | None, message: str) -> None:
    environment = {**os.environ, "DVFAST_CUDA": wanted}
    if path is not None:
        environment["PATH"] = path
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert message in done.stderr


def test_the_operators_need_torch_alone() -> None:
    heavy = ["matplotlib", "skimage", "scipy", "PIL", "rich", "safetensors", "tifffile", "click"]
    program = f"import sys, dvfast; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_what_comes_later_comes() -> None:
    assert {"Detector", "fit", "evaluate", *AT_ONCE, *LATER} <= set(dir(dvfast))
    assert dvfast.fit is importlib.import_module("dvfast.training").fit
    for name in LATER:  # by name, as another test may have imported it
        assert dvfast.__getattr__(name) is importlib.import_module(f"dvfast.{name}")
    with pytest.raises(AttributeError, match="nosuchname"):
        _ = dvfast.nosuchname
