"""``python PATH/TO/other_tools TOOL --threads N``; see ``protocol.py``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# As a package of its own, without putting its folder, or ours, on the path of modules: names such
# as stardist are to be found where they are installed.
_NAME = "other_tools"
_FOLDER = Path(__file__).resolve().parent

if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _FOLDER]
    spec = importlib.util.spec_from_file_location(
        _NAME, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    sys.exit(importlib.import_module(f"{_NAME}.protocol").main())
